"""The history of a row: every version of it with who and when, or the row as it was at a time.

The trail says it, for whoever may read the row, though the trail itself is for few.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any
from uuid import UUID

from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.crud.answers import link_header, rows_body, tagged_answer
from api.crud.etags import etag_of
from api.crud.execution import run
from api.crud.plans import pairs_of
from api.crud.statements import ANSWER_LIMIT
from api.crud.version_statements import select_version_at, select_versions
from api.looks import View, leave_look
from api.problems import Problem, not_found
from api.query.parse import ListQuery, parse_query
from api.query.values import refuse
from api.times import parse_instant

VERSIONS_A_PAGE = 100
_OPTIONS = frozenset({"__page", "__page_size", "__total"})


def has_history(table: type[Table]) -> bool:
    """Whether the trail tells of the table: it does of all but itself."""
    return "trail" not in table._meta.tags


class History:
    """Reads the versions of one table's rows for whoever the request was bound to."""

    def __init__(self, table: type[Table], viewed: Mapping[type[Table], str]) -> None:
        self._table = table
        self._viewed = viewed.get(table)
        self._name = table._meta.tablename

    async def read(self, request: Request, row_id: UUID) -> Response:
        """A page of versions, the oldest first; with `at`, the row as a read would have shown it then."""
        pairs = pairs_of(request.scope["query_string"])
        if any(name == "at" for name, _ in pairs):
            rows = await run(select_version_at(self._table, row_id, _moment(pairs)))
            if not rows:
                raise not_found()
            body = rows[0]["body"].encode()
            self._note(request, row_id)
            return tagged_answer(request, body, etag_of(body))
        query = _page(self._table, pairs)
        found = (await run(select_versions(self._table, row_id, query.page_size, query.offset)))[0]
        if not found["is_known"]:
            raise not_found()
        if found["bodies"] is None:
            raise Problem(400, f"The answer would have more than {ANSWER_LIMIT} bytes. Ask for fewer versions.")
        body = rows_body(found["bodies"].encode(), _more(query, found["total"]))
        self._note(request, row_id)
        return tagged_answer(request, body, etag_of(body), self._links(row_id, query, found["total"]))

    def _note(self, request: Request, row_id: UUID) -> None:
        """Who reads what a row was looks at the row."""
        if self._viewed:
            leave_look(request.scope, View(self._viewed, row_id))

    def _links(self, row_id: UUID, query: ListQuery, total: int) -> dict[str, str]:
        last = max(1, ceil(total / query.page_size))
        after = query.page + 1 if query.page < last else 0
        pages = {"first": 1, "prev": query.page - 1, "next": after, "last": last}
        more = "&__total=true" if query.count else ""
        base = f"/api/{self._name}/{row_id}/history/?__page_size={query.page_size}{more}&"
        return link_header(base, "__page", {relation: str(page) for relation, page in pages.items() if page > 0})


def _moment(pairs: Sequence[tuple[str, str]]) -> datetime:
    """The only parameter. Raises `Problem` 400."""
    for name, _ in pairs:
        if name != "at":
            refuse(name, "is not a parameter here beside at")
    if len(pairs) > 1:
        refuse("at", "is given more than once")
    text = pairs[0][1]
    if text[-6:-5] == " ":  # A plus that arrived as a blank.
        text = f"{text[:-6]}+{text[-5:]}"
    try:
        return parse_instant(text)
    except ValueError:
        refuse("at", "accepts a time with its zone as in RFC 3339, such as 2026-01-31T12:00:00Z")


def _page(table: type[Table], pairs: Sequence[tuple[str, str]]) -> ListQuery:
    query = parse_query(table, pairs, _OPTIONS, filters=False)
    if all(name.removesuffix("[]") != "__page_size" for name, _ in pairs):
        query.page_size = VERSIONS_A_PAGE
    return query


def _more(query: ListQuery, total: int) -> dict[str, Any]:
    if not query.count:
        return {}
    pages = ceil(total / query.page_size)
    return {"page_size": query.page_size, "total": total, "total_pages": pages, "page": query.page}
