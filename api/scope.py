"""The tenant-scoping middleware: one request, one bound transaction.

Body first, then identity, then one transaction bound to the user's tenant around whatever
handles the request. The status decides: under 400 commits, all else rolls back. The answer
leaves after the commit, when the connection is back in its pool, and after it was recorded who looked
at what, or was refused it.
"""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from api.exchange import (
    ASGIApp,
    Client,
    HeldResponse,
    Receive,
    Scope,
    Send,
    body_of,
    header,
    keep_body,
    read_body,
    replay,
    send_response,
)
from api.idempotency import NO_STORE, IdempotencyKeys, key_of
from api.looks import REFUSED, Listing, Looks, expect_looks, leave_look, nobody
from api.problems import Problem, not_found
from api.rate_limit import headers as rate_limit_headers
from api.rate_limit import refuse
from api.streams import Continuation, expect_stream, send_endless, send_parts
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.engine import FastlaneEngine
from tenancy.identity import Identity, IdentityDirectory
from tenancy.rate_limit import Allowance, RateLimiter
from tenancy.request_transaction import RequestTransaction
from tenancy.tokens import TokenVerifier

_KEY = "fastlane.identity"


class TenantScopeMiddleware:
    """Lets only identified users through to `app`, each confined to the own tenant.

    Raises `Problem`, `InvalidToken` and the database's errors; the gateway answers them.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # What a request needs before anything else is reached.
        self,
        app: ASGIApp,
        engine: FastlaneEngine,
        verifier: TokenVerifier,
        directory: IdentityDirectory,
        idempotency: IdempotencyKeys,
        looks: Looks,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._app = app
        self._engine = engine
        self._verifier = verifier
        self._directory = directory
        self._idempotency = idempotency
        self._looks = looks
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subject = await self._verifier.subject(bearer_token(scope))
        body = await read_body(scope, receive)
        client = Client.of(scope)
        identity = await self._directory.of_subject(subject)
        who = nobody(subject, client) if identity is None else _bind(identity, client)
        try:
            scope[_KEY] = _require_user(identity)
            keep_body(scope, body)
            await self._serve(subject, who, scope, receive, send)
        except Exception as error:
            raise await self._looks.refused(scope, who, error) from error

    async def _serve(self, subject: str, who: TenantScope, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers an identified user. What it raises is still to be recorded."""
        identity = identity_of(scope)
        allowance = await self._take(identity)
        if "//" in scope["path"]:  # Below us they would count as one, and name another resource.
            raise not_found()
        stream = expect_stream(scope)
        looks = expect_looks(scope)
        changes_users = scope["path"].startswith("/api/users/") and scope["method"] != "GET"
        held = HeldResponse()
        try:
            async with self._engine.request(who) as transaction:
                await self._answer(scope, body_of(scope), identity, transaction, held)
                if held.status >= 400:
                    await transaction.rollback()
            if changes_users:
                self._directory.forget()
            if looks or held.status in REFUSED:
                await self._looks.record(scope, who, looks, held.status)
            if allowance is not None:
                held.add_headers(rate_limit_headers(allowance))
            await held.release(send, more=bool(stream))
            if stream:
                await self._continue(subject, scope, stream[0], receive, send)
        finally:
            for rest in stream:
                rest.close()

    async def _take(self, identity: Identity) -> Allowance | None:
        """Counts the request. Raises `Problem` 429."""
        if self._limiter is None:
            return None
        allowance = await self._limiter.take(identity.user_id, identity.tenant_id)
        if not allowance.is_granted:
            raise refuse(allowance)
        return allowance

    async def _answer(
        self, scope: Scope, body: bytes, identity: Identity, transaction: RequestTransaction, held: HeldResponse
    ) -> None:
        """What the app says; under an Idempotency-Key, what it said the first time."""
        if scope["method"] != "POST" or (key := key_of(headers := Headers(scope=scope))) is None:
            await self._app(scope, replay(body), held.hold)
            return
        # Another role may get another answer, and a preference asks for one.
        asked = repr((identity.role.value, headers.get("content-type", ""), headers.getlist("prefer")))
        query = scope.get("query_string", b"")
        fingerprint = self._idempotency.fingerprint("POST", scope["path"], query, asked, body)
        found = await self._idempotency.find(await transaction.begun(), identity, key, fingerprint)
        if found is not None:
            leave_look(scope, Listing("list", None))  # It shows again what was created then.
            await send_response(found.response(), scope, held.hold)
            return
        await self._app(scope, replay(body), held.hold)
        if held.status < 400 and held.headers.get("cache-control") != NO_STORE:
            await self._idempotency.store(
                transaction.connection, identity, key, fingerprint, held.status, held.headers, held.body
            )

    async def _continue(self, subject: str, scope: Scope, rest: Continuation, receive: Receive, send: Send) -> None:
        """The rest of a stream: for each part the user is looked up and bound again, and
        nothing is held while the client reads it. Whose rights change midway gets no more."""
        identity = identity_of(scope)
        bound = _bind(identity, Client.of(scope))

        async def next_part() -> bytes | None:
            if rest.is_endless:
                await self._verifier.subject(bearer_token(scope))  # Which may have expired by now.
            if _require_user(await self._directory.of_subject(subject)) != identity:
                raise Problem(403, "The user's rights changed while the answer was sent.")
            async with self._engine.request(bound):
                return await rest.next_part()

        if rest.is_endless:
            await send_endless(next_part, scope, receive, send)
        else:
            await send_parts(next_part, receive, send)


def identity_of(scope: Mapping[str, Any]) -> Identity:
    """The user that the middleware identified."""
    identity = scope[_KEY]
    assert isinstance(identity, Identity)
    return identity


def bearer_token(scope: Scope) -> str:
    """RFC 6750, section 2.1. Raises `Problem` 401."""
    scheme, _, token = header(scope, b"authorization").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(401, "Send a bearer token: Authorization: Bearer …")
    return token.strip()


def _require_user(identity: Identity | None) -> Identity:
    """Raises `Problem` 403."""
    if identity is None:
        raise Problem(403, "This person is not a user of any tenant.")
    if not identity.is_active:
        raise Problem(403, "This user is deactivated.")
    return identity


def _bind(identity: Identity, client: Client) -> TenantScope:
    return TenantScope(
        role=DatabaseRole.tenant,
        actor=f"user:{identity.user_id}",
        tenant_id=identity.tenant_id,
        user_id=identity.user_id,
        user_role=identity.role,
        request_id=client.request_id,
        ip_address=client.ip_address,
        user_agent=client.user_agent,
    )
