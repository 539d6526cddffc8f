"""Piccolo Admin inside a transaction that the operator's session binds.

The admin's own CRUD knows nothing of tenants: the database confines it. A tenant operator
acts as one user of the tenant, a platform operator as the platform role.
"""

from collections.abc import Mapping
from typing import Any

import pydantic
import structlog
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from api.exchange import ASGIApp, Client, HeldResponse, Receive, Scope, Send, read_body, replay, send_response
from api.problems import Problem, from_exception
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.engine import FastlaneEngine
from tenancy.identity import IdentityDirectory, OperatorIdentity
from tenancy.permissions import PERMISSIONS, Operation, require

log = structlog.get_logger()

SESSION_COOKIE = "id"
PREFIX = "/admin"
_OPERATIONS: Mapping[str, Operation] = {
    "GET": Operation.read,
    "POST": Operation.create,
    "PUT": Operation.update,
    "PATCH": Operation.update,
    "DELETE": Operation.delete,
}
# What a form needs to be drawn is no reading of rows.
_FORM_PATHS = ("schema", "references", "new")
_TABLES = frozenset(table for table, _ in PERMISSIONS)


class AdminGate:
    """Lets the admin's files through, its login as the role that may check passwords, and
    everything else only with a session, in a transaction bound to its operator."""

    def __init__(self, app: ASGIApp, engine: FastlaneEngine, directory: IdentityDirectory) -> None:
        self._app = app
        self._engine = engine
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "root_path": PREFIX, "app_root_path": PREFIX}
        path = scope["path"].removeprefix(PREFIX)
        if path.startswith("/api/"):
            operator = await self._operator(scope)
            if operator is None:
                raise Problem(401, "Log in first.", headers={"WWW-Authenticate": "Session"})
            _check_permission(operator, scope["method"], path)
            await self._run(scope, receive, send, _bind(operator, Client.of(scope)))
        elif path.startswith(("/public/login/", "/public/logout/")):
            await self._run(scope, receive, send, TenantScope(role=DatabaseRole.authn, actor="login"))
        elif path.rstrip("/").endswith("/docs"):
            raise Problem(404, "There is no such resource.")  # Loads scripts from another host.
        else:
            await self._app(scope, receive, send)

    async def _operator(self, scope: Scope) -> OperatorIdentity | None:
        token = cookie_parser(Headers(scope=scope).get("cookie", "")).get(SESSION_COOKIE)
        return await self._directory.of_session(token) if token else None

    async def _run(self, scope: Scope, receive: Receive, send: Send, binding: TenantScope) -> None:
        body = await read_body(scope, receive)
        held = HeldResponse()
        failure: Exception | None = None
        async with self._engine.transaction(scope=binding) as transaction:
            try:
                await self._app(scope, replay(body), held.hold)
            except Exception as error:  # noqa: BLE001  # Explained below, after the rollback.
                failure = error
            if failure is not None or held.status >= 400:
                await transaction.rollback()
        if failure is not None:
            await self._explain(failure, scope, send)
        else:
            self._directory.forget()
            await held.release(send)

    async def _explain(self, failure: Exception, scope: Scope, send: Send) -> None:
        """The stock code lets the errors of odd input and of the database pass as a 500."""
        client = Client.of(scope)
        if isinstance(failure, pydantic.ValidationError | ValueError | AttributeError | KeyError | TypeError):
            log.info("admin request refused", request_id=client.request_id, error=type(failure).__name__)
            problem = Problem(400, "The request cannot be understood.")
        else:
            problem = from_exception(failure)
        await send_response(problem.response(client.path, client.request_id), scope, send)


def _check_permission(operator: OperatorIdentity, method: str, path: str) -> None:
    """The role of the linked user decides, as in the API. Raises `Forbidden`, `Problem`."""
    parts: list[Any] = path.strip("/").split("/")
    if parts[:2] != ["api", "tables"] or len(parts) < 3 or operator.role is None:
        return
    if parts[2] not in _TABLES or method not in _OPERATIONS:
        return
    operation = Operation.read if parts[-1] in _FORM_PATHS else _OPERATIONS[method]
    require(operator.role, parts[2], operation)


def _bind(operator: OperatorIdentity, client: Client) -> TenantScope:
    is_platform = operator.tenant_id is None
    return TenantScope(
        role=DatabaseRole.platform if is_platform else DatabaseRole.tenant,
        actor=f"operator:{operator.username}",
        tenant_id=operator.tenant_id,
        user_id=operator.user_id,
        user_role=operator.role,
        operator_id=operator.operator_id,
        request_id=client.request_id,
        ip_address=client.ip_address,
        user_agent=client.user_agent,
    )
