"""The latest events of each tenant that somebody listens to, read once for all who do.

A task for each such tenant asks the database twice a second what is new, in a transaction of its own that is over
before anybody is told. There is nothing to subscribe to, so that it works behind a pooler; nothing is held meanwhile.
"""

import asyncio
from collections import deque
from contextvars import Context
from uuid import UUID

import structlog

from api.event_stream.positions import Position
from api.event_stream.reading import PAGE_BYTES, Entry, EventReader, Page
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import DatabaseUnavailable, FastlaneEngine

POLL_SECONDS = 0.5
RETRY_SECONDS = 2.0
FAILURES_AT_MOST = 3
KEPT_EVENTS = 2_000
KEPT_BYTES = 4 * 1024 * 1024

log = structlog.get_logger()


class Channel:
    """The latest events of a tenant: what came after `_floor`, of which a bounded part is kept.

    A listener has no queue here, only a position of its own. Whose position is older than what is kept has to read.
    """

    def __init__(self, engine: FastlaneEngine, reader: EventReader, tenant_id: UUID, start: Position) -> None:
        self.listeners = 0
        self._engine = engine
        self._reader = reader
        self._scope = Scope(role=DatabaseRole.tenant, actor="service:events", tenant_id=tenant_id)
        self._floor = self._tip = start
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._failures = 0
        self._news = asyncio.Event()
        # Of no request: the transaction of the one that comes first is not this task's.
        self._polling = asyncio.create_task(self._poll(), name=f"events of {tenant_id}", context=Context())

    def after(self, position: Position) -> list[Entry] | None:
        """The next events, as many as are sent at once; None when they are not kept any more."""
        if position < self._floor:
            return None
        found: list[Entry] = []
        for entry in reversed(self._entries):
            if entry.position <= position:
                break
            found.append(entry)
        found.reverse()
        size = 0
        for index, entry in enumerate(found):
            size += len(entry.content)
            if size > PAGE_BYTES:
                return found[: max(1, index)]
        return found

    async def wait(self, seconds: float) -> None:
        """Until there is an event, or for so long. Raises `DatabaseUnavailable`."""
        if self._failures > FAILURES_AT_MOST:
            raise DatabaseUnavailable("The events cannot be read right now.")
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def close(self) -> None:
        self._polling.cancel()

    async def _poll(self) -> None:
        while True:
            try:
                async with self._engine.request(self._scope):
                    page = await self._reader.page(self._tip)
            except Exception as error:  # noqa: BLE001  # Whatever it is, it may be over in a moment.
                log.warning("events cannot be read", error=type(error).__name__)
                self._failures += 1
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._failures = 0
            self._take(page)
            if not page.has_next:
                await asyncio.sleep(POLL_SECONDS)

    def _take(self, page: Page) -> None:
        self._tip = page.upto
        for entry in page.entries:
            self._entries.append(entry)
            self._bytes += len(entry.content)
        while len(self._entries) > KEPT_EVENTS or self._bytes > KEPT_BYTES:
            forgotten = self._entries.popleft()
            self._bytes -= len(forgotten.content)
            self._floor = forgotten.position
        if page.entries:
            news, self._news = self._news, asyncio.Event()
            news.set()


class Feed:
    """The channels of a process. One lives as long as somebody listens to it."""

    def __init__(self, engine: FastlaneEngine, reader: EventReader) -> None:
        self._engine = engine
        self._reader = reader
        self._channels: dict[UUID, Channel] = {}

    def join(self, tenant_id: UUID, start: Position) -> Channel:
        """The channel of a tenant, which begins at `start` where there is none yet."""
        channel = self._channels.get(tenant_id)
        if channel is None:
            channel = self._channels[tenant_id] = Channel(self._engine, self._reader, tenant_id, start)
        channel.listeners += 1
        return channel

    def leave(self, tenant_id: UUID) -> None:
        channel = self._channels[tenant_id]
        channel.listeners -= 1
        if channel.listeners == 0:
            del self._channels[tenant_id]
            channel.close()
