"""The command line, as a process of its own on a database of its own."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import serve

ROOT = Path(__file__).parents[1]


async def piccolo(database: TestDatabase, tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `piccolo` with these arguments."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    urls = {"DATABASE_URL": database.app, "DIRECT_DATABASE_URL": database.owner, "DATA_DIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "piccolo.main",
        *arguments,
        cwd=ROOT,
        env=inherited | urls | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_issued_token_is_accepted(
    database: TestDatabase, settings: Settings, clinics: tuple[Clinic, Clinic], tmp_path: Path
) -> None:
    """issue_token prints one token and nothing else, and the service takes it for that user."""
    status, output, errors = await piccolo(database, tmp_path, "tenancy", "issue_token", "--email=staff@south.com")
    assert (status, errors) == (0, "")
    assert output.count("\n") == 1
    async for app in serve(settings):
        answer = await app.client.get("/api/me/", headers={"Authorization": f"Bearer {output.strip()}"})
    assert (answer.json()["user"]["email"], answer.json()["tenant"]["slug"]) == ("staff@south.com", "south")


async def test_ambiguous_email_needs_a_tenant(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], tmp_path: Path
) -> None:
    """One email in two tenants: --tenant chooses, and without it the command says so."""
    create = ("tenancy", "create_user", "--email=both@example.com", "--role=staff")
    for slug in ("north", "south"):
        assert (await piccolo(database, tmp_path, *create, f"--tenant={slug}"))[0] == 0
    issue = ("tenancy", "issue_token", "--email=both@example.com")
    status, output, errors = await piccolo(database, tmp_path, *issue)
    assert (status, output) == (1, "")
    assert "north, south" in errors
    status, output, _ = await piccolo(database, tmp_path, *issue, "--tenant=south")
    assert status == 0
    assert output.strip()


@pytest.mark.parametrize("environment", [{"ENVIRONMENT": "production"}, {"AUTH_JWKS_URL": "http://127.0.0.1:9/keys"}])
async def test_tokens_are_for_development(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], tmp_path: Path, environment: dict[str, str]
) -> None:
    """No development token where an identity provider, or production, rules."""
    arguments = ("tenancy", "issue_token", "--email=admin@north.com")
    status, output, errors = await piccolo(database, tmp_path, *arguments, **environment)
    assert (status, output) == (1, "")
    assert errors.count("\n") == 1


async def test_urls_are_printed_as_they_are(database: TestDatabase, tmp_path: Path) -> None:
    """db_url prints the app's URL, with --direct the owner's."""
    assert await piccolo(database, tmp_path, "tenancy", "db_url") == (0, f"{database.app}\n", "")
    assert await piccolo(database, tmp_path, "tenancy", "db_url", "--direct") == (0, f"{database.owner}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("create_tenant", "--slug=north", "--name=Again"),
        ("create_tenant", "--slug=Bad Slug", "--name=X"),
        ("create_tenant", "--slug=x", "--name=X", "--time_zone=Mars/Olympus"),
        ("create_user", "--tenant=north", "--email=admin@north.com", "--role=staff"),
        ("create_user", "--tenant=north", "--email=x@north.com", "--role=boss"),
        ("create_user", "--tenant=nowhere", "--email=x@north.com", "--role=staff"),
        ("create_operator", "--username=x", "--tenant=north", "--email=nobody@north.com"),
        ("create_operator", "--username=x", "--password=short"),
        ("issue_token", "--email=nobody@north.com"),
        ("reset",),
    ],
)
async def test_bad_input_is_one_clear_line(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """What cannot be done is said in one line on stderr, without a stack, and exits with 1."""
    status, _, errors = await piccolo(database, tmp_path, "tenancy", *arguments)
    assert status == 1
    assert "Traceback" not in errors
    assert errors.strip()


async def test_tenant_of_a_time_zone(database: TestDatabase, superuser: asyncpg.Connection, tmp_path: Path) -> None:
    """A tenant's business days are counted in UTC unless it is created with a time zone of its own."""
    for slug, option, zone in (("a", (), "UTC"), ("b", ("--time_zone=America/New_York",), "America/New_York")):
        create = ("tenancy", "create_tenant", f"--slug={slug}", "--name=X", *option)
        assert (await piccolo(database, tmp_path, *create))[0] == 0
        assert await superuser.fetchval("SELECT time_zone FROM tenants WHERE slug = $1", slug) == zone


async def test_provision_is_idempotent_and_changes_the_password(database: TestDatabase, tmp_path: Path) -> None:
    """provision makes the role that the URL names, as often as it is asked."""
    login = f"login_{database.name}"
    url = database.app.replace("fastlane_app@", f"{login}:pass%20w'ord%22@")
    for _ in range(2):
        status, _, errors = await piccolo(database, tmp_path, "tenancy", "provision", DATABASE_URL=url)
        assert status == 0, errors
    same = database.owner
    status, _, errors = await piccolo(database, tmp_path, "tenancy", "provision", DATABASE_URL=same)
    assert status == 1
    assert "same role" in errors


async def test_shell_queries_run_as_the_platform(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], tmp_path: Path
) -> None:
    """Piccolo's own commands see the rows: fixtures of both tenants are dumped."""
    status, output, _ = await piccolo(database, tmp_path, "fixtures", "dump", "--apps=cases", "--tables=Case")
    assert status == 0
    assert httpx.Response(200, text=output[output.index("{") :]).json()["cases"]["Case"]
    assert all(str(clinic.id) in output for clinic in clinics)
