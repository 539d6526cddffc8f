"""Every setting stands in the settings class, in .env.example and in the README, alike."""

import re
from pathlib import Path

import pytest

from tenancy.settings import Settings
from tests.contracts.documents import README, ROOT

EXAMPLE = ROOT / ".env.example"
ASSIGNMENT = re.compile(r"^(?:# )?([A-Z][A-Z_]*)=(.*)$")


def spelled(default: object) -> str:
    """A default as one would write it in the environment; nothing for none."""
    match default:
        case bool():
            return str(int(default))
        case None | ():
            return ""
    return str(default)


def settings_defaults() -> dict[str, str]:
    return {name.upper(): spelled(field.default) for name, field in Settings.model_fields.items()}


def readme_rows() -> dict[str, list[str]]:
    """Variable to default, meaning and need, from the README's settings table."""
    section = README.read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return {variable.strip("`"): [default.strip("`"), meaning, need] for variable, default, meaning, need in cells[2:]}


def example_blocks() -> dict[str, str]:
    """Variable to the comment above it."""
    found = {}
    for block in EXAMPLE.read_text(encoding="utf-8").strip().split("\n\n"):
        *comment, last = block.splitlines()
        assignment = ASSIGNMENT.match(last)
        if assignment:
            found[assignment[1]] = "\n".join(comment)
    return found


def example_defaults() -> dict[str, str]:
    matches = map(ASSIGNMENT.match, EXAMPLE.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in matches if match}


def needed_in_production() -> set[str]:
    """What the settings class itself asks for, and the setting that says that it is production."""
    missing = Settings(_env_file=None, environment="production").missing_for_production()
    return {"ENVIRONMENT"} | {line.split()[0] for line in missing}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have settings of their own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_readme_has_every_setting_with_its_default() -> None:
    """The README's table equals the settings class."""
    assert {name: row[0] for name, row in readme_rows().items()} == settings_defaults()


def test_example_has_every_setting_with_its_default() -> None:
    """.env.example equals the settings class."""
    assert example_defaults() == settings_defaults()


def test_all_three_have_the_same_order() -> None:
    """Who knows one finds the way in the others."""
    assert list(readme_rows()) == list(example_defaults()) == list(settings_defaults())


def test_production_needs_are_told() -> None:
    """Both name as needed what production refuses to start without."""
    told_by_readme = {name for name, row in readme_rows().items() if row[2] == "needed"}
    told_by_example = {name for name, comment in example_blocks().items() if "Production: needed" in comment}
    assert told_by_readme == told_by_example == needed_in_production()


def test_optional_settings_are_commented_out() -> None:
    """What stands uncommented in .env.example is what production needs."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert {line.partition("=")[0] for line in lines if re.match(r"[A-Z_]+=", line)} == needed_in_production()


def test_each_setting_is_explained() -> None:
    """A meaning in both; in .env.example also the default and whether production needs it."""
    assert all(row[1] for row in readme_rows().values())
    for name, comment in example_blocks().items():
        assert "# Default: " in comment, name
        assert "Production: " in comment, name


def test_copying_the_example_changes_nothing(tmp_path: Path) -> None:
    """`cp .env.example .env` gives the defaults."""
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)
