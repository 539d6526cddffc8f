"""Migrations: there and back again, one runner at a time, equal to the tables, frozen."""

import ast
import asyncio
import os
import re
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest_asyncio
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

import piccolo_conf
from tenancy.databases import Databases
from tenancy.embedded import OWNER
from tenancy.engine import MIGRATION_LOCK, FastlaneEngine
from tenancy.readiness import migrations_on_disk
from tenancy.tables import Tenant
from tests import cluster
from tests.cluster import TestDatabase
from tests.drift import find_drift

ROOT = Path(__file__).parents[2]
MIGRATIONS = sorted(path for path in ROOT.glob("*/piccolo_migrations/*.py") if path.name != "__init__.py")
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
BEFORE_SEARCH = (("audit", "2026-11-22T20:01:00:000000"), ("cases", "2026-11-22T20:02:00:000000"))
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = $1"

LEFT_OVER = """
SELECT 'relation ' || c.oid::regclass FROM pg_class c
 WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
   AND c.relname NOT LIKE 'migration%'
 UNION ALL
SELECT 'function ' || p.oid::regprocedure FROM pg_proc p
 WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
 UNION ALL
SELECT 'schema ' || n.nspname FROM pg_namespace n
 WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('public', 'information_schema')
 UNION ALL
SELECT 'grant on ' || c.relname || ' to ' || a.grantee::regrole FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner
"""


@pytest_asyncio.fixture
async def empty(tmp_path: Path) -> AsyncIterator[TestDatabase]:
    """A database without anything, its owner the embedded one."""
    created = await cluster.create_database(template=None)
    yield created
    await cluster.drop_database(created)


async def test_back_to_nothing_and_forwards_again(
    database: TestDatabase, engine: FastlaneEngine, superuser: asyncpg.Connection
) -> None:
    """Backwards leaves nothing but Piccolo's own empty table; forwards again, the same schema to the letter."""
    before = cluster.dump_schema(database)
    with engine.as_owner():
        assert (await run_backwards("all", auto_agree=True)).success
    assert [row[0] for row in await superuser.fetch(LEFT_OVER)] == []
    assert await superuser.fetchval("SELECT count(*) FROM migration") == 0
    with engine.as_owner():
        assert (await run_forwards("all")).success
    assert cluster.dump_schema(database) == before


async def test_backwards_takes_rows_along(
    clinics: object, engine: FastlaneEngine, superuser: asyncpg.Connection
) -> None:
    """Rows in every table, the append-only trail among them, do not keep a migration from going back."""
    with engine.as_owner():
        assert (await run_backwards("all", auto_agree=True)).success
    assert [row[0] for row in await superuser.fetch(LEFT_OVER)] == []


async def test_forwards_twice_changes_nothing(database: TestDatabase, engine: FastlaneEngine) -> None:
    """On a migrated database forwards succeeds and does nothing."""
    before = cluster.dump_schema(database)
    with engine.as_owner():
        assert (await run_forwards("all")).success
    assert cluster.dump_schema(database) == before


async def test_search_comes_to_an_existing_database(
    empty: TestDatabase, database: TestDatabase, tmp_path: Path
) -> None:
    """Where cases existed before the trail left the search column out, the schema ends as in a fresh database.

    Backwards both steps leave what was there, and an extension that somebody else made.
    """
    steps = {"cases": "2026-11-22T22:06:00:000000", "audit": "2026-11-22T22:05:00:000000"}
    engine = piccolo_conf.DB
    engine.databases = Databases(empty.settings(tmp_path))
    with engine.as_owner():
        for app, last in (("tenancy", "all"), *BEFORE_SEARCH):
            assert (await run_forwards(app, last)).success
        before = cluster.dump_schema(empty)
        assert (await run_forwards("all")).success
        assert cluster.dump_schema(empty) == cluster.dump_schema(database)
        for app, first in steps.items():
            assert (await run_backwards(app, first, auto_agree=True)).success
        assert cluster.dump_schema(empty) == before
        connection = await asyncpg.connect(empty.superuser)
        await connection.execute("CREATE EXTENSION btree_gin")
        before = cluster.dump_schema(empty)
        assert (await run_forwards("all")).success
        for app, first in steps.items():
            assert (await run_backwards(app, first, auto_agree=True)).success
        assert cluster.dump_schema(empty) == before
    await connection.close()


async def start_runner(database: TestDatabase, data_dir: Path) -> Process:
    """`piccolo migrations forwards all`, as a release calls it."""
    environment = {
        **os.environ,
        "DATABASE_URL": database.app,
        "DIRECT_DATABASE_URL": database.owner,
        "DATA_DIR": str(data_dir),
    }
    command = (sys.executable, "-m", "piccolo.main", "migrations", "forwards", "all")
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE)


async def test_concurrent_runners_wait_for_each_other(empty: TestDatabase, database: TestDatabase) -> None:
    """Two runners that are let go at the same moment on one empty database both succeed, each migration once."""
    connection = await asyncpg.connect(empty.superuser)
    await connection.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
    oid = await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
    runners = [await start_runner(empty, Path("/nonexistent")) for _ in range(2)]
    finished = [asyncio.create_task(runner.communicate()) for runner in runners]
    async with asyncio.timeout(60):
        while await connection.fetchval(WAITING, oid) < len(runners):
            assert not any(task.done() for task in finished), "a runner did not wait for the lock"
            await asyncio.sleep(0.05)
    await connection.execute(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})")
    for runner, (output, errors) in zip(runners, await asyncio.gather(*finished), strict=True):
        assert runner.returncode == 0, (output + errors).decode()
    applied = await connection.fetch("SELECT app_name, name FROM migration")
    await connection.close()
    assert sorted(map(tuple, applied)) == sorted(migrations_on_disk())
    assert cluster.dump_schema(empty) == cluster.dump_schema(database)


