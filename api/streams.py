"""Answers that go on after the commit, in parts, while their client reads.

An endpoint leaves what fetches the next part; the middleware calls it, each time for a user looked up anew and bound
to a transaction that begins when a statement needs it. A part may be long in coming: meanwhile nothing is held.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from api.exchange import Receive, Scope, Send
from api.problems import from_exception

NextPart = Callable[[], Awaitable[bytes | None]]
# Names in the `state` of a lifespan and of its requests: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
STOPPING = "fastlane.stopping"
ENDLESS = "fastlane.endless"
_STREAM = "fastlane.stream"


@dataclass(frozen=True, slots=True)
class Continuation:
    """What follows the first part. None ends it, an empty part is not sent; `close` is called when it is over.

    One that is endless ends neatly whatever ends it: its client comes back, and is told then what is wrong. Any other
    one ends without its end when something is wrong, so that its client knows that it is not whole.
    """

    next_part: NextPart
    is_endless: bool = False
    close: Callable[[], None] = lambda: None


def expect_stream(scope: MutableMapping[str, Any]) -> list[Continuation]:
    """Where `stream` will leave what goes on after the commit: a scope is copied on its way down."""
    left: list[Continuation] = []
    scope[_STREAM] = left
    return left


def stream(scope: Mapping[str, Any], first: bytes, rest: Continuation, headers: Mapping[str, str]) -> Response:
    """An answer that begins with `first` and goes on with `rest`."""
    scope[_STREAM].append(rest)
    return unsized(Response(first, 200, dict(headers)))


def unsized(response: Response) -> Response:
    """Of a length that is not known beforehand."""
    del response.headers["content-length"]
    return response


async def send_parts(next_part: NextPart, receive: Receive, send: Send) -> None:
    """Sends the rest of an answer. What is wrong with a part is raised."""
    part: bytes | None = b""
    async with _watch_departure(receive) as departed:
        while part is not None and not departed.is_set():
            part = await next_part()
            if part:
                await send(_body(part))
    await send(_body(b"", more=False))


async def send_endless(next_part: NextPart, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends parts until the client hangs up, the server stops, or something is wrong, of which a comment tells."""
    state = scope.get("state") or {}
    state[ENDLESS] = True
    try:
        async with _until(_departure(receive), state.get(STOPPING, asyncio.Event()).wait()):
            while (part := await next_part()) is not None:
                if part:
                    await send(_body(part))
    except Exception as error:  # noqa: BLE001  # A bug is logged; the client comes back whatever it was.
        await send(_body(f": {from_exception(error).detail}\n\n".encode()))
    await send(_body(b"", more=False))


def expect_stop(scope: Scope) -> None:
    """In the scope of a lifespan: leaves an event that a server sets when it begins to stop."""
    if "state" in scope:
        scope["state"][STOPPING] = asyncio.Event()


def _body(part: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": part, "more_body": more}


async def _departure(receive: Receive) -> None:
    """Returns when the client has hung up. For when its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def _watch_departure(receive: Receive) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client has hung up."""
    departed = asyncio.Event()

    async def watch() -> None:
        await _departure(receive)
        departed.set()

    watching = asyncio.create_task(watch())
    try:
        yield departed
    finally:
        watching.cancel()


@asynccontextmanager
async def _until(*happenings: Awaitable[object]) -> AsyncIterator[None]:
    """Runs the block until it is through or one of these has happened: whatever it awaits then is cancelled."""

    async def watch(happening: Awaitable[object]) -> None:
        await happening
        if limit.when() is None:
            limit.reschedule(asyncio.get_running_loop().time())

    try:
        async with asyncio.timeout(None) as limit:
            watching = [asyncio.create_task(watch(happening)) for happening in happenings]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
