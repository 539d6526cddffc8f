"""Writes of many rows: all or none, in one statement.

A list or a CSV is inserted; a filtered collection is changed or deleted, up to a limit that
the client may set; `Prefer: resolution=merge-duplicates` turns an insert into an upsert.
"""

import re
from typing import Any

from piccolo.columns import Column, Text
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements, write_statements
from api.crud.answers import json_answer, row_answer, rows_body
from api.crud.body import media_type_of, read_json, require_object
from api.crud.etags import wants_match
from api.crud.execution import fetch
from api.crud.large_bodies import apart
from api.crud.models import unique_key
from api.crud.tabular import MAX_ROWS, read_csv
from api.crud.validation import Row, at_index
from api.crud.writing import Writer
from api.encoding import load_stored
from api.exchange import body_of
from api.looks import Listing, leave_look
from api.problems import MAX_ERRORS, FieldError, Problem, invalid
from api.query.parse import AFFECTED_OPTIONS, ListQuery, parse_query
from api.query.shape import compact
from api.scope import identity_of
from tenancy.derivations import derivations_of
from tenancy.permissions import Operation, require

_MERGE = re.compile(r"(?:^|[,;])\s*resolution\s*=\s*\"?merge-duplicates\"?\s*(?:[,;]|$)", re.IGNORECASE)
_APPLIED = {"Preference-Applied": "resolution=merge-duplicates"}


class BulkWriter:
    """Writes many rows of one table for whoever the request was bound to."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._table = writer.table
        self._unique_key = unique_key(writer.table)

    async def create(self, request: Request) -> Response:
        """A row from an object; rows from a list or a CSV; merged with what is there if preferred."""
        if request.scope["query_string"]:
            parse_query(self._table, request.query_params.multi_items(), frozenset(), filters=False)
        if media_type_of(request) == "text/csv":
            columns: dict[str, Column] = {column._meta.name: column for column in self._table._meta.columns}
            columns |= {derivation.source: Text() for derivation in derivations_of(self._table)}
            data: Any = read_csv(body_of(request.scope), columns)
        else:
            data = read_json(request)
        if wants_merge(request.headers):
            return await self._merge(request, data)
        if not isinstance(data, list):
            return await self._writer.create(request, data)
        rows = await apart(request, self._validated, request, data)
        inserted = await fetch(write_statements.insert(self._table, rows))
        return json_answer(rows_body(b",".join(row["body"].encode() for row in inserted)), 201)

    async def change(self, request: Request) -> Response:
        """The same change to every row that the filter finds."""
        query = self._affected(request)
        data = read_json(request)
        if isinstance(data, dict):
            self._writer.validator.permit(identity_of(request.scope).role, data, None)
        found = await self._locked(query)
        stored = [load_stored(row["body"]) for row in found]
        data = require_object(data)
        changes = await apart(request, self._changes, request, data, stored)
        ids = [row["id"] for row in found]
        if not changes or not changes[0]:
            statement = statements.select_many(self._table, ids)
        else:
            statement = write_statements.update(self._table, changes[0], ids)
        bodies = statements.bodies_of(await fetch(statements.bounded(statement)))
        leave_look(request.scope, Listing("list", len(bodies)))  # Found by a filter, and shown, changed or not.
        return json_answer(rows_body(b",".join(bodies)))

    def _changes(self, request: Request, data: Row, stored: list[Row]) -> list[Row]:
        """What the data changes of each row. What is wrong with it is said although nothing is found."""
        checked = self._writer.checked
        if not stored:
            checked(request, data, {}, whole=False)
        return [  # The same for each: what was sent is looked at once.
            checked(request, data, row, whole=False, is_screened=number > 0) for number, row in enumerate(stored)
        ]

    async def delete(self, request: Request) -> Response:
        """204, with the number of rows in Content-Range."""
        query = self._affected(request)
        ids = [row["id"] for row in await self._locked(query)]
        deleted = await fetch(write_statements.delete(self._table, ids))
        return Response(status_code=204, headers={"Content-Range": f"{self._writer.name} */{len(deleted)}"})

    # -- Many at once --------------------------------------------------------

    def _validated(self, request: Request, data: list[Any]) -> list[Row]:
        """The values of every row. Raises `Problem` 422 with the way to each fault in each row."""
        if not 1 <= len(data) <= MAX_ROWS:
            raise Problem(422, f"A list holds 1 to {MAX_ROWS} rows; this one holds {len(data)}.")
        identity, given = identity_of(request.scope), self._writer.given(request)
        for row in data:
            if isinstance(row, dict):
                self._writer.validator.permit(identity.role, row, None)
        values: list[Row] = []
        errors: list[FieldError] = []
        for index, row in enumerate(data):
            try:
                values.append(self._writer.validator.new_row(identity, require_object(row), given))
            except Problem as problem:
                errors += at_index(problem, index)
            if len(errors) >= MAX_ERRORS:
                break
        if errors:
            raise invalid(errors)
        return values

    def _affected(self, request: Request) -> ListQuery:
        """Which rows a bulk change is about: never all of them by oversight."""
        query = parse_query(self._table, request.query_params.multi_items(), AFFECTED_OPTIONS)
        pairs = request.query_params.multi_items()
        if any(not value for _, value in pairs):  # As of a form that was not filled in: it would match every row.
            raise Problem(400, "A change of many rows takes no empty filter.")
        if not query.where and query.search is None:
            raise Problem(400, "A change of many rows needs a filter, such as ?status=pending.")
        if wants_match(request.headers):
            raise Problem(400, "If-Match is about one row; a change of many rows has none.")
        query.shape = compact(self._table)
        return query

    async def _locked(self, query: ListQuery) -> list[Any]:
        found = await fetch(statements.lock_matching(query, query.max_affected + 1))
        if len(found) > query.max_affected:
            raise Problem(
                409,
                f"The filter finds more than {query.max_affected} rows, and nothing was changed. "
                "Narrow it, or raise __max_affected.",
            )
        return found

    # -- Upsert --------------------------------------------------------------

    async def _merge(self, request: Request, data: Any) -> Response:
        """Inserts, or changes what has the same unique key: the columns that were sent."""
        require(identity_of(request.scope).role, self._writer.name, Operation.update)
        if self._unique_key is None:
            raise Problem(400, f"{self._writer.name} has no unique key of its own to merge by.")
        is_list = isinstance(data, list)
        rows = data if is_list else [require_object(data)]
        if is_list:
            values = await apart(request, self._validated, request, rows)
        else:
            values = [await apart(request, self._writer.validated, request, data)]
        sent = {frozenset(row) for row in rows}
        if len(sent) > 1:
            raise Problem(422, "All rows of a merge must have the same fields.")
        writable = {column._meta.name for column in self._writer.columns}
        changed = sorted((next(iter(sent)) & writable) - set(self._unique_key))
        merged = await fetch(write_statements.upsert(self._table, values, self._unique_key, changed))
        status = 201 if any(row["created"] for row in merged) else 200
        bodies = [row["body"].encode() for row in merged]
        if is_list:
            return json_answer(rows_body(b",".join(bodies)), status, _APPLIED)
        answer = self._writer.created(bodies[0]) if status == 201 else row_answer(bodies[0])
        answer.headers.update(_APPLIED)
        return answer


def wants_merge(headers: Headers) -> bool:
    """Prefer: resolution=merge-duplicates (RFC 7240, and PostgREST's word for it)."""
    return any(_MERGE.search(value) for value in headers.getlist("prefer"))
