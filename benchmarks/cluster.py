"""The PostgreSQL of the benchmark: the embedded one, loaded once, with a fresh copy for each run.

`fastlane` holds the data and is never served. `ours` and `peers` are copies of it, made anew for
each run, so that every run begins with the same rows; `peers` has no triggers.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from piccolo.apps.migrations.commands.forwards import run_forwards

from benchmarks.progress import Progress
from tenancy import embedded
from tenancy.databases import Databases
from tenancy.provision import provision
from tenancy.readiness import migrations_on_disk
from tenancy.scoping import database
from tenancy.settings import Settings

CLINICS = 50
CASES = 200_000
LOADERS = 2
BATCH = 5_000
# Room for the data in memory, and no checkpoint in the middle of a round.
SERVER_SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
SQL = Path(__file__).parent / "sql"
_SEARCH = "ALTER TABLE cases {0} TRIGGER c_search; ALTER TABLE tasks {0} TRIGGER c_search"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server. Each URL names a role and a database."""

    server: embedded.EmbeddedDatabase

    @property
    def socket_dir(self) -> Path:
        return self.server.socket_dir

    def url(self, user: str, name: str) -> str:
        return self.server.url(user, name)

    def superuser(self, name: str) -> str:
        return self.server.url("postgres", name)

    def process(self) -> psutil.Process:
        """The postmaster; its children are the backends."""
        return psutil.Process(int((self.socket_dir / "postmaster.pid").read_text().split()[0]))


def start(directory: Path) -> Cluster:
    """Starts the server of `directory` with the settings of the benchmark."""
    cluster = Cluster(embedded.start(directory))
    if asyncio.run(_configure(cluster)):
        embedded.stop(directory)
        cluster = Cluster(embedded.start(directory))
    return cluster


async def _configure(cluster: Cluster) -> bool:
    """Whether the server must start again for its settings."""
    connection = await asyncpg.connect(cluster.superuser("postgres"))
    try:
        for name, value in SERVER_SETTINGS.items():
            await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await connection.execute("SELECT pg_reload_conf()")
        return bool(await connection.fetchval("SELECT current_setting('shared_buffers') <> '512MB'"))
    finally:
        await connection.close()


async def load(cluster: Cluster, directory: Path, cases: int = CASES, name: str = embedded.DATABASE) -> None:
    """Migrates and loads, unless this very data is there already."""
    marker = directory / ("loaded" if name == embedded.DATABASE else f"loaded-{name}")
    digest = _digest(cases)
    if marker.exists() and marker.read_text() == digest:
        return
    marker.unlink(missing_ok=True)
    await _recreate(cluster, name, None)
    engine = database()
    urls = {"database_url": cluster.url(embedded.APP, name), "direct_database_url": cluster.url(embedded.OWNER, name)}
    engine.databases = Databases(Settings.model_validate({**urls, "data_dir": directory}))
    with engine.as_owner():
        result = await run_forwards("all")
    if not result.success:
        raise RuntimeError(result.message)
    await provision(engine.databases.direct(), engine.databases.app())
    await _fill(cluster, cases, name)
    marker.write_text(digest)


async def refresh(cluster: Cluster, names: Sequence[str] = ("ours", "peers")) -> None:
    """Makes the copies that are served; what `sql/{name}.sql` says is done to a copy."""
    print("Copying the data …", file=sys.stderr)
    for name in names:
        await _recreate(cluster, name, embedded.DATABASE)
        script = SQL / f"{name}.sql"
        if script.exists():
            await _run(cluster.superuser(name), script.read_text(encoding="utf-8"))


async def _run(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


def _digest(cases: int) -> str:
    """What the data follows from: its scripts, its size, and the migrations."""
    scripts = sorted((path.name, path.read_text(encoding="utf-8")) for path in SQL.glob("load_*.sql"))
    return hashlib.sha256(repr((scripts, cases, sorted(migrations_on_disk()))).encode()).hexdigest()


async def _recreate(cluster: Cluster, name: str, template: str | None) -> None:
    connection = await asyncpg.connect(cluster.superuser("postgres"))
    source = f"TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name} OWNER {embedded.OWNER} {source}")
        await connection.execute(f"ALTER DATABASE {name} SET timezone = 'UTC'")
    finally:
        await connection.close()


async def _fill(cluster: Cluster, cases: int, name: str) -> None:
    """By two connections at once. Triggers and keys rest meanwhile, all but those that keep the search columns."""
    pool = await asyncpg.create_pool(
        cluster.superuser(name),
        min_size=LOADERS,
        max_size=LOADERS,
        server_settings={"session_replication_role": "replica"},
    )
    try:
        await pool.execute(_SEARCH.format("ENABLE ALWAYS"))
        await pool.fetch((SQL / "load_clinics.sql").read_text(encoding="utf-8"), CLINICS)
        statement = (SQL / "load_cases.sql").read_text(encoding="utf-8")
        starts = iter(range(1, cases + 1, BATCH))
        with Progress(f"Loading {cases:,} cases", cases) as progress:
            await asyncio.gather(*(_load_some(pool, statement, starts, cases, progress.add) for _ in range(LOADERS)))
        await pool.execute(_SEARCH.format("ENABLE"))
        await pool.execute("VACUUM ANALYZE")
    finally:
        await pool.close()


async def _load_some(pool: Any, statement: str, starts: Any, cases: int, done: Callable[[int], None]) -> None:
    for start_at in starts:
        end = min(start_at + BATCH - 1, cases)
        await pool.fetch(statement, start_at, end, cases, CLINICS, timeout=600)
        done(end - start_at + 1)
