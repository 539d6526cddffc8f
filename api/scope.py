"""The tenant-scoping middleware: one request, one bound transaction.

Body first, then identity, then one transaction bound to the user's tenant around whatever
handles the request. The status decides: under 400 commits, all else rolls back. The answer
leaves after the commit, when the connection is back in its pool.
"""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers

from api.exchange import ASGIApp, Client, HeldResponse, Receive, Scope, Send, read_body, replay
from api.problems import Problem
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.engine import FastlaneEngine
from tenancy.identity import Identity, IdentityDirectory
from tenancy.tokens import TokenVerifier

_KEY = "fastlane.identity"


class TenantScopeMiddleware:
    """Lets only identified users through to `app`, each confined to the own tenant.

    Raises `Problem`, `InvalidToken` and the database's errors; the gateway answers them.
    """

    def __init__(
        self, app: ASGIApp, engine: FastlaneEngine, verifier: TokenVerifier, directory: IdentityDirectory
    ) -> None:
        self._app = app
        self._engine = engine
        self._verifier = verifier
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subject = await self._verifier.subject(bearer_token(Headers(scope=scope)))
        body = await read_body(scope, receive)
        identity = await self._directory.of_subject(subject)
        if identity is None:
            raise Problem(403, "This person is not a user of any tenant.")
        if not identity.is_active:
            raise Problem(403, "This user is deactivated.")
        scope[_KEY] = identity
        client = Client.of(scope)
        held = HeldResponse()
        async with self._engine.transaction(scope=_bind(identity, client)) as transaction:
            await self._app(scope, replay(body), held.hold)
            if held.status >= 400:
                await transaction.rollback()
        if client.path.startswith("/api/users/") and scope["method"] != "GET":
            self._directory.forget()
        await held.release(send)


def identity_of(scope: Mapping[str, Any]) -> Identity:
    """The user that the middleware identified."""
    identity = scope[_KEY]
    assert isinstance(identity, Identity)
    return identity


def bearer_token(headers: Headers) -> str:
    """RFC 6750, section 2.1. Raises `Problem` 401."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(401, "Send a bearer token: Authorization: Bearer …")
    return token.strip()


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
