"""Answers that go on after the commit, in parts, while their client reads.

An endpoint leaves the function that fetches the next part; the middleware calls it, each time
in a transaction of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response

from api.exchange import Receive

NextPart = Callable[[], Awaitable[bytes | None]]
_STREAM = "fastlane.stream"


def expect_stream(scope: MutableMapping[str, Any]) -> list[NextPart]:
    """Where `stream` will leave what goes on after the commit: a scope is copied on its way down."""
    left: list[NextPart] = []
    scope[_STREAM] = left
    return left


def stream(scope: Mapping[str, Any], first: bytes, next_part: NextPart, headers: Mapping[str, str]) -> Response:
    """An answer whose further parts are fetched one by one, each in a transaction of its own,
    while the client reads. None ends it."""
    scope[_STREAM].append(next_part)
    return unsized(Response(first, 200, dict(headers)))


def unsized(response: Response) -> Response:
    """Of a length that is not known beforehand."""
    del response.headers["content-length"]
    return response


@asynccontextmanager
async def watch_departure(receive: Receive) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client has hung up. For when its body has been read."""
    departed = asyncio.Event()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        departed.set()

    watching = asyncio.create_task(watch())
    try:
        yield departed
    finally:
        watching.cancel()
