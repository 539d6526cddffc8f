"""Piccolo Admin inside a transaction that the operator's session binds.

The admin's own CRUD knows nothing of tenants: the database confines it. A tenant operator
acts as one user of the tenant, a platform operator as the platform role. Who looked at what, or was refused it, is
recorded before the answer leaves.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

import orjson
import pydantic
import structlog
from piccolo.table import Table
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from api.admin_looks import looks_at_answer
from api.admin_screening import refusal_of
from api.authenticator_page import until_enrolled
from api.crud.derived import refuse_raw
from api.exchange import (
    ASGIApp,
    Client,
    ClientGone,
    HeldResponse,
    Message,
    Receive,
    Scope,
    Send,
    keep_receiving,
    read_body,
    send_response,
)
from api.looks import Looks, expect_looks
from api.overview import is_overview
from api.problems import Problem, from_exception, not_found
from phi.masking import holds_identifier
from tenancy.authenticators import has_authenticator
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope
from tenancy.derivations import Derivers
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
_TABLES = frozenset(table for table, _ in PERMISSIONS)
# Stock pages that load scripts and fonts from other hosts: the first two are not served, and
# the third is not needed, because the admin has a login form of its own.
_STOCK_DOCS = ("/api/docs", "/public/docs")
STOCK_LOGIN = "/public/login/"
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        b"font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
# They print errors whole, and with them the values of a request.
_TALKATIVE_LOGGERS = ("piccolo_api.crud.exceptions", "piccolo_admin.endpoints")
_ODD_INPUT = (pydantic.ValidationError, ValueError, AttributeError, KeyError, TypeError, RecursionError)
_LOGIN = TenantScope(role=DatabaseRole.authn, actor="login")
_HEADER_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class AdminGate:
    """Lets the admin's files through, its login as the role that may check passwords, and
    everything else only with a session, in a transaction bound to its operator."""

    def __init__(  # noqa: PLR0913, PLR0917  # What a request needs before the admin is reached.
        self,
        app: ASGIApp,
        tables: Sequence[type[Table]],
        engine: FastlaneEngine,
        directory: IdentityDirectory,
        looks: Looks,
        viewed: Mapping[type[Table], str],
        derivers: Mapping[type[Table], Derivers],
        *,
        is_production: bool = False,
    ) -> None:
        self._app = app
        self._is_production = is_production
        self._engine = engine
        self._directory = directory
        self._looks = looks
        self._tables = {table._meta.tablename: table for table in tables}
        self._viewed = viewed
        self._derivers = derivers
        self._references = frozenset(
            column._meta.name for table in tables for column in table._meta.foreign_key_columns
        )
        for name in _TALKATIVE_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "root_path": PREFIX, "app_root_path": PREFIX}
        path = scope["path"].removeprefix(PREFIX)
        send = _confined(send)
        if path.startswith(_STOCK_DOCS[1]):
            raise not_found()
        if path == STOCK_LOGIN and scope["method"] == "GET":
            await send_response(RedirectResponse(f"{PREFIX}/", 303), scope, send)
        elif path.startswith("/api/") or "//" in path or is_overview(scope["path"]):
            operator = await self._operator(scope)
            if operator is None and is_overview(scope["path"]):
                await send_response(RedirectResponse(f"{PREFIX}/", 303), scope, send)
                return
            if operator is None:
                raise Problem(401, "Log in first.", headers={"WWW-Authenticate": "Session"})
            await self._run_as(operator, scope, receive, send)
        elif path.startswith((STOCK_LOGIN, "/public/logout/")):
            await self._run(scope, receive, send, _LOGIN)
        else:
            await self._run(scope, receive, send, None)

    async def _operator(self, scope: Scope) -> OperatorIdentity | None:
        token = HTTPConnection(scope).cookies.get(SESSION_COOKIE)
        return await self._directory.of_session(token) if token else None

    async def _must_enrol(self, operator: OperatorIdentity) -> bool:
        """Whether it is an operator of the whole platform, in production, whose password alone would open it."""
        if not self._is_production or operator.user_id is not None:
            return False
        async with self._engine.transaction(scope=_LOGIN):
            return not await has_authenticator(operator.operator_id)

    async def _run_as(self, operator: OperatorIdentity, scope: Scope, receive: Receive, send: Send) -> None:
        who = _bind(operator, Client.of(scope))
        path = scope["path"].removeprefix(PREFIX)
        try:
            if path.startswith(_STOCK_DOCS[0]) or "//" in path:
                raise not_found()
            if await self._must_enrol(operator) and (answer := until_enrolled(path)) is not None:
                await send_response(answer, scope, send)
                return
            _check_permission(operator, scope["method"], path)
            await self._run(scope, receive, send, who, operator)
        except ClientGone:
            raise
        except Exception as error:
            raise await self._looks.refused(scope, who, error) from error

    async def _run(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        binding: TenantScope | None,
        operator: OperatorIdentity | None = None,
    ) -> None:
        """Answers when the transaction, if there is a binding for one, has ended."""
        body = self._without_blanks(await read_body(scope, receive))
        held = HeldResponse()
        looks = expect_looks(scope)
        if operator is not None and (refusal := refusal_of(operator, self._tables, scope, body)):
            await send_response(_explain(refusal, Client.of(scope)), scope, send)
            return
        if binding is None:
            failure = await self._call(scope, body, receive, held)
        else:
            async with self._engine.transaction(scope=binding) as transaction:
                failure = await self._call(scope, body, receive, held)
                if failure is not None or held.status >= 400:
                    await transaction.rollback()
                elif operator is not None:
                    looks += await looks_at_answer(self._tables, self._viewed, scope, held, transaction)
        explained = None if failure is None else _explain(failure, Client.of(scope))
        if binding is not None and operator is not None:
            await self._looks.record(scope, binding, looks, explained.status_code if explained else held.status)
        if explained is not None:
            await send_response(explained, scope, send)
            return
        if binding is not None and scope["method"] != "GET":
            self._directory.forget()
        await held.release(send)

    async def _call(self, scope: Scope, body: bytes, receive: Receive, held: HeldResponse) -> Exception | None:
        """What went wrong, if anything did."""
        try:
            self._refuse(scope, body)
            await self._app(scope, keep_receiving(body, receive), held.hold)
        except Exception as error:  # noqa: BLE001  # Explained after the rollback.
            return error
        if held.status >= 400 and holds_identifier(held.body.decode("utf-8", "replace")):
            return Problem(held.status, "The request cannot be understood.")
        headers = (value for message in held.messages for _, value in message.get("headers", ()))
        if held.status >= 500 or not all(_HEADER_VALUE.fullmatch(value) for value in headers):
            return ValueError("nothing to save, or a header with the client's line breaks in it")
        return None

    def _refuse(self, scope: Scope, body: bytes) -> None:
        """What the stock code would write, and the API would not. Raises `Problem` 422."""
        table = _table_of(scope["path"].removeprefix(PREFIX))
        if table in self._tables and scope["method"] in ("POST", "PUT", "PATCH"):
            with suppress(orjson.JSONDecodeError):
                refuse_raw(self._tables[table], self._derivers.get(self._tables[table], {}), orjson.loads(body))

    def _without_blanks(self, body: bytes) -> bytes:
        """The admin's page sends an empty text for a reference that nobody chose."""
        try:
            values = orjson.loads(body)
        except orjson.JSONDecodeError:
            return body
        if not isinstance(values, dict):
            return body
        blank: dict[str, None] = {name: None for name in self._references if values.get(name) == ""}
        return orjson.dumps(values | blank) if blank else body


