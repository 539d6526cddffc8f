"""One HTTP exchange at the level of ASGI: the body read first, the answer held back.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response

from api.problems import Problem
from phi.masking import holds_identifier

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

BODY_LIMIT = 1024 * 1024
BULK_LIMIT = 16 * 1024 * 1024
DRAIN_LIMIT = 64 * 1024 * 1024
DRAIN_SECONDS = 5.0
LONGEST_AGENT = 512
KEPT_ADDRESSES = 1_000
KEPT_AGENTS = 1_000
WITHHELD = "withheld"
_KEY = "fastlane.client"
_HEAD = "fastlane.head"
_BODY = "fastlane.body"


class ClientGone(Exception):
    """The client hung up before it had sent its request; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Client:
    """What the trail and the log say about where a request came from."""

    request_id: str
    path: str
    ip_address: str
    user_agent: str

    @classmethod
    def of(cls, scope: Scope) -> "Client":
        """The client of a request, with an id made at the first call."""
        known = scope.get(_KEY)
        if isinstance(known, cls):
            return known
        peer = scope.get("client")
        client = cls(
            request_id=_new_id(),
            path=scope["path"],
            ip_address=_address(peer[0]) if peer else "",
            user_agent=_agent(header(scope, b"user-agent")),
        )
        scope[_KEY] = client
        return client


def _agent(raw: bytes) -> str:
    """What the client calls itself, which the trail stores; withheld where it says who somebody is."""
    known = _known_agents.get(raw)
    if known is None:
        known = raw.decode("latin-1")[:LONGEST_AGENT].replace("\x00", "")
        if holds_identifier(known):
            return WITHHELD
        if len(_known_agents) >= KEPT_AGENTS:
            _known_agents.clear()
        _known_agents[raw[:LONGEST_AGENT]] = known
    return known


_known_agents: dict[bytes, str] = {}


@lru_cache(KEPT_ADDRESSES)
def _address(text: str) -> str:
    """An address as it is usually written; empty for what is none: what a proxy passes on, anybody may have made up."""
    try:
        address = ip_address(text.partition("%")[0])  # Of a link-local address the zone is the proxy's, and any text.
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _new_id() -> str:
    """A random UUID. It has to differ from others, not to be hard to guess: the system need not be asked for each."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def header(scope: Scope, name: bytes) -> bytes:
    """The first field of that name, which is in lower case; empty where there is none."""
    for field_name, value in scope["headers"]:
        if field_name == name:
            return bytes(value)
    return b""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises `Problem` 413 when it is too large, `ClientGone`."""
    declared = header(scope, b"content-length")
    chunks = bytearray()
    more = True
    too_large = declared.isdigit() and int(declared) > BULK_LIMIT
    while more and not too_large:
        chunk, more = await _receive_chunk(receive)
        chunks += chunk
        too_large = len(chunks) > (BULK_LIMIT if _is_bulk(scope, chunks) else BODY_LIMIT)
    if too_large:
        await _drain(receive, more)
        detail = f"A body may have {BODY_LIMIT} bytes, a list or CSV of many rows {BULK_LIMIT}."
        raise Problem(413, detail, headers={"Connection": "close"})
    return bytes(chunks)


def _is_bulk(scope: Scope, start: bytearray) -> bool:
    """Whether a body brings many rows: a JSON list, or CSV."""
    if scope["method"] != "POST":
        return False
    return header(scope, b"content-type").lower().startswith(b"text/csv") or start[:64].lstrip()[:1] == b"["


async def _receive_chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


async def _drain(receive: Receive, more: bool) -> None:
    """Reads on for a while: closing on a client that still sends would reset the connection
    before it has read the answer."""
    drained = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while more and drained < DRAIN_LIMIT:
                chunk, more = await _receive_chunk(receive)
                drained += len(chunk)
    except TimeoutError:
        pass


def keep_body(scope: Scope, body: bytes) -> None:
    """For `body_of`, below."""
    scope[_BODY] = body


def body_of(scope: Mapping[str, Any]) -> bytes:
    """The body, which has been read whole: nobody need receive it once more."""
    body = scope[_BODY]
    assert isinstance(body, bytes)
    return body


def replay(body: bytes) -> Receive:
    """A `receive` that gives `body` once."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def keep_receiving(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body`, and then waits for the client to go: a file's response
    would take an early end for that, and stop."""
    bodies = [body]

    async def receive_once() -> Message:
        return {"type": "http.request", "body": bodies.pop(), "more_body": False} if bodies else await receive()

    return receive_once


@dataclass
class HeldResponse:
    """Collects a response, so that it can be sent, or not, when the transaction has ended.

    `status` is 500 until the app has answered.
    """

    messages: list[Message] = field(default_factory=list)
    status: int = 500
    _start: Message = field(default_factory=dict)

    async def hold(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self._start = message
            self.status = message["status"]

    @property
    def headers(self) -> Headers:
        return Headers(raw=self._start.get("headers", []))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    def add_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._start["headers"] = [*self._start.get("headers", []), *headers]

    async def release(self, send: Send, *, more: bool = False) -> None:
        """With `more`, the body goes on after what was held."""
        for message in self.messages:
            await send({**message, "more_body": True} if more and message["type"] == "http.response.body" else message)


def as_get(scope: Scope) -> None:
    """HEAD works wherever GET does: below the gateway it is one, whose body nobody sends."""
    scope["method"] = "GET"
    scope[_HEAD] = True


def is_head(scope: Mapping[str, Any]) -> bool:
    """Whether the client asked for the headers only."""
    return _HEAD in scope


async def send_response(response: Response, scope: Scope, send: Send) -> None:
    """Sends a finished response, whatever the request's body."""
    await response(scope, replay(b""), send)
