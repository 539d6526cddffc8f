"""`ConnectionPool` keeps the least open, closes what is idle, and can be closed whatever it is doing."""

import asyncio

import asyncpg
import pytest

from tests.tenancy.connections import OPEN, SOON, Door, acquire_all, pool_of, start
from tests.tenancy.pool import eventually, kill


async def test_least_is_kept(door: Door, superuser: asyncpg.Connection) -> None:
    """So many are open from the start, however long they are idle; those whose backends die are replaced."""
    async with pool_of(door, least=2, idle_seconds=0.02) as pool:
        assert pool.get_size() == pool.get_idle_size() == 2
        before = await superuser.fetchval(OPEN)
        for pid in before:
            await kill(superuser, pid)

        async def are_back() -> bool:
            pids = await superuser.fetchval(OPEN) or []
            return len(pids) == 2 and not set(pids) & set(before)

        await eventually(are_back)
        assert pool.get_size() == 2


async def test_least_is_restored_after_an_outage(door: Door, superuser: asyncpg.Connection) -> None:
    """Attempts that fail are repeated until the database is there again."""
    async with pool_of(door, least=1, idle_seconds=0.02) as pool:
        door.is_broken = True
        await kill(superuser, (await superuser.fetchval(OPEN))[0])
        asked = door.asked

        async def was_tried_thrice() -> bool:
            return door.asked > asked + 3

        await eventually(was_tried_thrice)
        door.is_broken = False

        async def is_back() -> bool:
            return pool.get_idle_size() == 1

        await eventually(is_back)


async def test_idle_ones_are_closed(door: Door, superuser: asyncpg.Connection) -> None:
    """What nobody has used for `idle_seconds` is closed on the server too, down to the least; what is lent stays."""
    async with pool_of(door, least=1, idle_seconds=0.05) as pool:
        lent = await acquire_all(pool)
        pids = {connection.get_server_pid() for connection in lent}

        async def only_one_is_open() -> bool:
            return len(await superuser.fetchval(OPEN) or []) == 1

        pool.release(lent[1])
        pool.release(lent[2])
        await eventually(only_one_is_open)
        assert await superuser.fetchval(OPEN) == [lent[0].get_server_pid()]
        assert lent[0].get_server_pid() in pids
        assert await lent[0].fetchval("SELECT 1") == 1
        pool.release(lent[0])
        assert pool.get_size() == pool.get_idle_size() == 1


async def test_close_waits_for_what_is_lent(door: Door, superuser: asyncpg.Connection) -> None:
    """Closing lends no more, lets those finish who have a connection, and leaves none open."""
    async with pool_of(door) as pool:
        lent = await acquire_all(pool)
        waiting = (await start(pool.acquire(SOON)))[0]
        pool.release(lent.pop())
        lent.append(await waiting)
        waiting = (await start(pool.acquire(SOON)))[0]
        closing = asyncio.ensure_future(pool.close())
        for late in (waiting, asyncio.ensure_future(pool.acquire(SOON))):
            with pytest.raises(asyncpg.InterfaceError):
                await late
        for connection in lent:
            assert not closing.done()
            assert await connection.fetchval("SELECT 1") == 1
            pool.release(connection)
        async with asyncio.timeout(5):
            await closing
        assert pool.get_size() == 0
    await eventually(lambda: _none_is_open(superuser))


@pytest.mark.parametrize("is_broken", [False, True])
async def test_close_while_one_is_made(door: Door, superuser: asyncpg.Connection, is_broken: bool) -> None:
    """Closing waits for a connection that is being made, and no longer when it cannot be had."""
    async with pool_of(door) as pool:
        door.opened.clear()
        making = (await start(pool.acquire(SOON)))[0]
        closing = asyncio.ensure_future(pool.close())
        await asyncio.sleep(0)
        door.is_broken = is_broken
        door.opened.set()
        if is_broken:
            with pytest.raises(asyncpg.InvalidCatalogNameError):
                await making
        else:
            pool.release(await making)
        async with asyncio.timeout(5):
            await closing
    await eventually(lambda: _none_is_open(superuser))


async def test_close_while_the_least_is_restored(door: Door, superuser: asyncpg.Connection) -> None:
    """Closing ends the attempt to restore what is kept open."""
    async with pool_of(door, least=1, idle_seconds=0.02) as pool:
        door.opened.clear()
        asked = door.asked
        await kill(superuser, (await superuser.fetchval(OPEN))[0])

        async def is_making() -> bool:
            return door.asked > asked

        await eventually(is_making)
        async with asyncio.timeout(5):
            await pool.close()


async def _none_is_open(superuser: asyncpg.Connection) -> bool:
    return await superuser.fetchval(OPEN) is None
