"""`POST /api/me/accept/`: who is signed in, and nobody's user yet, becomes the user who was invited.

It comes before the scope of a tenant: the code alone tells which one. A code that is wrong, was used, has expired or
is of a user who cannot be accepted gets the same answer.
"""

from typing import Any

import asyncpg
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request

from api.crud.body import read_json, require_object
from api.crud.models import field_errors
from api.encoding import dump_json
from api.exchange import ASGIApp, Client, Receive, Scope, Send, keep_body, read_body, replay
from api.looks import Looks, nobody
from api.problems import FieldError, Problem, invalid, not_found
from api.scope import bearer_token
from tenancy.attempts import Attempts
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.engine import FastlaneEngine
from tenancy.identity import IdentityDirectory
from tenancy.invitations import accept
from tenancy.tokens import TokenVerifier

PATH = "/api/me/accept"


class Acceptance(BaseModel, extra="forbid"):
    """What the invited person sends."""

    code: str = Field(max_length=100, description="The one-time code of the invitation.")


class AcceptInvitation:
    """Accepts, and answers as `GET /api/me/` of `api` does. Raises `Problem`, `InvalidToken` and the database's
    errors."""

    def __init__(
        self, api: ASGIApp, engine: FastlaneEngine, verifier: TokenVerifier, directory: IdentityDirectory, looks: Looks
    ) -> None:
        self._api = api
        self._engine = engine
        self._verifier = verifier
        self._directory = directory
        self._looks = looks
        self._attempts = Attempts(engine, "acceptance")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subject = await self._verifier.subject(bearer_token(scope))
        body = await read_body(scope, receive)
        try:
            await self._accept(subject, body, scope)
        except Exception as error:
            raise await self._looks.refused(scope, nobody(subject, Client.of(scope)), error) from error
        shown = {**scope, "method": "GET", "path": "/api/me/", "raw_path": b"/api/me/", "query_string": b""}
        await self._api(shown, replay(b""), send)

    async def _accept(self, subject: str, body: bytes, scope: Scope) -> None:
        if scope["path"].rstrip("/") != PATH:
            raise not_found()
        if scope["method"] != "POST":
            raise Problem(405, f"{scope['method']} is not possible here.", headers={"Allow": "POST"})
        if await self._directory.of_subject(subject) is not None:
            raise _user_already()
        code = _code(scope, body)
        client = Client.of(scope)
        seconds = await self._attempts.take(subject, client.ip_address)
        if seconds is not None:
            detail = f"Too many attempts. Try again in {seconds} s."
            raise Problem(429, detail, headers={"Retry-After": str(seconds)})
        try:
            is_accepted = await accept(self._engine, code, subject, _unknown(client))
        except asyncpg.UniqueViolationError:
            raise _user_already() from None
        if not is_accepted:
            raise invalid([FieldError(("code",), "is not the code of an invitation that can be accepted")])
        self._directory.forget()
        await self._attempts.give_back(subject, client.ip_address)


def _code(scope: Scope, body: bytes) -> str:
    """Raises `Problem`."""
    keep_body(scope, body)
    data: dict[str, Any] = require_object(read_json(Request(scope)))
    try:
        return Acceptance.model_validate_json(dump_json(data), strict=True).code
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def _user_already() -> Problem:
    return Problem(409, "This person is a user already.")


def _unknown(client: Client) -> TenantScope:
    return TenantScope(
        role=DatabaseRole.authn,
        actor="invited",
        request_id=client.request_id,
        ip_address=client.ip_address,
        user_agent=client.user_agent,
    )
