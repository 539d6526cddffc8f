"""A database in which lists are planned: 200,000 cases of 50 clinics, and what belongs to them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from tests import cluster
from tests.cluster import TestDatabase

CASES = 200_000
CLINICS = 50
BATCH = 5_000
NAME = "fastlane_lists"
LOCK = 0x11575
SQL = Path(__file__).parents[2] / "benchmarks" / "sql"
# A task as wide as one with a few sentences and their words. Narrow rows make it look cheap to read those of others.
# The index of the search, which no list may use, would take as long to fill as all the others.
AS_WIDE = f"""
ALTER TABLE tasks ALTER COLUMN search SET DEFAULT 'word:{",".join(map(str, range(1, 256)))}';
DROP INDEX tasks_tenant_id_search_idx;
"""
REST = Path(__file__).with_name("lists_rest.sql")


async def lists_database() -> TestDatabase:
    """The one of this run, made by the first worker that asks for it. It goes with the cluster."""
    connection = await asyncpg.connect(TestDatabase("postgres", cluster.socket_dir()).superuser)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", NAME):
            created = await cluster.create_database()
            await _fill(created)
            await connection.execute(f"ALTER DATABASE {created.name} RENAME TO {NAME}")
    finally:
        await connection.close()
    return TestDatabase(NAME, cluster.socket_dir())


async def _fill(database: TestDatabase) -> None:
    """By two connections at once. Triggers and keys rest meanwhile: nothing computes what is searched."""
    rest = {"session_replication_role": "replica"}
    pool = await asyncpg.create_pool(database.superuser, min_size=2, max_size=2, server_settings=rest)
    try:
        await pool.fetch((SQL / "load_clinics.sql").read_text(encoding="utf-8"), CLINICS)
        await pool.execute(AS_WIDE)
        starts = iter(range(1, CASES + 1, BATCH))
        await asyncio.gather(*(_open_cases(pool, starts) for _ in range(2)))
        parts = REST.read_text(encoding="utf-8").split(";\n")
        await asyncio.gather(*(pool.execute(part) for part in parts))
        await pool.execute("ANALYZE")
    finally:
        await pool.close()


async def _open_cases(pool: asyncpg.Pool, starts: Iterator[int]) -> None:
    statement = (SQL / "load_cases.sql").read_text(encoding="utf-8")
    for start in starts:
        await pool.fetch(statement, start, start + BATCH - 1, CASES, CLINICS)
