"""Keys derived from the pepper: by purpose, the same in every process, and never made up in production."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tenancy.secrets import DEVELOPMENT_PEPPER, derived_key
from tenancy.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDERS = 50
# Waits for a line, so that all begin at once; then derives a key in one new folder after the other.
DERIVE = """
import sys
from pathlib import Path
from tenancy.secrets import derived_key
from tenancy.settings import Settings
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    settings = Settings(_env_file=None, member_id_pepper=None, data_dir=Path(sys.argv[1]) / str(number))
    print(derived_key(settings, "test").hex())
"""


def settings_of(data_dir: Path, pepper: str | None = None, environment: str = "development") -> Settings:
    values: dict[str, Any] = {"data_dir": data_dir, "member_id_pepper": pepper, "environment": environment}
    return Settings(_env_file=None, **values)


def test_key_follows_pepper_and_purpose(tmp_path: Path) -> None:
    """A key has 32 bytes, is the same each time, and another for another purpose or pepper; no file is written."""
    keys = {derived_key(settings_of(tmp_path, pepper), purpose) for pepper in "ab" for purpose in "cd" for _ in "ef"}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pepper", [None, ""])
def test_development_makes_its_own_pepper(tmp_path: Path, pepper: str | None) -> None:
    """Without a pepper development keeps a random one, for its user's eyes only, one for each data directory."""
    first, second = (settings_of(tmp_path / name / "data", pepper) for name in "ab")
    assert derived_key(first, "p") == derived_key(first, "p") != derived_key(second, "p")
    assert [path.name for path in first.data_dir.iterdir()] == [DEVELOPMENT_PEPPER]
    assert stat.S_IMODE((first.data_dir / DEVELOPMENT_PEPPER).stat().st_mode) == 0o600


@pytest.mark.parametrize("pepper", [None, ""])
def test_production_makes_none(tmp_path: Path, pepper: str | None) -> None:
    """Production without a pepper is an error that names it, and writes no file."""
    with pytest.raises(LookupError, match="MEMBER_ID_PEPPER"):
        derived_key(settings_of(tmp_path, pepper, "production"), "p")
    assert list(tmp_path.iterdir()) == []


def test_concurrent_processes_agree(tmp_path: Path) -> None:
    """Processes that start together on one new data directory derive the same key, and leave one file."""
    command = [sys.executable, "-c", DERIVE, str(tmp_path), str(FOLDERS)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    derived = [process.communicate(timeout=60)[0].split() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert len(derived[0]) == len(set(derived[0])) == FOLDERS
    assert derived == [derived[0]] * len(processes)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == [DEVELOPMENT_PEPPER] * FOLDERS
