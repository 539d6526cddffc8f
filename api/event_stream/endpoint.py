"""`GET /api/events/stream/`: the events of one's tenant as they happen.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections import Counter
from uuid import UUID

from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.event_stream.feed import Feed
from api.event_stream.listener import Listener
from api.event_stream.positions import LONGEST_ID, Cursor, MalformedId
from api.event_stream.reading import EventReader
from api.exchange import Receive, Scope, Send, is_head
from api.looks import Listing, leave_look
from api.problems import Problem
from api.scope import identity_of
from api.streams import Continuation, stream, unsized
from tenancy.engine import FastlaneEngine
from tenancy.identity import Identity
from tenancy.permissions import Operation, require

STREAMS_OF_A_USER = 20
BUSY_SECONDS = 30
RECONNECT_MILLISECONDS = 2_000
HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PARAMETER = "last_event_id"


class EventStream:
    """The endpoint. Of one user it serves a limited number of streams at a time, in each process."""

    def __init__(self, table: type[Table], engine: FastlaneEngine) -> None:
        self._name = table._meta.tablename
        self._reader = EventReader(table)
        self._feed = Feed(engine, self._reader)
        self._open: Counter[UUID] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method != "GET":
            raise Problem(405, f"{request.method} is not possible here.", headers={"Allow": "GET, HEAD"})
        identity = identity_of(request.scope)
        require(identity.role, self._name, Operation.read)
        cursor = _resumed(request)
        leave_look(request.scope, Listing("export", None))
        if is_head(request.scope):
            return unsized(Response(headers=HEADERS))
        first = f"retry: {RECONNECT_MILLISECONDS}\n\n"
        if cursor is None:
            cursor = Cursor.from_now(await self._reader.now())
            # An id without data is no event, and remembered all the same: nothing is lost before the first event.
            if len(str(cursor)) <= LONGEST_ID:
                first = f"retry: {RECONNECT_MILLISECONDS}\nid: {cursor}\n\n"
        return stream(request.scope, first.encode(), self._listen(identity, cursor), HEADERS)

    def _listen(self, identity: Identity, cursor: Cursor) -> Continuation:
        """Raises `Problem` 429."""
        user_id = identity.user_id
        if self._open[user_id] >= STREAMS_OF_A_USER:
            detail = f"A user may have {STREAMS_OF_A_USER} streams open at a time. Close one of them."
            raise Problem(429, detail, headers={"Retry-After": str(BUSY_SECONDS)})
        listener = Listener(self._feed, self._reader, identity.tenant_id, cursor)
        self._open[user_id] += 1

        def close() -> None:
            listener.close()
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]

        return Continuation(listener.next_part, is_endless=True, close=close)


def _resumed(request: Request) -> Cursor | None:
    """Where the client was; None for one that begins. Raises `Problem` 400."""
    given = request.query_params.multi_items()
    if len(given) > 1 or any(name != PARAMETER for name, _ in given):
        raise Problem(400, f"The only parameter of the stream is {PARAMETER}, at most once.")
    text = request.headers.get("last-event-id") or request.query_params.get(PARAMETER)
    try:
        return Cursor.parse(text) if text else None
    except MalformedId:
        raise Problem(400, "The last event id is none that this stream has sent.") from None
