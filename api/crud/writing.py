"""Writes of one row: create, replace, change, delete."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements
from api.crud.answers import row_answer
from api.crud.body import read_json, require_object
from api.crud.etags import require_match, wants_match
from api.crud.models import writable_columns
from api.crud.statements import fetch
from api.crud.validation import BodyValidator, Row
from api.encoding import load_stored
from api.problems import not_found
from api.query.parse import parse_query
from api.scope import identity_of
from tenancy.rules import Rule


class Writer:
    """Writes rows of one table for whoever the request was bound to."""

    def __init__(self, table: type[Table], rules: Sequence[Rule]) -> None:
        self.table = table
        self.name = table._meta.tablename
        self.columns = writable_columns(table)
        self.validator = BodyValidator(table, rules)
        self._user_column: str | None = getattr(table, "user_column", None)

    def given(self, request: Request) -> dict[str, Any]:
        """What the server's columns of a new row will say, as far as it is known beforehand."""
        identity = identity_of(request.scope)
        own = {self._user_column: str(identity.user_id)} if self._user_column else {}
        return {"tenant_id": str(identity.tenant_id), **own}

    async def create(self, request: Request, data: Any) -> Response:
        """201 with the row as stored."""
        values = self.validated(request, require_object(data))
        row = (await fetch(statements.insert(self.table, self.columns, [values])))[0]
        return self.created(row["body"].encode())

    def validated(self, request: Request, data: Row) -> Row:
        """The values of a new row."""
        role = identity_of(request.scope).role
        self.validator.permit(role, data, None)
        return self.validator.new_row(role, data, self.given(request))

    def created(self, body: bytes) -> Response:
        """201, and where the row is."""
        return row_answer(body, 201, {"Location": f"/api/{self.name}/{load_stored(body)['id']}/"})

    async def change(self, request: Request, row_id: UUID, *, whole: bool) -> Response:
        """200 with the row as stored; 412 when If-Match names another version of it."""
        self._refuse_parameters(request)
        role = identity_of(request.scope).role
        data = await read_json(request)
        locked = await fetch(statements.lock_one(self.table, row_id))
        body = locked[0]["body"].encode() if locked else b"null"
        stored = load_stored(body)
        if isinstance(data, dict):
            self.validator.permit(role, data, stored)
        if stored is None:
            raise not_found()
        require_match(request.headers, body)
        values = self.validator.change(role, require_object(data), stored, whole=whole)
        if not values:
            return row_answer(body)
        changed = await fetch(statements.update(self.table, values, [row_id]))
        if not changed:
            raise not_found()
        return row_answer(changed[0]["body"].encode())

    async def delete(self, request: Request, row_id: UUID) -> Response:
        """204; 412 when If-Match names another version of the row."""
        self._refuse_parameters(request)
        if wants_match(request.headers):
            locked = await fetch(statements.lock_one(self.table, row_id))
            if not locked:
                raise not_found()
            require_match(request.headers, locked[0]["body"].encode())
        if not await fetch(statements.delete(self.table, [row_id])):
            raise not_found()
        return Response(status_code=204)

    def _refuse_parameters(self, request: Request) -> None:
        parse_query(self.table, request.query_params.multi_items(), frozenset(), filters=False)