def _confined(send: Send) -> Send:
    """A browser that shows an answer of the admin loads nothing from another host."""

    async def confined(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return confined


def _explain(failure: Exception, client: Client) -> Response:
    """The stock code lets the errors of odd input and of the database pass as a 500."""
    if isinstance(failure, _ODD_INPUT):
        log.info("admin request refused", request_id=client.request_id, error=type(failure).__name__)
        problem = Problem(400, "The request cannot be understood.")
    else:
        problem = from_exception(failure)
    answer = problem.response(client.path, client.request_id)
    # On a 422 the admin's page shows this member, and breaks without it.
    answer.body = orjson.dumps(orjson.loads(answer.body) | {"db_error": problem.detail})
    answer.headers["content-length"] = str(len(answer.body))
    return answer


def _check_permission(operator: OperatorIdentity, method: str, path: str) -> None:
    """The role of the linked user decides, as in the API. Raises `Forbidden`, `Problem`."""
    table = _table_of(path)
    if operator.role is None or table not in _TABLES or method not in _OPERATIONS:
        return
    require(operator.role, table, _OPERATIONS[method])


def _table_of(path: str) -> str:
    """The table that a path below the prefix is about, or nothing."""
    parts = path.strip("/").split("/")
    return parts[2] if parts[:2] == ["api", "tables"] and len(parts) > 2 else ""


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
