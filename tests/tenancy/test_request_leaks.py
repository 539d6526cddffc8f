"""A request gives back what it took, whatever becomes of its statements, and takes nothing that it does not need."""

import asyncio
from itertools import count

import asyncpg
import pytest
from piccolo.engine.exceptions import TransactionError

from cases.tables import Ruleset
from tenancy import kept_statements
from tenancy.engine import FastlaneEngine
from tenancy.kept_statements import MOST_KEPT
from tests.tenancy.pool import LOST_CONNECTION, SCOPE, assert_whole, eventually, kill

SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
    "AND wait_event = 'PgSleep' AND query LIKE '%tenancy.run_1%'"
)
PREPARED = "SELECT count(*) AS number FROM pg_prepared_statements"
FEW = 10  # What asyncpg keeps besides: the calls, and the question itself.
_numbers = count()


async def run(engine: FastlaneEngine, statement: str) -> object:
    """The first value of a statement by itself."""
    async with engine.request(SCOPE) as request:
        return (await request.run(statement))[0][0]


async def fetch(engine: FastlaneEngine, statement: str) -> object:
    """The first value of a statement in a transaction."""
    async with engine.request(SCOPE) as request:
        return (await request.fetch(statement))[0][0]


async def start_sleeping(engine: FastlaneEngine, superuser: asyncpg.Connection, *, kept: bool) -> asyncio.Task[object]:
    """A task in a statement that lasts until somebody ends it, and that the server is known to run."""
    number = 0 if kept else next(_numbers)
    task = asyncio.create_task(run(engine, f"SELECT pg_sleep(60)::text AS slept /* {number} */"))

    async def is_sleeping() -> bool:
        return await superuser.fetchval(SLEEPING) is not None

    await eventually(is_sleeping)
    return task


# -- A connection is taken late, or not at all -------------------------------


async def test_no_statement_takes_no_connection(pooled: FastlaneEngine) -> None:
    """A request that runs nothing, or fails before it does, makes and takes no connection."""
    pool = pooled.pool
    assert pool is not None
    async with pooled.request(SCOPE) as request:
        await request.rollback()
        assert pool.get_size() == 0
    with pytest.raises(ZeroDivisionError):
        async with pooled.request(SCOPE):
            raise ZeroDivisionError
    assert pool.get_size() == 0
    assert pooled.current_transaction.get() is None


@pytest.mark.parametrize("has_begun", [False, True])
async def test_task_that_outlives_its_request(pooled: FastlaneEngine, size: int, has_begun: bool) -> None:
    """A task started in a request and still at work after it is refused, and begins nothing."""
    over = asyncio.Event()

    async def straggle(number: int) -> None:
        await over.wait()
        await (Ruleset.select(), request.run("SELECT 1 AS one"), request.fetch("SELECT 1 AS one"))[number]

    async with pooled.request(SCOPE) as request:
        if has_begun:
            await request.begun()
        stragglers = [asyncio.create_task(straggle(number)) for number in range(3)]
        await asyncio.sleep(0)
    over.set()
    for straggler in stragglers:
        with pytest.raises(asyncpg.InterfaceError):
            await straggler
    assert pooled.pool is not None
    assert pooled.pool.get_size() == pooled.pool.get_idle_size()
    await assert_whole(pooled, size)


async def test_request_ends_while_a_statement_waits(pooled: FastlaneEngine, size: int) -> None:
    """A task that waits for a connection when its request ends begins no transaction that nobody would end."""
    for _ in range(2 * size + 1):
        held = [await pooled.acquire() for _ in range(size)]
        async with pooled.request(SCOPE) as request:
            straggler = asyncio.create_task(request.fetch("SELECT 1 AS one"))
            await asyncio.sleep(0)  # It waits now.
        for connection in held:
            await pooled.release(connection)
        with pytest.raises(asyncpg.InterfaceError):
            await straggler
    await assert_whole(pooled, size)


