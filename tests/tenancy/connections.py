"""A pool over real connections, whose making can be held up and can fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tenancy.pool import ConnectionPool
from tests.cluster import TestDatabase

SIZE = 3
SOON = 10.0
LONG = 3_600.0
OPEN = (
    "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND usename = 'fastlane_app'"
)
Pool = ConnectionPool[asyncpg.Connection]
Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Door:
    """Makes connections to the database; while it is not open, they wait; while it is broken, they fail."""

    def __init__(self, database: TestDatabase) -> None:
        self._url = database.app
        self.is_broken = False
        self.asked = 0
        self.opened = asyncio.Event()
        self.opened.set()

    async def __call__(self) -> asyncpg.Connection:
        self.asked += 1
        await self.opened.wait()
        database = "nowhere" if self.is_broken else None
        return await asyncpg.connect(self._url, database=database)


@asynccontextmanager
async def pool_of(connect: Connect, least: int = 0, idle_seconds: float = LONG) -> AsyncIterator[Pool]:
    """An open pool, which must be able to close at the end."""
    pool: Pool = ConnectionPool(connect, least=least, most=SIZE, idle_seconds=idle_seconds)
    await pool.open()
    try:
        yield pool
        async with asyncio.timeout(5):
            await pool.close()
    finally:
        pool.terminate()


async def acquire_all(pool: Pool) -> list[asyncpg.Connection]:
    """Every connection that it lends: none is missing, and each answers."""
    lent = [await pool.acquire(SOON) for _ in range(SIZE)]
    assert len({await connection.fetchval("SELECT pg_backend_pid()") for connection in lent}) == SIZE
    assert pool.get_size() == SIZE
    assert pool.get_idle_size() == 0
    return lent


async def start(*works: Coroutine[Any, Any, asyncpg.Connection]) -> "list[asyncio.Task[asyncpg.Connection]]":
    """Tasks that wait, in this order."""
    tasks = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks
