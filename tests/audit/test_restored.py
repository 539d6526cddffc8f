"""A dump that is restored into another cluster, where transaction ids start anew."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from audit.sealer import RestoredDatabase, Sealer
from audit.verify import verify
from tenancy import embedded
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tests.audit.tampered import seal_three, write
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.test_commands import piccolo
from tests.test_serve import SECRETS, refusal

AGE = "DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"


def run(name: str, *arguments: str, sent: str = "") -> str:
    """What a binary of PostgreSQL prints."""
    command = [str(embedded.BINARIES / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=sent).stdout


def restore(source: TestDatabase, target: TestDatabase, files: Path) -> None:
    """Roles and the whole database."""
    postgres = TestDatabase("postgres", target.socket_dir).superuser
    roles = run("pg_dumpall", "--roles-only", "-d", source.superuser)
    run("psql", "-qX", postgres, sent=f"{roles}\nCREATE DATABASE {target.name};")
    run("pg_dump", "-Fc", "-f", str(files / "dump"), source.superuser)
    run("pg_restore", "-d", target.superuser, str(files / "dump"))


@pytest.fixture
def other() -> Iterator[Path]:
    """The socket of another cluster, in a folder that its user can reach."""
    directory = Path(tempfile.mkdtemp(prefix="fastlane-"))
    yield embedded.start(directory).socket_dir
    embedded.stop(directory)
    shutil.rmtree(directory)


@pytest.fixture
async def aged(
    database: TestDatabase, superuser: asyncpg.Connection, clinics: tuple[Clinic, Clinic], engine: FastlaneEngine
) -> TestDatabase:
    """Three checkpoints, in a cluster that has come further than one that is restored into."""
    await superuser.execute(AGE)
    await seal_three(engine, clinics[0].id)
    return database


async def test_restored(aged: TestDatabase, other: Path, engine: FastlaneEngine, tmp_path: Path) -> None:
    """It verifies, with what to do on stderr, and nothing is sealed before; then all goes on, and verifies."""
    status, _, errors = await piccolo(aged, tmp_path, "audit", "begin_epoch")
    assert (status, "numbers have not gone back" in errors) == (1, True)
    restored = TestDatabase("restored", other)
    restore(aged, restored, tmp_path)
    engine.databases = Databases(restored.settings(tmp_path))
    status, output, errors = await piccolo(restored, tmp_path, "audit", "verify")
    assert (status, "in 3 checkpoints, 2 not sealed yet" in output) == (0, True)
    assert "run piccolo audit begin_epoch" in errors
    with pytest.raises(RestoredDatabase, match="run piccolo audit begin_epoch"):
        await Sealer(engine).seal()
    (reason,) = await refusal(tmp_path, ENVIRONMENT="production", DATABASE_URL=restored.app, **SECRETS)
    assert "run `piccolo audit begin_epoch` first" in reason

    status, output, errors = await piccolo(restored, tmp_path, "audit", "begin_epoch")
    assert (status, output) == (0, f"an epoch has begun: transactions count from {1 << 48} on\n"), errors
    await write("south", 3)
    verified = await verify(engine)
    there = await asyncpg.connect(restored.superuser)
    assert (verified.unsealed, verified.warnings) == (0, [])
    assert verified.rows == await there.fetchval("SELECT count(*) FROM audit.sealable_1")
    assert await there.fetchval("SELECT min(transaction_id) < 1 << 48 FROM audit_logs")
    await there.close()
    assert (await piccolo(restored, tmp_path, "audit", "begin_epoch"))[0] == 1
