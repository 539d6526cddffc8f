"""`ConnectionPool` over real connections: never too many, none lost, first come first served."""

import asyncio

import asyncpg
import pytest

from tests.tenancy.connections import OPEN, SIZE, SOON, Door, Pool, acquire_all, pool_of, start
from tests.tenancy.pool import eventually, kill

# -- Lending -----------------------------------------------------------------


async def test_never_more_than_most(door: Door, superuser: asyncpg.Connection) -> None:
    """However many ask at once, there are at most so many connections, each lent to one at a time."""
    lent: set[asyncpg.Connection] = set()

    async def use(pool: Pool) -> None:
        connection = await pool.acquire(SOON)
        assert connection not in lent
        lent.add(connection)
        assert len(lent) <= SIZE
        await connection.fetchval("SELECT 1")
        lent.discard(connection)
        pool.release(connection)

    async with pool_of(door) as pool:
        await asyncio.gather(*(use(pool) for _ in range(20 * SIZE)))
        assert pool.get_size() == pool.get_idle_size() == door.asked == pool.get_max_size() == SIZE
        assert len(await superuser.fetchval(OPEN)) == SIZE


async def test_last_back_is_first_lent(door: Door) -> None:
    """The connection that came back last is lent first."""
    async with pool_of(door) as pool:
        first, second, third = await acquire_all(pool)
        for connection in (second, third, first):
            pool.release(connection)
        assert [await pool.acquire(SOON) for _ in range(SIZE)] == [first, third, second]
        for connection in (first, second, third):
            pool.release(connection)


async def test_first_come_first_served(door: Door) -> None:
    """Who has waited longest is handed the next connection, before one who comes at that moment."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        waiting = await start(*(pool.acquire(SOON) for _ in range(4)))
        pool.release(lent[1])
        late = asyncio.ensure_future(pool.acquire(SOON))
        assert await waiting[0] is lent[1]
        assert not any(task.done() for task in (*waiting[1:], late))
        for task, following in zip(waiting, (*waiting[1:], late), strict=True):
            pool.release(await task)
            assert await following is lent[1]
        for connection in lent:
            pool.release(connection)


async def test_waiting_has_an_end(door: Door) -> None:
    """Who waits for too long gets a `TimeoutError`, and the next connection goes to who still waits."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        impatient = await start(*(pool.acquire(0.01) for _ in range(2 * SIZE)))
        patient = (await start(pool.acquire(SOON)))[0]
        for task in impatient:
            with pytest.raises(TimeoutError):
                await task
        assert not patient.done()
        pool.release(lent[0])
        assert await patient is lent[0]
        for connection in lent:
            pool.release(connection)
        for connection in await acquire_all(pool):
            pool.release(connection)


async def test_dead_one_is_not_handed_over(door: Door) -> None:
    """A connection that ends between its release and the turn of who waits is replaced, not lent."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        waiting = (await start(pool.acquire(SOON)))[0]
        pool.release(lent[0])
        lent[0].terminate()
        replacement = await waiting
        assert await replacement.fetchval("SELECT 1") == 1
        assert pool.get_size() == SIZE
        for connection in (replacement, *lent[1:]):
            pool.release(connection)


async def test_released_twice(door: Door) -> None:
    """A connection that is given back a second time is not lent to two at once."""
    async with pool_of(door) as pool:
        connection = await pool.acquire(SOON)
        for _ in range(2):
            pool.release(connection)
        for lent in await acquire_all(pool):
            pool.release(lent)


@pytest.mark.parametrize("is_closed", [False, True])
async def test_cancelled_when_handed_over(door: Door, is_closed: bool) -> None:
    """Who is cancelled in the moment of being handed a connection, or room for one, passes it on."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        for number in range(2 * SIZE + 1):
            doomed, heir = await start(pool.acquire(SOON), pool.acquire(SOON))
            connection = lent.pop(0)
            if is_closed:
                connection.terminate()
            pool.release(connection)
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed
            lent.append(await heir)
            assert (lent[-1] is connection) is not is_closed
            # And where nobody is next, it is idle.
            doomed = (await start(pool.acquire(SOON)))[0]
            pool.release(lent.pop(0))
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed
            assert pool.get_idle_size() == 1, number
            lent.append(await pool.acquire(SOON))
        for connection in lent:
            pool.release(connection)


# -- Connections that are lost, or cannot be had -----------------------------


async def test_closed_ones_are_replaced(door: Door, superuser: asyncpg.Connection) -> None:
    """A connection that is closed when it is given back, or dies while nobody uses it, makes room for another."""
    async with pool_of(door) as pool:
        for _ in range(2):
            lent = await acquire_all(pool)
            for connection in lent:
                connection.terminate()
                pool.release(connection)
            assert pool.get_size() == 0
        lent = await acquire_all(pool)
        for connection in lent:
            pool.release(connection)
            await kill(superuser, connection.get_server_pid())
        await eventually(lambda: _are_closed(lent))
        fresh = await acquire_all(pool)
        assert not set(fresh) & set(lent)
        for connection in fresh:
            pool.release(connection)


async def test_closed_one_lets_a_waiter_connect(door: Door) -> None:
    """Who waits is served by a new connection when one comes back closed."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        waiting = (await start(pool.acquire(SOON)))[0]
        lent[0].terminate()
        pool.release(lent[0])
        lent[0] = await waiting
        assert not lent[0].is_closed()
        for connection in lent:
            pool.release(connection)


async def test_failing_connect_wakes_the_next(door: Door) -> None:
    """When no connection can be made, whoever asked and whoever waits is told; no place is lost."""
    door.is_broken = True
    async with pool_of(door) as pool:
        for _ in range(2):
            door.opened.clear()
            tasks = await start(*(pool.acquire(SOON) for _ in range(3 * SIZE)))
            assert pool.get_size() == SIZE
            door.opened.set()
            async with asyncio.timeout(5):
                answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(answer) for answer in answers} == {asyncpg.InvalidCatalogNameError}
            assert pool.get_size() == 0
        door.is_broken = False
        for connection in await acquire_all(pool):
            pool.release(connection)


async def test_cancelled_connect_wakes_the_next(door: Door) -> None:
    """Who is cancelled while a connection is made for it leaves its place to whoever waits."""
    async with pool_of(door) as pool:
        door.opened.clear()
        tasks = await start(*(pool.acquire(SOON) for _ in range(2 * SIZE)))
        for task in tasks[:SIZE]:
            task.cancel()
        door.opened.set()
        lent = await asyncio.gather(*tasks[SIZE:])
        assert len(set(lent)) == pool.get_size() == SIZE
        for connection in lent:
            pool.release(connection)


async def test_connecting_has_an_end(door: Door) -> None:
    """Who asks for a connection that takes too long to make gets a `TimeoutError` in time, and no place is lost."""
    async with pool_of(door) as pool:
        door.opened.clear()
        async with asyncio.timeout(5):
            for _ in range(2 * SIZE):
                with pytest.raises(TimeoutError):
                    await pool.acquire(0.01)
        assert pool.get_size() == 0
        door.opened.set()
        for connection in await acquire_all(pool):
            pool.release(connection)


async def _are_closed(connections: list[asyncpg.Connection]) -> bool:
    return all(connection.is_closed() for connection in connections)
