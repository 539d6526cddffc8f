"""A pool of connections that lends one without a detour.

asyncpg's own pool makes a task, a timer and a proxy for each use of a connection; while requests wait for one
that was a quarter of the time that the service spent on a small read. Less is needed here: every setting ends
with its transaction, so that nothing has to be reset, and whoever gives a connection back knows whether it can
be trusted.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import asyncpg

Connection = TypeVar("Connection", bound=Any)


class ConnectionPool(Generic[Connection]):
    """At most `most` connections, which `connect` makes when they are needed.

    The one that was given back last is lent first, so that the others become idle: what was idle for
    `idle_seconds` is closed, down to `least`, which are kept open.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, least: int, most: int, idle_seconds: float
    ) -> None:
        self._connect = connect
        self._least = min(least, most)
        self._most = most
        self._idle_seconds = idle_seconds
        self._idle: list[tuple[Connection, float]] = []
        self._lent: set[Connection] = set()
        self._connecting = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._tending: asyncio.Task[None] | None = None
        self._is_closed = False
        self._all_back = asyncio.Event()

    def get_size(self) -> int:
        """How many connections there are, with those that are being made."""
        return len(self._idle) + len(self._lent) + self._connecting

    def get_idle_size(self) -> int:
        """How many of them nobody uses."""
        return len(self._idle)

    def get_max_size(self) -> int:
        """How many there may be."""
        return self._most

    async def open(self) -> None:
        """Makes the connections that are kept open. Raises what `connect` raises."""
        for _ in range(self._least):
            self.release(await self._make())
        self._tending = asyncio.create_task(self._tend())

    async def acquire(self, seconds: float) -> Connection:
        """A connection, within so many seconds. Raises `TimeoutError`, `asyncpg.InterfaceError` when the pool is
        closed, and what `connect` raises."""
        deadline = time.monotonic() + seconds
        while not self._is_closed:
            while self._idle:
                connection, _ = self._idle.pop()
                if not connection.is_closed():
                    self._lent.add(connection)
                    return connection
            if self.get_size() < self._most:
                async with asyncio.timeout(deadline - time.monotonic()):
                    return await self._make()
            handed_over = await self._wait(deadline - time.monotonic())
            if handed_over is not None:
                if not handed_over.is_closed():
                    return handed_over
                self._lent.discard(handed_over)  # It died on its way from one to the other.
        raise asyncpg.InterfaceError("the pool is closed")

    def release(self, connection: Connection) -> None:
        """Gives a connection back, once. One that is closed makes room for another."""
        if connection not in self._lent:
            return  # It would be lent to two at once.
        if self._is_closed:
            connection.terminate()
        if connection.is_closed():
            self._lent.discard(connection)
            self._wake(None)
        elif not self._wake(connection):
            self._lent.discard(connection)
            self._idle.append((connection, time.monotonic()))
        self._note_all_back()

    async def close(self) -> None:
        """Lends no more, waits for what is lent, and closes all."""
        self._is_closed = True
        if self._tending is not None:
            self._tending.cancel()
        while self._wake(None):
            pass
        if self._lent or self._connecting:
            self._all_back.clear()
            await self._all_back.wait()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close() for connection, _ in idle), return_exceptions=True)

    def terminate(self) -> None:
        """Ends all connections at once, whoever uses them."""
        self._is_closed = True
        if self._tending is not None:
            self._tending.cancel()
        for connection in (*self._lent, *(connection for connection, _ in self._idle)):
            connection.terminate()
        self._idle.clear()

    def _note_all_back(self) -> None:
        if not self._lent and not self._connecting:
            self._all_back.set()

    async def _make(self) -> Connection:
        """A new connection, lent. Where none can be had, somebody who waits may have more luck."""
        self._connecting += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._connecting -= 1
            self._wake(None)
            self._note_all_back()
            raise
        self._connecting -= 1
        self._lent.add(connection)
        return connection

    async def _wait(self, seconds: float) -> Connection | None:
        """A connection that somebody gives back, or None when there may be room for a new one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Connection | None] = loop.create_future()
        self._waiting.append(future)
        limit = loop.call_later(max(0.0, seconds), _expire, future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                handed_over = future.result()  # Too late for this one.
                if handed_over is None:
                    self._wake(None)
                else:
                    self.release(handed_over)
            raise
        finally:
            limit.cancel()

    def _wake(self, connection: Connection | None) -> bool:
        """Hands over to whoever has waited longest; False when nobody waits."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False

    async def _tend(self) -> None:
        """Closes what has been idle for long, and replaces what is to be kept open and got lost."""
        while True:
            await asyncio.sleep(self._idle_seconds / 4)
            oldest = time.monotonic() - self._idle_seconds
            while self._idle and self._idle[0][1] < oldest and self.get_size() > self._least:
                self._idle.pop(0)[0].terminate()
            self._idle = [(connection, since) for connection, since in self._idle if not connection.is_closed()]
            try:
                while self.get_size() < self._least:
                    self.release(await self._make())
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                continue  # Who needs one will be told.


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())
