"""The PostgreSQL cluster of a test run, and a database per test from a migrated template.

Rolled-back transactions would hide the leaks that matter: a pool, a commit, another role.
"""

import asyncio
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from piccolo.apps.migrations.commands.forwards import run_forwards

import piccolo_conf
from tenancy import embedded
from tenancy.databases import Databases
from tenancy.provision import provision
from tenancy.settings import Settings

TEMPLATE = "fastlane_template"
_DIRECTORY = "FASTLANE_TEST_CLUSTER"


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """One database. Each URL logs in as another role."""

    __test__ = False

    name: str
    socket_dir: Path

    def _url(self, user: str) -> str:
        return f"postgresql://{user}@/{self.name}?host={self.socket_dir}"

    @property
    def app(self) -> str:
        return self._url(embedded.APP)

    @property
    def owner(self) -> str:
        return self._url(embedded.OWNER)

    @property
    def superuser(self) -> str:
        return self._url("postgres")

    def settings(self, data_dir: Path, **overrides: Any) -> Settings:
        """Settings that serve this database, whatever the environment says."""
        values: dict[str, Any] = {
            "database_url": self.app,
            "direct_database_url": self.owner,
            "data_dir": data_dir,
            "pool_max_size": 4,
            "audit_seal_seconds": 0,
            **overrides,
        }
        return Settings(_env_file=None, **values)


def start(directory: Path) -> None:
    """Starts the cluster once, for all workers, and migrates the template."""
    os.environ[_DIRECTORY] = str(directory)
    socket_dir = embedded.start(directory).socket_dir
    fast = "ALTER SYSTEM SET {} = 'off'"
    superuser = TestDatabase("postgres", socket_dir).superuser
    for statement in (fast.format("fsync"), fast.format("full_page_writes"), "SELECT pg_reload_conf()"):
        asyncio.run(_execute(superuser, statement))
    asyncio.run(_execute(superuser, f"CREATE DATABASE {TEMPLATE} OWNER {embedded.OWNER}"))
    asyncio.run(migrate(TestDatabase(TEMPLATE, socket_dir), directory))


async def migrate(database: TestDatabase, data_dir: Path) -> None:
    """What a release does: migrations, then provisioning."""
    engine = piccolo_conf.DB
    engine.databases = Databases(database.settings(data_dir))
    with engine.as_owner():
        result = await run_forwards("all")
    assert result.success
    await provision(engine.databases.direct(), engine.databases.app())


def socket_dir() -> Path:
    """Where the cluster listens; any worker may ask."""
    return embedded.start(Path(os.environ[_DIRECTORY])).socket_dir


async def create_database(template: str | None = TEMPLATE) -> TestDatabase:
    """A database of its own, migrated unless `template` is None."""
    database = TestDatabase(f"test_{uuid.uuid4().hex[:12]}", socket_dir())
    source = f"TEMPLATE {template}" if template else ""
    await _execute(_maintenance(), f"CREATE DATABASE {database.name} OWNER {embedded.OWNER} {source}")
    return database


async def drop_database(database: TestDatabase) -> None:
    await _execute(_maintenance(), f"DROP DATABASE {database.name} WITH (FORCE)")


def _maintenance() -> str:
    return TestDatabase("postgres", socket_dir()).superuser


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def dump_schema(database: TestDatabase) -> str:
    """pg_dump's DDL without what differs from run to run."""
    binary = embedded.BINARIES / "pg_dump"
    command = [str(binary), "--schema-only", "--dbname", database.superuser]
    dump = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line for line in dump.splitlines() if not line.startswith(("\\", "--")) and line)
