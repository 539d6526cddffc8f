"""One client of a stream: what it is sent next.

It reads for itself until it has caught up, and whenever it has fallen behind; from then on it is told what the
channel of its tenant reads for all. What it holds is a position.
"""

import time
from uuid import UUID

from api.event_stream.feed import Channel, Feed
from api.event_stream.positions import Cursor
from api.event_stream.reading import Entry, EventReader

HEARTBEAT_SECONDS = 10.0
# At most so long passes until the listener's rights are looked at again.
WAIT_SECONDS = 4.0
_HEARTBEAT = b": still here\n\n"


class Listener:
    """`next_part` runs bound to the tenant, and holds a connection while it reads only."""

    def __init__(self, feed: Feed, reader: EventReader, tenant_id: UUID, cursor: Cursor) -> None:
        self._feed = feed
        self._reader = reader
        self._tenant_id = tenant_id
        self._channel: Channel | None = None
        self._upto = cursor.after
        self._since = cursor.since
        self._spoke_at = time.monotonic()

    async def next_part(self) -> bytes:
        """What to send, which may be nothing yet."""
        part = b"".join([self._block(entry) for entry in await self._next_entries() if self._is_new(entry)])
        if not part and self._quiet_seconds() >= HEARTBEAT_SECONDS:
            part = _HEARTBEAT
        if part:
            self._spoke_at = time.monotonic()
        return part

    def close(self) -> None:
        """The client is gone."""
        if self._channel is not None:
            self._channel = None
            self._feed.leave(self._tenant_id)

    async def _next_entries(self) -> list[Entry]:
        found = self._channel.after(self._upto) if self._channel is not None else None
        if self._channel is None or found is None:
            return await self._catch_up()
        if not found:
            await self._channel.wait(min(WAIT_SECONDS, max(0.0, HEARTBEAT_SECONDS - self._quiet_seconds())))
            found = self._channel.after(self._upto) or []  # None: so much came at once that it is read next time.
        if found:
            self._upto = found[-1].position
        return found

    async def _catch_up(self) -> list[Entry]:
        page = await self._reader.page(self._upto)
        self._upto = page.upto
        if self._channel is None and not page.has_next:
            # Not from its own position, which a client may have made up: others join the channel too.
            self._channel = self._feed.join(self._tenant_id, page.horizon)
        return page.entries

    def _is_new(self, entry: Entry) -> bool:
        """Whether it was not over when the stream began."""
        if self._since is not None and entry.position.transaction_id >= self._since.next:
            self._since = None  # Nor is anything that follows.
        return self._since is None or not self._since.is_over(entry.position.transaction_id)

    def _block(self, entry: Entry) -> bytes:
        return b"id: %b\n%b" % (str(Cursor(entry.position, self._since)).encode(), entry.content)

    def _quiet_seconds(self) -> float:
        return time.monotonic() - self._spoke_at
