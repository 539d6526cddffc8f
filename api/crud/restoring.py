"""Restores a row: to an earlier version as one ordinary change, or from its deletion with what went along.

Rules, roles and If-Match hold as in a PATCH: what nobody may change a row to, it is not restored to either.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements, version_statements
from api.crud.answers import row_answer
from api.crud.body import read_json, require_object
from api.crud.etags import require_match, wants_match
from api.crud.execution import fetch
from api.crud.history import has_history
from api.crud.validation import Row
from api.crud.writing import Writer
from api.encoding import load_stored
from api.exchange import body_of
from api.looks import View, leave_look
from api.problems import FieldError, Problem, from_exception, invalid, not_found
from api.query.parse import parse_query
from api.scope import identity_of
from api.times import parse_instant
from tenancy.permissions import Forbidden, Operation, allowed_to_any, require
from tenancy.tables import Role

_MAX_VERSION = 2**31 - 1
_REDACTED = "[redacted]"
_UNFITTING = "A value was redacted from that version, and what is left does not fit."


def can_restore(table: type[Table]) -> bool:
    """Whether anybody may change a row of the table."""
    return has_history(table) and Operation.update in allowed_to_any(table._meta.tablename)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which version was asked for: one of the two, or neither."""

    version: int | None = None
    moment: datetime | None = None

    @property
    def field(self) -> str:
        return "version" if self.moment is None else "at"


class Restorer:
    """Restores rows of one table for an admin of the tenant that the request was bound to."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._table = writer.table
        self._name = writer.name
        self._columns = [column._meta.name for column in writer.columns]

    async def restore(self, request: Request, row_id: UUID) -> Response:
        """200 with the row as stored. Raises `Forbidden`, `Problem`."""
        if request.scope["query_string"]:
            parse_query(self._table, request.query_params.multi_items(), frozenset(), filters=False)
        data = read_json(request) if body_of(request.scope) else {}
        if identity_of(request.scope).role is not Role.admin:
            raise Forbidden(f"Only an admin may restore {self._name}.")
        locked = await fetch(statements.lock_one(self._table, row_id))
        if locked:
            return await self._change(request, row_id, statements.bodies_of(locked)[0], data)
        return await self._bring_back(request, row_id, data)

    async def _change(self, request: Request, row_id: UUID, body: bytes, data: Any) -> Response:
        """Back to the version that was chosen, of a row that is there."""
        require_match(request.headers, body)
        choice = _choice(data)
        if choice == _Choice():
            raise invalid([FieldError(("version",), "is needed: the row is there; name the version to go back to")])
        chosen = await self._chosen(row_id, choice)
        names = self._checked(request, choice, load_stored(body), chosen)
        if names:
            statement = version_statements.write_version(self._table, names, row_id, chosen["version"])
            try:
                body = (await fetch(statement))[0]["body"].encode()
            except asyncpg.ForeignKeyViolationError as error:
                detail = "The row referred, in that version, to another that is gone."
                raise Problem(409, detail, from_exception(error).errors) from None
            except asyncpg.DataError:
                raise Problem(409, _UNFITTING) from None
        elif self._writer.viewed is not None:  # No change that the trail tells, and the answer shows the row.
            leave_look(request.scope, View(self._writer.viewed, row_id))
        return row_answer(body)

    async def _bring_back(self, request: Request, row_id: UUID, data: Any) -> Response:
        """A row that was deleted, as it was before or in the version that was chosen."""
        found = await fetch(version_statements.select_chosen(self._table, row_id, None, None))
        if not found:
            raise not_found()
        require(identity_of(request.scope).role, self._name, Operation.create)
        if wants_match(request.headers):
            raise Problem(412, "The row is deleted: there is no version of it that If-Match could name.")
        chosen = last = found[0]
        choice = _choice(data)
        if choice != _Choice():
            chosen = await self._chosen(row_id, choice)
            self._checked(request, choice, load_stored(last["body"]), chosen)
        await fetch(version_statements.restore(self._table, row_id, chosen["version"]))
        return row_answer(statements.bodies_of(await fetch(statements.select_many(self._table, [row_id])))[0])

    async def _chosen(self, row_id: UUID, choice: _Choice) -> Any:
        """The version that was chosen. Raises `Problem` 422 where there is none, or it has no row."""
        found = await fetch(version_statements.select_chosen(self._table, row_id, choice.version, choice.moment))
        chosen = next((row for row in found if row["is_chosen"]), None)
        if chosen is None:
            message = "is not known of this row" if choice.moment is None else "is before what is known of this row"
            raise invalid([FieldError((choice.field,), message)])
        if chosen["body"] is None:
            raise invalid([FieldError((choice.field,), "is of a deletion, which has no row")])
        return chosen

    def _checked(self, request: Request, choice: _Choice, stored: Row, chosen: Any) -> list[str]:
        """The columns to change of what is, or was last, `stored`. Raises `Forbidden`, `Problem` 422, as a PATCH does.

        The rules see the values; what is written is what the trail says, whose numbers may have more digits.
        """
        wanted = load_stored(chosen["body"])
        data = {name: wanted[name] for name in self._columns if name in chosen["differing"]}
        self._writer.validator.permit(identity_of(request.scope).role, data, stored)
        try:
            return list(self._writer.checked(request, data, stored, whole=False, is_screened=True))
        except orjson.JSONEncodeError:
            raise invalid([FieldError((choice.field,), "holds a number that no client may send")]) from None
        except Problem as problem:
            if any(_REDACTED in str(data.get(str(error.path[0]))) for error in problem.errors):
                raise Problem(409, _UNFITTING) from None
            raise


def _choice(data: Any) -> _Choice:
    """Reads the body. Raises `Problem` 422 that names every field at fault."""
    data = require_object(data)
    errors = [FieldError((name,), "is not a field here") for name in data.keys() - {"version", "at"}]
    version, text = data.get("version"), data.get("at")
    moment = None
    if "version" in data and not (type(version) is int and 1 <= version <= _MAX_VERSION):
        errors.append(FieldError(("version",), "must be a whole number from 1"))
    if "at" in data:
        try:
            moment = parse_instant(text) if isinstance(text, str) else None
        except ValueError:
            moment = None
        if moment is None:
            errors.append(FieldError(("at",), "must be a time with its zone as in RFC 3339"))
    if "version" in data and "at" in data:
        errors.append(FieldError(("at",), "and version are two ways to choose; give one"))
    if errors:
        raise invalid(errors)
    return _Choice(version, moment)