async def test_request_ends_at_every_step_of_a_straggler(pooled: FastlaneEngine, size: int) -> None:
    """Whatever step of its first statement a task is at when its request ends, it leaves no transaction behind."""
    for turns in range(400):
        straggler = None
        try:
            async with pooled.request(SCOPE) as request:
                straggler = asyncio.create_task(request.fetch("SELECT 1 AS one"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                outlived = straggler.done()
        except LOST_CONNECTION:  # Of COMMIT, on a connection that is still busy.
            outlived = False
        assert straggler is not None
        async with asyncio.timeout(5):  # For a connection that a step before has lost.
            await asyncio.gather(straggler, return_exceptions=True)
        if outlived:
            break
    await assert_whole(pooled, size)


async def test_two_that_begin_at_once(pooled: FastlaneEngine, size: int) -> None:
    """Of two statements that would begin a request's transaction at once, one is refused; one connection is taken."""
    async with pooled.request(SCOPE) as request:
        answers = await asyncio.gather(*(request.fetch("SELECT 1 AS one") for _ in range(2)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [list, TransactionError]
        assert pooled.pool is not None
        assert pooled.pool.get_size() == 1
    await assert_whole(pooled, size)


# -- Cancellation and death --------------------------------------------------


@pytest.mark.parametrize("kept", [False, True])
async def test_cancelled_in_a_run(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection, kept: bool) -> None:
    """A cancelled task stops its statement on the server, too, and gives the connection back."""
    for _ in range(2 * size + 1):
        task = await start_sleeping(pooled, superuser, kept=kept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def is_over() -> bool:
            return await superuser.fetchval(SLEEPING) is None

        await eventually(is_over)
    await assert_whole(pooled, size)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_twice(pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection, turns: int) -> None:
    """A second cancellation, `turns` of the event loop after the first, leaks nothing."""
    for _ in range(2 * size + 1):
        task = await start_sleeping(pooled, superuser, kept=True)
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await assert_whole(pooled, size)


async def test_cancelled_at_every_step(pooled: FastlaneEngine, size: int) -> None:
    """Cancelled at whatever step, from waiting for a connection over preparing to the answer, it leaks nothing."""
    for turns in range(400):
        task = asyncio.create_task(run(pooled, f"SELECT {turns} AS number"))
        for _ in range(turns):
            await asyncio.sleep(0)
        outlived = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if outlived:
            break
    await assert_whole(pooled, size)


@pytest.mark.parametrize("kept", [False, True])
async def test_backend_killed_in_a_run(
    pooled: FastlaneEngine, size: int, superuser: asyncpg.Connection, kept: bool
) -> None:
    """A backend killed in the middle of a statement fails it, and its connection is replaced."""
    for _ in range(2 * size + 1):
        task = await start_sleeping(pooled, superuser, kept=kept)
        await kill(superuser, await superuser.fetchval(SLEEPING))
        with pytest.raises(LOST_CONNECTION):
            await task
    await assert_whole(pooled, size)


@pytest.mark.parametrize("statement", ["SELECT 1/0 AS nothing", "SELECT nothing FROM nowhere", "SELEC", "COMMIT"])
async def test_statement_fails(pooled: FastlaneEngine, size: int, statement: str) -> None:
    """A statement that fails, or cannot be prepared, fails more often than the pool is large, and leaks nothing."""
    for _ in range(2 * size + 1):
        with pytest.raises(asyncpg.PostgresError):
            await run(pooled, statement)
        assert pooled.current_transaction.get() is None
    await assert_whole(pooled, size)


# -- What a session keeps ----------------------------------------------------


async def test_statements_do_not_pile_up(pooled: FastlaneEngine) -> None:
    """Twice as many statements as are kept all work, and the session has no more of them than it may keep."""
    for number in range(2 * MOST_KEPT):
        assert await run(pooled, f"SELECT {number} AS number") == number
    assert await run(pooled, "SELECT 0 AS number") == 0  # Prepared anew.
    kept = await run(pooled, PREPARED)
    assert isinstance(kept, int)
    assert MOST_KEPT <= kept <= MOST_KEPT + FEW
    assert pooled.pool is not None
    assert pooled.pool.get_size() == 1  # All on one.


async def test_statements_used_both_ways_do_not_pile_up(
    pooled: FastlaneEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that runs by itself and in transactions too is closed when it is no longer kept."""
    monkeypatch.setattr(kept_statements, "MOST_KEPT", 2)
    for _ in range(30):
        for number in range(4):
            statement = f"SELECT {number} AS number"
            assert await run(pooled, statement) == await fetch(pooled, statement) == number
    kept = await fetch(pooled, PREPARED)
    assert isinstance(kept, int)
    assert kept <= 2 + 4 + FEW


async def test_an_error_holds_no_argument(pooled: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """The error of a statement that runs in one message, which the server logs whole, does not repeat its arguments."""
    async with pooled.request(SCOPE) as request:
        with pytest.raises(asyncpg.DivisionByZeroError) as caught:
            await request.run("SELECT 1 / (length($1::text) - length($1::text)) AS share", "a patient's words")
    assert "patient" not in repr(caught.value.as_dict())
    async with pooled.request(SCOPE) as request:
        waiting = asyncio.create_task(request.run("SELECT pg_sleep(60)::text || $1::text AS x", "a patient"))
        await eventually(lambda: _cancel_sleepers(superuser))
        with pytest.raises(asyncpg.QueryCanceledError) as ended:
            await waiting
    assert "patient" not in repr(ended.value.as_dict())


async def _cancel_sleepers(superuser: asyncpg.Connection) -> bool:
    """Ends the statements that sleep in this database, as their time limit would; whether there was one."""
    return bool(
        await superuser.fetch("""
            SELECT pg_cancel_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep'
        """)
    )