async def test_migrations_do_not_wait_for_ever(database: TestDatabase, engine: FastlaneEngine) -> None:
    """A migration runs as the owner, waits at most 10 s for a lock and at most 10 min for a statement."""
    names = ("current_user", "current_setting('lock_timeout')", "current_setting('statement_timeout')")
    with engine.as_owner():
        rows = await Tenant.raw(f"SELECT {', '.join(f'{name} AS c{at}' for at, name in enumerate(names))}")
    assert rows == [{"c0": OWNER, "c1": "10s", "c2": "10min"}]


async def test_one_runner_at_a_time(engine: FastlaneEngine, owner: asyncpg.Connection) -> None:
    """While a migration runs its advisory lock is taken, and free again afterwards."""
    attempt = f"SELECT pg_try_advisory_lock({MIGRATION_LOCK})"
    with engine.as_owner():
        await Tenant.raw("SELECT 1")
        assert await owner.fetchval(attempt) is False
    # The server notices the closed connection in its own time.
    await owner.execute(f"SET lock_timeout = '10s'; SELECT pg_advisory_lock({MIGRATION_LOCK})")


async def test_tables_and_migrations_are_equal() -> None:
    """Piccolo finds nothing to migrate in any of the apps."""
    assert await find_drift() == {}


def drift_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python without any database."""
    environment = {**os.environ, "DATABASE_URL": NOWHERE, "DIRECT_DATABASE_URL": NOWHERE, "DATA_DIR": "/nonexistent"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_drift_needs_no_database() -> None:
    """`python -m tests.drift` says nothing and exits 0 while all is equal, with no database in reach."""
    result = drift_command("-m", "tests.drift")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_drift_is_reported() -> None:
    """A new column and a table without its migration make the command exit 1 and name both."""
    program = """
import sys
from piccolo.columns import Text
from piccolo.conf.apps import Finder
from cases.tables import Ruleset
from tests import drift
column = Text(default=None, null=True)
column._meta._name, column._meta._table = "surplus", Ruleset
Ruleset._meta.columns.append(column)
Ruleset._meta.non_default_columns.append(column)
Finder().get_app_config("audit").table_classes.pop()
sys.exit(drift.main())
"""
    result = drift_command("-c", program)
    assert result.returncode == 1, result.stderr
    assert "surplus" in result.stderr
    assert "CheckpointPart" in result.stderr


def sql_files_named(migration: Path) -> list[Path]:
    """The scripts that a migration hands to `add_sql`, without their twins."""
    names = []
    for call in ast.walk(ast.parse(migration.read_text(encoding="utf-8"))):
        match call:
            case ast.Call(func=ast.Name(id="add_sql"), args=[_, _, ast.Constant(value=str(name))]):
                names.append(name)
    return [migration.parents[1] / "sql" / f"{name}.sql" for name in names]


def test_every_script_has_its_way_back() -> None:
    """A script that a migration names has a version, is there, and so is its `_down` twin; no other has a version."""
    named = [script for migration in MIGRATIONS for script in sql_files_named(migration)]
    assert named
    assert len(named) == len(set(named))
    assert all(re.fullmatch(r"[a-z_]+_\d+", script.stem) for script in named)
    expected = {*named, *(script.with_name(f"{script.stem}_down.sql") for script in named)}
    on_disk = {path for path in ROOT.glob("*/sql/*.sql") if re.search(r"_\d+(_down)?$", path.stem)}
    assert on_disk == expected


def test_migrations_stand_alone() -> None:
    """A migration imports Piccolo, the standard library and `tenancy.migration`: code that moves cannot break it."""
    allowed = {"piccolo", *sys.stdlib_module_names}
    found = []
    for migration in MIGRATIONS:
        for node in ast.walk(ast.parse(migration.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            found += [
                f"{migration.name}: {module}"
                for module in modules
                if module.partition(".")[0] not in allowed and module != "tenancy.migration"
            ]
    assert found == []


def test_migrations_are_named_in_their_order() -> None:
    """A file is called after its app and its number, and the IDs that Piccolo sorts by follow the numbers."""
    for folder in {migration.parent for migration in MIGRATIONS}:
        files = [migration for migration in MIGRATIONS if migration.parent == folder]
        app = folder.parent.name
        names = [re.fullmatch(rf"{app}_(\d{{4}})_[a-z_]+", path.stem) for path in files]
        assert all(names), files
        assert [int(name[1]) for name in names if name] == list(range(1, len(files) + 1))
        ids = [re.findall(r'^ID = "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE) for path in files]
        assert ids == sorted(ids)
        assert all(len(found) == 1 for found in ids)


async def test_the_owner_needs_no_superuser(empty: TestDatabase, tmp_path: Path) -> None:
    """The owner, who is no superuser, migrates an empty database alone."""
    engine = piccolo_conf.DB
    engine.databases = Databases(empty.settings(tmp_path))
    with engine.as_owner():
        assert (await run_forwards("all")).success
        owners = await Tenant.raw("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
        powers = await Tenant.raw("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
    assert owners == [{"tableowner": OWNER}]
    assert powers == [{"rolsuper": False, "rolbypassrls": False}]
