"""Serves the actions of a domain: role, content, the action itself, its answer."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from piccolo.table import Table
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements
from api.crud.answers import json_answer, row_answer, rows_body
from api.crud.body import read_json, require_object
from api.crud.execution import fetch
from api.crud.models import field_errors
from api.crud.screening import screen_of
from api.encoding import dump_json
from api.exchange import Receive, Scope, Send, body_of
from api.idempotency import NO_STORE
from api.looks import Listing, View, leave_look
from api.problems import FieldError, Problem, invalid, not_found
from api.query.parse import parse_query
from api.scope import identity_of
from tenancy.actions import Action, Answer, Call, Created, Found, RowMissing, StateConflict, Told
from tenancy.permissions import require
from tenancy.rules import RuleViolation


class ActionEndpoint:
    """One action, for whoever the request was bound to. Also an ASGI app, for a path of its own."""

    def __init__(self, table: type[Table], action: Action, viewed: Mapping[type[Table], str]) -> None:
        self._table = table
        self._action = action
        self._viewed = viewed.get(table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self.answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def answer(self, request: Request, row_id: UUID | None = None) -> Response:
        """Raises `Forbidden`, `Problem`, and what the database does."""
        if request.method != self._action.method:
            allow = "GET, HEAD" if self._action.method == "GET" else "POST"
            raise Problem(405, f"{request.method} is not possible here.", headers={"Allow": allow})
        identity = identity_of(request.scope)
        for table, operation in self._action.needs:
            require(identity.role, table, operation)
        data = self._data(request)
        screen = screen_of(identity, self._table._meta.tablename) if self._action.method == "POST" else None
        if screen is not None and (errors := screen(data)):
            raise invalid(errors)
        call = Call(identity.tenant_id, identity.user_id, identity.role, row_id, data)
        try:
            done = await self._action.run(call)
        except RowMissing:
            raise not_found() from None
        except StateConflict as conflict:
            raise Problem(409, str(conflict)) from None
        except RuleViolation as violation:
            raise invalid([FieldError(violation.path, violation.message)]) from None
        return await self._worded(request, row_id, done)

    def _data(self, request: Request) -> Mapping[str, Any]:
        """What was sent, read as the action's input. Raises `Problem`."""
        if self._action.method == "GET":
            return self._parameters(request)
        if request.scope["query_string"]:
            parse_query(self._table, request.query_params.multi_items(), frozenset(), filters=False)
        data = require_object(read_json(request)) if body_of(request.scope) else {}
        model = self._action.input or _Nothing
        try:
            return model.model_validate_json(dump_json(data), strict=True).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise invalid(field_errors(error)) from None

    def _parameters(self, request: Request) -> Mapping[str, Any]:
        pairs = request.query_params.multi_items()
        model = self._action.input or _Nothing
        try:
            if len(dict(pairs)) < len(pairs):
                raise Problem(400, "Each parameter is given at most once.")
            return model.model_validate_strings(dict(pairs), strict=False).model_dump(exclude_unset=True)
        except ValidationError as error:
            faults = "; ".join(f"{fault.name[:40]} {fault.message}" for fault in field_errors(error)[:3])
            raise Problem(400, f"A parameter is not valid: {faults}.") from None

    async def _worded(self, request: Request, row_id: UUID | None, done: Answer) -> Response:
        match done:
            case Created(created):
                body = (await self._bodies([created]))[created]
                return row_answer(body, 201, {"Location": f"/api/{self._table._meta.tablename}/{created}/"})
            case Found(found, more):
                bodies = await self._bodies(found)
                leave_look(request.scope, Listing("list", len(bodies)))
                pairs = zip(found, more or [{}] * len(found), strict=True)
                rows = [_with(bodies[one], extra) for one, extra in pairs if one in bodies]
                return json_answer(rows_body(b",".join(rows)))
            case Told(document):
                if self._viewed is not None:
                    leave_look(request.scope, View(self._viewed, row_id) if row_id else Listing("list", None))
                headers = {"Cache-Control": NO_STORE} if self._action.is_secret else {}
                return json_answer(document, self._action.status, headers)

    async def _bodies(self, ids: Sequence[UUID]) -> Mapping[UUID, bytes]:
        """The rows as they are stored; what is deleted meanwhile is not there."""
        rows = await fetch(statements.bounded(statements.select_many(self._table, ids), ["id"])) if ids else []
        return dict(zip((row["id"] for row in rows), statements.bodies_of(rows), strict=True))


class _Nothing(BaseModel, extra="forbid"):
    """An action that is told nothing."""


def _with(body: bytes, extra: Mapping[str, Any]) -> bytes:
    return body[:-1] + b"," + dump_json(extra)[1:] if extra else body
