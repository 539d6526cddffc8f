"""What every request of the admin passes first: limits of guessing, cookies for TLS only, the host it was sent to.

A password or a one-time code can be guessed: each attempt is counted for its account and its address, before the
database or a hash is troubled with it, and given back when it guessed nothing.
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, overload
from urllib.parse import urlsplit

import orjson
from piccolo_api.rate_limiting.middleware import RateLimitProvider
from starlette.requests import HTTPConnection, Request

from api.admin import PREFIX, SESSION_COOKIE, STOCK_LOGIN
from api.authenticator_page import SETUP
from api.exchange import (
    ASGIApp,
    Client,
    HeldResponse,
    Message,
    Receive,
    Scope,
    Send,
    header,
    keep_receiving,
    read_body,
    replay,
)
from api.problems import Problem
from tenancy.attempts import Attempts
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.engine import FastlaneEngine
from tenancy.operators import OperatorSession

_AUTHN = TenantScope(role=DatabaseRole.authn, actor="login")
# Of an operator who is logged in: whoever holds a stolen session could guess the password.
_GUESSABLE = ("/api/change-password/", SETUP)
_ODD_INPUT = (ValueError, AttributeError, RecursionError)
_host: ContextVar[str] = ContextVar("host", default="")


class AdminDoor:
    """Leads to the admin. Raises `Problem` 429."""

    def __init__(self, app: ASGIApp, engine: FastlaneEngine, *, is_production: bool) -> None:
        self._app = app
        self._engine = engine
        self._is_production = is_production
        self._attempts = Attempts(engine, "login")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _host.set(_hostname(header(scope, b"host").decode("latin-1")))
        send = _for_tls_only(send) if self._is_production else send
        path = scope["path"].removeprefix(PREFIX)
        if scope["method"] == "POST" and path.startswith((STOCK_LOGIN, *_GUESSABLE)):
            await self._attempt(path, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _attempt(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive)
        old = HTTPConnection(scope).cookies.get(SESSION_COOKIE, "")
        is_login = path.startswith(STOCK_LOGIN)
        account = await _account(scope, body) if is_login else f"session {old}"
        address = Client.of(scope).ip_address
        seconds = await self._attempts.take(account, address)
        if seconds is not None:
            detail = f"Too many attempts. Try again in {seconds} s."
            raise Problem(429, detail, headers={"Retry-After": str(seconds)})
        held = HeldResponse()
        await self._app(scope, keep_receiving(body, receive), held.hold)
        has_session = any(value.startswith(f"{SESSION_COOKIE}=") for value in held.headers.getlist("set-cookie"))
        if (has_session or _asks_for_code(held)) if is_login else held.status < 400:
            await self._attempts.give_back(account, address)
        if is_login and has_session and old:
            await self._end(old)
        await held.release(send)

    async def _end(self, token: str) -> None:
        """A session that was there before the login, perhaps planted by somebody else, does not outlive it."""
        async with self._engine.transaction(allow_nested=False, scope=_AUTHN):
            await OperatorSession.remove_session(token)


async def _account(scope: Scope, body: bytes) -> str:
    """Who logs in, read as the stock login does: a form that spells two names counts for the one that it tries."""
    request = Request(scope, replay(body))
    try:
        values: Any = None if header(scope, b"x-csrftoken") else await request.form()
        if not values:
            try:
                values = json.loads(body)  # What `orjson` refuses and this takes would count for nobody.
            except json.JSONDecodeError:
                values = await Request(scope, replay(body)).form()
        return str(values.get("username"))
    except _ODD_INPUT:
        return ""


def _asks_for_code(held: HeldResponse) -> bool:
    """The password was right, and the authenticator's code is still to come."""
    if held.status != 401:
        return False
    try:
        return bool(orjson.loads(held.body)["detail"] == "MFA code required")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False


def _for_tls_only(send: Send) -> Send:
    """The stock code marks the session's cookie alone."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(name, _marked(name, value)) for name, value in message.get("headers", [])]
            message = {**message, "headers": headers}
        await send(message)

    return marked


def _marked(name: bytes, value: bytes) -> bytes:
    is_plain = name.lower() == b"set-cookie" and b"; secure" not in value.lower()
    return value + b"; Secure" if is_plain else value


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class OwnHost(Sequence[str]):
    """The hosts that the stock origin check allows: the one that a request was sent to, as a proxy passes it on."""

    def __contains__(self, host: object) -> bool:
        return bool(host) and host == _host.get()

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return [_host.get()][index]


class Unlimited(RateLimitProvider):
    """In place of the stock limit, which each process counts for itself: the door has counted already."""

    def increment(self, identifier: str) -> None:
        """Every attempt may go on."""
