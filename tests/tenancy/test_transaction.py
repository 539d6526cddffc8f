"""`BoundTransaction` gives its connection back, whatever fails.

Each failure is repeated more often than the pool is large: one leak in a round would empty it.
"""

import asyncio
import os
import signal

import asyncpg
import pytest
from piccolo.engine.exceptions import TransactionError

from tenancy import transaction as transactions
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import DatabaseUnavailable, FastlaneEngine
from tenancy.transaction import BoundTransaction, TransactionAborted
from tests.tenancy.pool import (
    LOST_CONNECTION,
    SCOPE,
    LongQuery,
    assert_no_leak,
    assert_whole,
    eventually,
    kill,
    pid_of,
    transact,
)


def rounds(size: int) -> range:
    return range(2 * size + 1)


# -- COMMIT ------------------------------------------------------------------


@pytest.mark.usefixtures("traps")
async def test_failed_commit(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """A COMMIT that a deferred key refuses raises the key's error, keeps nothing and leaks nothing."""

    async def insert_twins(transaction: BoundTransaction) -> None:
        await transaction.connection.execute("INSERT INTO twins VALUES (1), (1)")

    await assert_no_leak(pooled, size, asyncpg.UniqueViolationError, insert_twins)
    assert await superuser.fetchval("SELECT count(*) FROM twins") == 0


async def test_commit_of_aborted_transaction(pooled: FastlaneEngine, size: int) -> None:
    """A COMMIT that the server answers with ROLLBACK is an error, and leaks nothing."""

    async def fail_in_silence(transaction: BoundTransaction) -> None:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await transaction.connection.execute("SELECT 1/0")

    await assert_no_leak(pooled, size, TransactionAborted, fail_in_silence)


@pytest.mark.usefixtures("traps")
async def test_backend_killed_at_commit(pooled: FastlaneEngine, size: int) -> None:
    """A backend that dies while it commits is an error to the caller, and its connection is replaced."""

    async def insert_mortal(transaction: BoundTransaction) -> None:
        await transaction.connection.execute("INSERT INTO mortal VALUES (1)")

    await assert_no_leak(pooled, size, LOST_CONNECTION, insert_mortal)


async def test_commit_on_a_silent_server(
    pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that no longer answers holds neither the caller nor a place in the pool."""
    monkeypatch.setattr(transactions, "FINISH_SECONDS", 0.2)
    stopped: list[int] = []

    async def stop(transaction: BoundTransaction) -> None:
        stopped.append(await pid_of(transaction))
        os.kill(stopped[-1], signal.SIGSTOP)

    try:
        for _ in rounds(size):
            with pytest.raises(TimeoutError):
                await transact(pooled, stop)
            assert pooled.current_transaction.get() is None
        monkeypatch.undo()
        await assert_whole(pooled, size)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        for pid in stopped:
            await superuser.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)


# -- Cancellation ------------------------------------------------------------


async def test_cancelled_in_a_query(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """A cancelled task stops its query on the server, too, and gives the connection back."""
    for _ in rounds(size):
        query = await LongQuery.start(pooled, superuser)
        query.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query.task
        await eventually(query.is_over)
    await assert_whole(pooled, size)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_twice(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection, turns: int) -> None:
    """A second cancellation, `turns` of the event loop into the ROLLBACK, leaks nothing."""
    for _ in rounds(size):
        query = await LongQuery.start(pooled, superuser)
        query.task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        query.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query.task
    await assert_whole(pooled, size)


async def test_cancelled_at_every_step(pooled: FastlaneEngine, size: int) -> None:
    """Cancelled at whatever step of its life, from waiting for a connection to COMMIT, it leaks nothing."""

    async def live() -> None:
        async with pooled.transaction(scope=SCOPE) as transaction:
            await transaction.connection.execute("SELECT 1")

    outlived = False
    for turns in range(400):
        task = asyncio.create_task(live())
        for _ in range(turns):
            await asyncio.sleep(0)
        outlived = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if outlived:
            break
    await assert_whole(pooled, size)


async def test_cancelled_while_waiting_for_the_pool(pooled: FastlaneEngine, size: int) -> None:
    """Who gives up waiting for a busy pool takes no connection along."""
    async with asyncio.TaskGroup() as group:
        busy = asyncio.Event()

        async def hold() -> None:
            async with pooled.transaction(scope=SCOPE):
                await busy.wait()

        for _ in range(size):
            group.create_task(hold())
        pool = pooled.pool
        assert pool is not None

        async def is_busy() -> bool:
            return not pool.get_idle_size() and pool.get_size() == size

        await eventually(is_busy)
        waiting = [asyncio.create_task(hold()) for _ in rounds(size)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        busy.set()
    await assert_whole(pooled, size)


async def test_pool_exhausted(pooled: FastlaneEngine, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that finds no free connection in time is told so, and the pool stays whole."""
    monkeypatch.setattr("tenancy.engine.ACQUIRE_SECONDS", 0.05)
    assert pooled.pool is not None
    held = [await pooled.acquire() for _ in range(size)]
    for _ in rounds(size):
        with pytest.raises(DatabaseUnavailable):
            async with pooled.transaction(scope=SCOPE):
                pytest.fail("there was no connection to be had")
    for connection in held:
        await pooled.release(connection)
    await assert_whole(pooled, size)


# -- A killed backend --------------------------------------------------------


async def test_backend_killed_while_idle(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """A backend killed between two queries fails the next one, and its connection is replaced."""

    async def die_between(transaction: BoundTransaction) -> None:
        await kill(superuser, await pid_of(transaction))
        await transaction.connection.execute("SELECT 1")

    await assert_no_leak(pooled, size, LOST_CONNECTION, die_between)


async def test_backend_killed_before_commit(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """A backend killed after the last query fails the COMMIT: nobody takes it for a success."""

    async def die(transaction: BoundTransaction) -> None:
        await kill(superuser, await pid_of(transaction))

    await assert_no_leak(pooled, size, LOST_CONNECTION, die)


async def test_backend_killed_in_a_query(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """A backend killed in the middle of a query fails it, and its connection is replaced."""
    for _ in rounds(size):
        query = await LongQuery.start(pooled, superuser)
        await kill(superuser, query.pid)
        with pytest.raises(LOST_CONNECTION):
            await query.task
    await assert_whole(pooled, size)


# -- Errors ------------------------------------------------------------------


async def test_first_error_is_raised(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection) -> None:
    """An error in the block is the one that is raised, though the ROLLBACK after it fails too."""

    async def die_and_fail(transaction: BoundTransaction) -> None:
        await kill(superuser, await pid_of(transaction))
        raise ZeroDivisionError

    await assert_no_leak(pooled, size, ZeroDivisionError, die_and_fail)


@pytest.mark.parametrize(
    "scope",
    [
        Scope(role=DatabaseRole.tenant, actor="lone surrogate \ud800"),
        Scope(role=DatabaseRole.tenant, actor="x" * 300, user_agent="\udfff"),
    ],
)
async def test_failed_begin(pooled: FastlaneEngine, size: int, scope: Scope) -> None:
    """A scope that cannot be told to the server fails its transaction and leaks nothing."""
    for _ in rounds(size):
        with pytest.raises(UnicodeEncodeError):
            async with pooled.transaction(scope=scope):
                pytest.fail("this transaction must not begin")
    await assert_whole(pooled, size)


async def test_begin_refused_by_the_server(pooled: FastlaneEngine, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that the server refuses fails the transaction at its BEGIN and leaks nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(pooled, "statement_timeout_ms", -5)
        for _ in rounds(size):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                async with pooled.transaction(scope=SCOPE):
                    pytest.fail("this transaction must not begin")
            assert pooled.current_transaction.get() is None
    await assert_whole(pooled, size)


async def test_ended_by_another_task(pooled: FastlaneEngine, size: int) -> None:
    """A transaction that another task ends, as an abandoned generator's is, gives its connection back."""
    for _ in rounds(size):
        transaction = pooled.transaction(scope=SCOPE)
        await asyncio.create_task(transaction.__aenter__())
        await asyncio.gather(asyncio.create_task(transaction.__aexit__(None, None, None)), return_exceptions=True)
    await assert_whole(pooled, size)


async def test_no_nesting_without_leave(pooled: FastlaneEngine, size: int) -> None:
    """A transaction that may not be nested says so, and costs no connection."""
    for _ in rounds(size):
        async with pooled.transaction(scope=SCOPE):
            with pytest.raises(TransactionError):
                async with pooled.transaction(scope=SCOPE, allow_nested=False):
                    pytest.fail("this transaction must not begin")
    await assert_whole(pooled, size)
