"""What the tests of transactions ask of a pool, and do to it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from uuid import UUID

import asyncpg
import pytest

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.transaction import BoundTransaction

TENANT = UUID("6a3e0f3c-2a86-4d2c-9d5f-0a4f0b4f7a11")
SCOPE = Scope(role=DatabaseRole.tenant, actor="script:test", tenant_id=TENANT)
# Which one it is depends on how much of its farewell the server had sent.
LOST_CONNECTION = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_numbers = count()
Block = Callable[[BoundTransaction], Awaitable[object]]


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns as soon as the condition holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  # The server sends no event.
            await asyncio.sleep(0.005)


async def assert_whole(engine: FastlaneEngine, size: int) -> None:
    """Every connection of the pool serves at once, and the task is in no transaction."""
    assert engine.current_transaction.get() is None
    assert engine.pool is not None
    together = asyncio.Barrier(size)

    async def serve() -> str:
        async with engine.transaction(scope=SCOPE) as transaction:
            await together.wait()
            return str(await transaction.connection.fetchval("SELECT current_setting('app.tenant_id')"))

    async with asyncio.timeout(10):
        assert await asyncio.gather(*(serve() for _ in range(size))) == [str(TENANT)] * size
    assert engine.pool.get_idle_size() == engine.pool.get_size() == size
    assert engine.current_transaction.get() is None


async def transact(engine: FastlaneEngine, block: Block) -> None:
    """One transaction around the block."""
    async with engine.transaction(scope=SCOPE) as transaction:
        await block(transaction)


async def assert_no_leak(
    engine: FastlaneEngine, size: int, expected: type[BaseException] | tuple[type[BaseException], ...], block: Block
) -> None:
    """The block's transaction fails as expected, more often than the pool is large, and costs no connection."""
    for _ in range(2 * size + 1):
        with pytest.raises(expected):
            await transact(engine, block)
        assert engine.current_transaction.get() is None
    await assert_whole(engine, size)


@dataclass
class LongQuery:
    """A task inside a query that lasts until somebody ends it, and the backend that runs it."""

    task: asyncio.Task[None]
    pid: int
    superuser: asyncpg.Connection

    @classmethod
    async def start(cls, engine: FastlaneEngine, superuser: asyncpg.Connection) -> "LongQuery":
        """Returns when the server is known to run it: a query that it has not begun cannot be cancelled."""
        query = f"SELECT pg_sleep(60) /* {next(_numbers)} */"
        task = asyncio.create_task(transact(engine, lambda transaction: transaction.connection.execute(query)))
        running = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query = $1"

        async def has_begun() -> bool:
            return await superuser.fetchval(running, query) is not None

        await eventually(has_begun)
        return cls(task, await superuser.fetchval(running, query), superuser)

    async def is_over(self) -> bool:
        """Whether the server has stopped running it."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND query LIKE 'SELECT pg_sleep%'"
        query += " AND state = 'active'"
        return bool(await self.superuser.fetchval(query, self.pid) == 0)


async def kill(superuser: asyncpg.Connection, pid: int) -> None:
    """Terminates a backend, and waits until it is gone."""
    assert await superuser.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)


async def pid_of(transaction: BoundTransaction) -> int:
    """The backend of a transaction."""
    return int(await transaction.connection.fetchval("SELECT pg_backend_pid()"))
