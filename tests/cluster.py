"""The PostgreSQL cluster of a test run, and a database per test from a template: migrated, or with two clinics too.

Rolled-back transactions would hide the leaks that matter: a pool, a commit, another role.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from piccolo.apps.migrations.commands.forwards import run_forwards

import piccolo_conf
from tenancy import embedded
from tenancy.databases import Databases
from tenancy.provision import provision
from tenancy.settings import Settings
from tests.clinics import Clinic, create_clinics, load_clinics

TEMPLATE = "fastlane_template"
WITH_CLINICS = "fastlane_with_clinics"
_DIRECTORY = "FASTLANE_TEST_CLUSTER"
_PREFIX = "fastlane_test-"
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3


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


def make_directory() -> Path:
    """In memory where there is room: each database is some 350 files, which live for a second."""
    room = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) if _MEMORY.is_dir() else 0
    parent = _MEMORY if room > _ROOM and os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):  # By a run that was killed. Its server ends when it misses its files.
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def start(directory: Path) -> None:
    """Starts the cluster once, for all workers, and fills the templates."""
    os.environ[_DIRECTORY] = str(directory)
    socket_dir = embedded.start(directory).socket_dir
    fast = "ALTER SYSTEM SET {} = 'off'"
    superuser = TestDatabase("postgres", socket_dir).superuser
    # A crash may lose everything here. Statistics that come at some point of a test would change its plans.
    settings = [fast.format(name) for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")]
    for statement in (*settings, "SELECT pg_reload_conf()"):
        asyncio.run(_execute(superuser, statement))
    asyncio.run(_execute(superuser, f"CREATE DATABASE {TEMPLATE} OWNER {embedded.OWNER}"))
    asyncio.run(migrate(TestDatabase(TEMPLATE, socket_dir), directory))
    asyncio.run(_execute(superuser, f"CREATE DATABASE {WITH_CLINICS} OWNER {embedded.OWNER} TEMPLATE {TEMPLATE}"))
    piccolo_conf.DB.databases = Databases(TestDatabase(WITH_CLINICS, socket_dir).settings(directory))
    _file_of_clinics(directory).write_text(asyncio.run(create_clinics()))


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
    return embedded.start(_directory()).socket_dir


def clinics(settings: Settings) -> tuple[Clinic, Clinic]:
    """The clinics of a database whose template is `WITH_CLINICS`."""
    return load_clinics(_file_of_clinics(_directory()).read_text(), settings)


def _directory() -> Path:
    return Path(os.environ[_DIRECTORY])


def _file_of_clinics(directory: Path) -> Path:
    return directory / "clinics.json"


async def create_database(template: str | None = TEMPLATE) -> TestDatabase:
    """A database of its own, a copy of the template; without one it is not even migrated."""
    database = TestDatabase(f"test_{uuid.uuid4().hex[:12]}", socket_dir())
    # Through the log, as is the default, each page would be written three times.
    source = f"TEMPLATE {template} STRATEGY = FILE_COPY" if template else ""
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
