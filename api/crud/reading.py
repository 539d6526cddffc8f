"""Reads of the CRUD protocol: pages, single rows, counts, CSV."""

from collections.abc import Mapping
from math import ceil
from typing import Any
from uuid import UUID

from litestar.datastructures.headers import Accept
from piccolo.table import Table
from starlette.requests import Request
from starlette.responses import Response

from api.crud import statements
from api.crud.answers import link_header, rows_body, tagged_answer
from api.crud.etags import etag_of
from api.crud.statements import fetch
from api.crud.tabular import header_line, row_line
from api.encoding import load_stored
from api.exchange import is_head
from api.problems import Problem, not_found
from api.query.cursor import CursorSeal
from api.query.filters import MAX_MATCH
from api.query.parse import COUNT_OPTIONS, MAX_PAGE_SIZE, SHAPE_OPTIONS, Count, ListQuery, parse_query
from api.query.shape import Shape
from api.query.values import integer
from api.scope import identity_of
from api.streams import stream, unsized
from tenancy.permissions import Operation, require

MAX_CURSOR = 4000
MAX_OFFSET = 10**12 - 1
CSV_PART_ROWS = 1000
CSV_PART_BYTES = 8 * 1024 * 1024


class Reader:
    """Reads one table for whoever the request was bound to."""

    def __init__(self, table: type[Table], seal: CursorSeal) -> None:
        self._table = table
        self._name = table._meta.tablename
        self._seal = seal

    async def one(self, request: Request, row_id: UUID) -> Response:
        """The row in the shape that was asked for, with its tag."""
        query = parse_query(self._table, request.query_params.multi_items(), SHAPE_OPTIONS, filters=False)
        self._authorize(request, query.shape)
        statement = statements.select_one(query.shape, row_id)
        if query.shape.related:
            statement = statements.bounded(statement, ["plain"])
        rows = await fetch(statement)
        if not rows:
            raise not_found()
        body = statements.bodies_of(rows)[0]
        stored = None if query.shape.is_plain else rows[0]["plain"].encode()
        return tagged_answer(request, body, etag_of(body, stored))

    async def many(self, request: Request) -> Response:
        """A page of JSON, or all that matches as CSV."""
        query = parse_query(self._table, request.query_params.multi_items())
        self._authorize(request, query.shape)
        if prefers_csv(request.headers.get("accept", "")):
            return await self._csv(request, query)
        rows, last = await self._page(request, query)
        more, headers = await self._about(request, query, len(rows), last)
        body = rows_body(rows, more)
        return tagged_answer(request, body, etag_of(body), headers)

    async def count(self, request: Request) -> Mapping[str, int]:
        """How many rows match, and how many make a page."""
        query = parse_query(self._table, request.query_params.multi_items(), COUNT_OPTIONS)
        return {"count": await self._total(query), "page_size": query.page_size}

    async def ids(self, request: Request) -> Mapping[str, str]:
        """Keys with their readable names, at most 1,000; `search`, `limit` and `offset`."""
        given = dict(request.query_params)
        limit = integer("limit", given.pop("limit", str(MAX_PAGE_SIZE)), 1, MAX_PAGE_SIZE)
        offset = integer("offset", given.pop("offset", "0"), 0, MAX_OFFSET)
        search = given.pop("search", "")
        if given or len(request.query_params) < len(request.query_params.multi_items()):
            raise Problem(400, "The parameters of ids are search, limit and offset, each at most once.")
        if "\x00" in search or len(search) > MAX_MATCH:
            raise Problem(400, f"Parameter search accepts up to {MAX_MATCH} characters, and no NUL.")
        rows = await fetch(statements.select_ids(self._table, search, limit, offset))
        return {str(row["id"]): row["readable"] for row in rows}

    def _authorize(self, request: Request, shape: Shape) -> None:
        """Related rows ask for the same right as their own list does."""
        role = identity_of(request.scope).role
        for table in shape.tables():
            require(role, table._meta.tablename, Operation.read)

    # -- Pages ---------------------------------------------------------------

    async def _page(self, request: Request, query: ListQuery) -> tuple[list[bytes], Any]:
        """The rows of a page; the last one with its order values if there are more after it."""
        after = None
        if query.cursor:
            after = self._seal.open(query.cursor, identity_of(request.scope).tenant_id, self._name, query.order)
        statement = statements.select_page(query, after, query.page_size + 1)
        found = await fetch(statements.bounded(statement, statements.order_columns(query.order)))
        rows = found[: query.page_size]
        return statements.bodies_of(rows), rows[-1] if len(found) > len(rows) else None

    async def _about(
        self, request: Request, query: ListQuery, length: int, last: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """What a page says of the list around it, in its body and in its headers."""
        more: dict[str, Any] = {}
        headers: dict[str, str] = {}
        links: dict[str, tuple[str, str]] = {}
        total = await self._total(query) if query.count or query.range_header else None
        if query.count and total is not None:
            pages = ceil(total / query.page_size)
            more = {"page_size": query.page_size, "total": total, "total_pages": pages}
        if query.cursor is not None:
            cursor = self._next_cursor(request, query, last)
            more["next_cursor"] = cursor
            links = {"first": ("__cursor", ""), **({"next": ("__cursor", cursor)} if cursor else {})}
        else:
            if query.count:
                more["page"] = query.page
            links = _page_links(query, has_next=last is not None, total=total)
        if query.range_header:
            span = f"{query.offset}-{query.offset + length - 1}" if length else "*"
            headers["Content-Range"] = f"{query.range_header_name or self._name} {span}/{total}"
        pairs = request.query_params.multi_items()
        return more, headers | link_header(f"/api/{self._name}/", pairs, links)

    def _next_cursor(self, request: Request, query: ListQuery, last: Any) -> str | None:
        if last is None:
            return None
        values = statements.order_values(last, query.order)
        cursor = self._seal.seal(identity_of(request.scope).tenant_id, self._name, query.order, values)
        if len(cursor) > MAX_CURSOR:
            raise Problem(400, "Values of this order are too long for a cursor; order by something shorter.")
        return cursor

    async def _total(self, query: ListQuery) -> int:
        """The exact number, or an estimate where counting would be long."""
        if query.count is not Count.estimated or query.search is not None:
            return int((await fetch(statements.count_exactly(query)))[0]["total"])
        counted = int((await fetch(statements.count_some(query)))[0]["total"])
        if counted <= statements.EXACT_UP_TO:
            return counted
        sampled = await fetch(statements.count_sampled(query))
        return max(counted, _rough(int(sampled[0]["total"]) if sampled else 0))

    # -- CSV -----------------------------------------------------------------

    async def _csv(self, request: Request, query: ListQuery) -> Response:
        """A page when one was asked for, else every row, a thousand at a time, so that neither
        the table nor a transaction is held while the client reads."""
        if query.shape.related:
            raise Problem(400, "CSV has no place for related rows; ask for the columns of one table.")
        names = [column._meta.name for column in query.shape.columns]
        names += [f"{name}_readable" for name in names if query.shape.readable and name in _references(self._table)]
        headers = {
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{self._name}.csv"',
        }
        if query.is_paged:
            rows, last = await self._page(request, query)
            _, around = await self._about(request, query, len(rows), last)
            return Response(header_line(names) + _lines(names, rows), headers={**headers, **around})
        if query.count or query.range_header:
            raise Problem(400, "A whole list as CSV has no totals; ask for a page of it, or for /count/.")
        if is_head(request.scope):
            return unsized(Response(headers=headers))
        after: list[Any] | None = None
        is_last = False

        async def next_part() -> bytes | None:
            nonlocal after, is_last
            if is_last:
                return None
            page = statements.select_page(query, after, CSV_PART_ROWS)
            found = await fetch(statements.bounded(page, statements.order_columns(query.order), CSV_PART_BYTES))
            rows = [row for row in found if row["body"] is not None]
            if found and not rows:
                raise Problem(400, "A row is too large for CSV; ask for fewer columns.")
            is_last = len(rows) == len(found) < CSV_PART_ROWS
            after = statements.order_values(rows[-1], query.order) if rows else None
            return _lines(names, statements.bodies_of(rows))

        first = header_line(names) + (await next_part() or b"")
        return stream(request.scope, first, next_part, headers)


def _rough(number: int) -> int:
    """Two digits of an estimate: more would tell the share of the sample, and with it the size of
    a table that all tenants have in common."""
    return round(number, 2 - len(str(number)))


def _lines(names: list[str], rows: list[bytes]) -> bytes:
    return b"".join(row_line(names, load_stored(row)) for row in rows)


def _references(table: type[Table]) -> set[str]:
    return {column._meta.name for column in table._meta.foreign_key_columns}


def _page_links(query: ListQuery, *, has_next: bool, total: int | None) -> dict[str, tuple[str, str]]:
    pages = {"first": 1, "prev": query.page - 1, "next": query.page + 1 if has_next else 0}
    if total is not None and query.count is not Count.estimated:
        pages["last"] = max(1, ceil(total / query.page_size))
    return {relation: ("__page", str(page)) for relation, page in pages.items() if page > 0}


def prefers_csv(accept: str) -> bool:
    """Whether an Accept header asks for CSV rather than JSON (RFC 9110, section 12.5.1)."""
    return Accept(accept).best_match(["application/json", "text/csv"]) == "text/csv"
