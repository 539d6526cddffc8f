"""Writes of one row: create, replace, change, delete."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements, write_statements
from api.crud.answers import row_answer
from api.crud.body import read_json, require_object
from api.crud.etags import require_match, wants_match
from api.crud.execution import fetch, run
from api.crud.large_bodies import apart
from api.crud.models import writable_columns
from api.crud.validation import BodyValidator, Row
from api.encoding import load_stored
from api.looks import View, leave_look
from api.problems import Problem, not_found
from api.query.parse import parse_query
from api.scope import identity_of
from tenancy.derivations import Derivers
from tenancy.permissions import Forbidden
from tenancy.rules import UNKNOWN, Rule, StoredRowNeeded


class Writer:
    """Writes rows of one table for whoever the request was bound to."""

    def __init__(
        self, table: type[Table], rules: Sequence[Rule], viewed: Mapping[type[Table], str], derivers: Derivers
    ) -> None:
        self.table = table
        self.name = table._meta.tablename
        self.columns = writable_columns(table)
        self.validator = BodyValidator(table, rules, derivers)
        self.viewed = viewed.get(table)
        self._user_column: str | None = getattr(table, "user_column", None)

    def given(self, request: Request) -> dict[str, Any]:
        """What the server's columns of a new row will say, as far as it is known beforehand."""
        identity = identity_of(request.scope)
        own = {self._user_column: str(identity.user_id)} if self._user_column else {}
        return {"tenant_id": str(identity.tenant_id), **own}

    async def create(self, request: Request, data: Any) -> Response:
        """201 with the row as stored."""
        values = await apart(request, self.validated, request, require_object(data))
        row = (await run(write_statements.insert(self.table, [values])))[0]
        return self.created(row["body"].encode())

    def validated(self, request: Request, data: Row) -> Row:
        """The values of a new row."""
        identity = identity_of(request.scope)
        self.validator.permit(identity.role, data, None)
        return self.validator.new_row(identity, data, self.given(request))

    def created(self, body: bytes) -> Response:
        """201, and where the row is."""
        return row_answer(body, 201, {"Location": f"/api/{self.name}/{load_stored(body)['id']}/"})

    async def change(self, request: Request, row_id: UUID, *, whole: bool) -> Response:
        """200 with the row as stored; 412 when If-Match names another version of it.

        Most changes can be checked without the stored row, and are one statement. The others read it first,
        and lock it until it is changed.
        """
        self._refuse_parameters(request)
        data = read_json(request)
        values = await apart(request, self._independent_changes, request, data, whole=whole)
        if values:
            changed = await run(write_statements.update_one(self.table, values, row_id))
        else:
            changed = await fetch(statements.lock_one(self.table, row_id))
            body = changed[0]["body"].encode() if changed else b"null"
            values = await apart(request, self._changes, request, data, body, whole=whole)
            if values:
                changed = await fetch(write_statements.update_one(self.table, values, row_id))
        if not changed:
            raise not_found()
        # What changes nothing is not on the trail as a change, and its answer shows the row all the same.
        if self.viewed is not None and not (values and changed[0]["is_changed"]):
            leave_look(request.scope, View(self.viewed, row_id))
        return row_answer(changed[0]["body"].encode())

    def _independent_changes(self, request: Request, data: Any, *, whole: bool) -> Row | None:
        """What is changed whatever is stored; None where that matters, and where something is wrong, of which the
        stored row decides what is said first."""
        if wants_match(request.headers) or not isinstance(data, dict):
            return None
        try:
            return self.checked(request, require_object(data), UNKNOWN, whole=whole)
        except (Forbidden, Problem, StoredRowNeeded):
            return None

    def _changes(self, request: Request, data: Any, body: bytes, *, whole: bool) -> Row:
        """What `data` changes of the row whose JSON is `body`, or `null`. Raises `Forbidden`, `Problem`."""
        role, stored = identity_of(request.scope).role, load_stored(body)
        if isinstance(data, dict):
            self.validator.permit(role, data, stored)
        if stored is None:
            raise not_found()
        require_match(request.headers, body)
        return self.checked(request, require_object(data), stored, whole=whole)

    def checked(
        self, request: Request, data: Row, stored: Mapping[str, Any], *, whole: bool, is_screened: bool = False
    ) -> Row:
        """What `data` changes of what is `stored`. Raises `Forbidden`, `Problem` 422, and `StoredRowNeeded`."""
        identity = identity_of(request.scope)
        return self.validator.change(identity, data, stored, whole=whole, is_screened=is_screened)

    async def delete(self, request: Request, row_id: UUID) -> Response:
        """204; 412 when If-Match names another version of the row."""
        self._refuse_parameters(request)
        remove = run
        if wants_match(request.headers):
            locked = await fetch(statements.lock_one(self.table, row_id))
            if not locked:
                raise not_found()
            require_match(request.headers, locked[0]["body"].encode())
            remove = fetch
        if not await remove(write_statements.delete(self.table, [row_id])):
            raise not_found()
        return Response(status_code=204)

    def _refuse_parameters(self, request: Request) -> None:
        if request.scope["query_string"]:
            parse_query(self.table, request.query_params.multi_items(), frozenset(), filters=False)
