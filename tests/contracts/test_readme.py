"""The documents do not lie: their commands, links and examples are tried."""

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.conf.apps import Command, Finder

from demo.seed import load_demo
from tenancy.engine import FastlaneEngine
from tenancy.scoping import tenant
from tests.clinics import Clinic
from tests.contracts.documents import DOCUMENTS, README, ROOT, blocks, commands, links

TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
PICCOLO = re.compile(r"\.venv/bin/piccolo ([^)|;&]+)")
# Neither is ours; the first request is tried below.
FOREIGN = ("curl", "neonctl")


def all_of(take: Callable[[Path], list[str]]) -> list[Any]:
    """One test parameter for each finding in each document."""
    return [pytest.param(path, item, id=f"{path.name}: {item}") for path in DOCUMENTS for item in take(path)]


def piccolo_command(app: str, name: str) -> Callable[..., Any]:
    """The function behind `piccolo APP NAME`, of an app of ours or of Piccolo's own."""
    registered = Finder().get_app_registry().app_configs
    config = registered.get(app) or importlib.import_module(f"piccolo.apps.{app}.piccolo_app").APP_CONFIG
    for command in config.commands:
        function: Callable[..., Any] = command.callable if isinstance(command, Command) else command
        if function.__name__ == name:
            return function
    raise AssertionError(f"piccolo {app} has no command {name}")


@pytest.mark.parametrize("command", ["make run", "make test"])
def test_readme_names_the_two_commands(command: str) -> None:
    """The two commands stand in its first shell block."""
    assert any(line.startswith(command) for line in blocks(README, "sh")[0].splitlines())


@pytest.mark.parametrize(("document", "line"), all_of(commands))
def test_command_exists(document: Path, line: str) -> None:
    """A make target is in the Makefile; a Piccolo command takes the arguments shown."""
    known = [word for word in FOREIGN if line.startswith(word)] + re.findall(r"^[A-Z_]+=", line)
    for target in re.findall(r"\bmake ([a-z-]+)", line):
        assert target in TARGETS
        known.append(target)
    for call in PICCOLO.findall(line):
        app, name, *arguments = shlex.split(call)
        parameters = inspect.signature(piccolo_command(app, name)).parameters
        options = {argument[2:].partition("=")[0] for argument in arguments if argument.startswith("--")}
        assert options <= set(parameters)
        assert len(arguments) <= len(parameters)
        known.append(name)
    assert known, f"{document.name} shows a command that no test knows: {line}"


@pytest.mark.parametrize(("document", "link"), all_of(links))
def test_link_resolves(document: Path, link: str) -> None:
    """A relative link leads to a file or a folder of the repository."""
    assert (document.parent / link).exists()


async def test_first_request_answers(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """The path that README's curl asks for is answered with rows."""
    (path,) = re.findall(r'curl .*"http://127\.0\.0\.1:8000([^"]*)"', blocks(README, "sh")[1])
    answer = await client.get(path, headers=clinics[0].headers())
    assert answer.status_code == 200
    assert answer.json()["total"] == len(answer.json()["rows"]) == 1


async def test_api_examples_answer(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """Every request that docs/api.md shows is answered with rows, or with none that match."""
    requests = [line for block in blocks(ROOT / "docs" / "api.md", "http") for line in block.splitlines()]
    assert len(requests) > 10
    for request in requests:
        answer = await client.get(request.removeprefix("GET "), headers=clinics[0].headers())
        assert (request, answer.status_code) == (request, 200), answer.text


async def test_python_example_runs(engine: FastlaneEngine, capsys: pytest.CaptureFixture[str]) -> None:
    """README's example runs as it stands on the demo data, and leaves it as it was."""
    await load_demo("a demo password")
    (example,) = blocks(README, "python")
    names: dict[str, Any] = {}
    for _ in range(2):  # The second run sees what the first one left.
        await eval(compile(example, str(README), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first == second
    assert int(first.split()[0]) > 0
    assert names["case"]["tenant"]["slug"] == "test-clinic"


async def test_migration_example_runs(
    owner: asyncpg.Connection, superuser: asyncpg.Connection, clinics: tuple[Clinic, Clinic]
) -> None:
    """The SQL of docs/migrations.md isolates and tracks a table as the owner, and takes it back with rows in it."""
    forwards, backwards = blocks(ROOT / "docs" / "migrations.md", "sql")
    await owner.execute(
        """
        CREATE TABLE notes (
            id uuid PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants, case_id uuid NOT NULL, body text NOT NULL,
            created_at timestamptz, updated_at timestamptz,
            CONSTRAINT notes_case_id_fkey FOREIGN KEY (case_id) REFERENCES cases
        )
        """
    )
    await owner.execute(forwards)
    clinic = clinics[0]
    async with tenant(clinic.slug) as transaction:
        insert = "INSERT INTO notes (case_id, body) VALUES ($1, 'Called the payer')"
        await transaction.connection.execute(insert, clinic.rows["cases"])
    assert await superuser.fetchval("SELECT tenant_id FROM notes") == clinic.id
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE entity_type = 'note'") == 1
    await owner.execute(backwards)
    assert await owner.fetchval("SELECT body FROM notes") == "Called the payer"


def test_decision_records_are_short() -> None:
    """A decision is told in 300 words."""
    words = {
        path.name: len(path.read_text(encoding="utf-8").split()) for path in DOCUMENTS if "decisions" in path.parts
    }
    assert words
    assert {name: count for name, count in words.items() if count > 300} == {}
