"""`python -m serve`, as `make run` runs it: what it refuses, and how it says so."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests import cluster
from tests.cluster import TestDatabase

ROOT = Path(__file__).parents[1]
SECRETS = {"MEMBER_ID_PEPPER": "synthetic", "AUTH_JWKS_URL": "http://127.0.0.1:9/jwks.json"}


async def start(tmp_path: Path, **environment: str) -> asyncio.subprocess.Process:
    """The service as a process of its own, with these settings and no others."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), **environment}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "serve",
        cwd=ROOT,
        env=inherited | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def refusal(tmp_path: Path, **environment: str) -> list[str]:
    """The reasons that a start which must fail gives."""
    process = await start(tmp_path, **environment)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1, errors.decode()
    lines = errors.decode().splitlines()
    assert all(line.startswith("cannot start: ") for line in lines), lines
    return [line.removeprefix("cannot start: ") for line in lines]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_port_taken(tmp_path: Path) -> None:
    """One line, before anything is started or created."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (reason,) = await refusal(tmp_path, PORT=str(port))
    assert f"PORT {port}" in reason
    assert not (tmp_path / "data").exists()


async def test_data_dir_not_writable(tmp_path: Path) -> None:
    """One line that names the setting."""
    (tmp_path / "file").touch()
    (reason,) = await refusal(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))
    assert reason.startswith("DATA_DIR")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("PORT", "many"), ("WORKERS", "0"), ("ENVIRONMENT", "staging"), ("POOL_MAX_SIZE", "-1")],
)
async def test_bad_setting(tmp_path: Path, setting: str, value: str) -> None:
    """A setting that cannot be meant is refused by its name."""
    (reason,) = await refusal(tmp_path, **{setting: value})
    assert reason.startswith(f"{setting}:")


@pytest.mark.parametrize("url", ["mysql://u@h/d", "postgresql://", "postgresql://u@h:port/d"])
async def test_bad_url(tmp_path: Path, url: str) -> None:
    """A URL that is not one of PostgreSQL is refused in one line."""
    assert len(await refusal(tmp_path, DATABASE_URL=url, DIRECT_DATABASE_URL=url)) == 1


async def test_production_names_each_missing_setting(tmp_path: Path) -> None:
    """Production starts on no embedded database, no development key and no missing secret."""
    reasons = await refusal(tmp_path, ENVIRONMENT="production")
    assert [reason.split()[0] for reason in reasons] == ["DATABASE_URL", "MEMBER_ID_PEPPER", "AUTH_JWKS_URL"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE cases NO FORCE ROW LEVEL SECURITY", "cases: row-level security is not forced"),
        ("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY", "tasks: row-level security is not enabled"),
        ("DROP POLICY tenant_isolation ON users", "users.tenant_isolation: policy is missing or altered"),
        ("DELETE FROM migration WHERE app_name = 'cases'", "pending migration cases"),
    ],
)
async def test_production_refuses_a_broken_boundary(
    tmp_path: Path, database: TestDatabase, superuser: asyncpg.Connection, statement: str, expected: str
) -> None:
    """Production starts on no database whose boundary has a hole or a migration pending."""
    await superuser.execute(statement)
    reasons = await refusal(tmp_path, ENVIRONMENT="production", DATABASE_URL=database.app, **SECRETS)
    assert any(expected in reason for reason in reasons), reasons
    assert all(reason.startswith("DATABASE_URL") for reason in reasons)


async def test_production_refuses_a_powerful_login(tmp_path: Path, database: TestDatabase) -> None:
    """Production serves with no role that is a superuser or owns the tables."""
    for url, expected in ((database.superuser, "is a superuser"), (database.owner, "owns tables")):
        reasons = await refusal(tmp_path, ENVIRONMENT="production", DATABASE_URL=url, **SECRETS)
        assert any(expected in reason for reason in reasons), reasons


async def test_production_reports_all_reasons_at_once(
    tmp_path: Path, superuser: asyncpg.Connection, database: TestDatabase
) -> None:
    """A missing secret does not hide a hole in the boundary."""
    await superuser.execute("ALTER TABLE cases NO FORCE ROW LEVEL SECURITY")
    reasons = await refusal(tmp_path, ENVIRONMENT="production", DATABASE_URL=database.app)
    assert {reason.split()[0].rstrip(":") for reason in reasons} == {
        "MEMBER_ID_PEPPER",
        "AUTH_JWKS_URL",
        "DATABASE_URL",
    }


async def test_production_serves_and_stops(tmp_path: Path, database: TestDatabase) -> None:
    """A safe production starts with the restricted URL alone, and SIGTERM ends it cleanly."""
    port = free_port()
    process = await start(tmp_path, ENVIRONMENT="production", DATABASE_URL=database.app, PORT=str(port), **SECRETS)
    await ready(process, port)
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


async def test_development_prepares_any_database(tmp_path: Path) -> None:
    """An empty database with two URLs is migrated, provisioned and seeded; a second start changes nothing."""
    database = await cluster.create_database(template=None)
    try:
        urls = {"DATABASE_URL": database.app, "DIRECT_DATABASE_URL": database.owner, "DEMO_PASSWORD": "demo-password"}
        counts = []
        for _ in range(2):
            port = free_port()
            process = await start(tmp_path, PORT=str(port), WORKERS="2", **urls)
            await ready(process, port)
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 20)
            connection = await asyncpg.connect(database.superuser)
            counts.append(await connection.fetchval("SELECT count(*) FROM cases"))
            await connection.close()
        assert counts[0] == counts[1] == 25
    finally:
        await cluster.drop_database(database)


async def ready(process: asyncio.subprocess.Process, port: int) -> None:
    """Waits until the process says that it serves, and /readyz does: somebody else's answer on
    the same port a moment earlier is none."""
    assert process.stdout is not None
    async with httpx.AsyncClient() as client, asyncio.timeout(60):
        while b"serves on" not in (line := await process.stdout.readline()):
            assert line, "the process ended"
        while True:
            assert process.returncode is None, await process.communicate()
            try:
                if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.05)
