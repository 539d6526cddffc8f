"""Reads of the CRUD protocol: pages, single rows, counts, CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from api.crud.execution import Compiled, fetch, run
from api.crud.looks import looks_at_row
from api.crud.plans import PagePlan, Plans
from api.crud.statements import BETWEEN
from api.crud.tabular import header_line, row_line
from api.encoding import load_stored
from api.exchange import is_head
from api.looks import Listing, leave_look
from api.problems import Problem, not_found
from api.query.cursor import CursorSeal
from api.query.filters import MAX_MATCH
from api.query.parse import COUNT_OPTIONS, MAX_PAGE_SIZE, Count, ListQuery, parse_query
from api.query.shape import Shape
from api.query.values import integer
from api.scope import identity_of
from api.streams import Continuation, stream, unsized
from tenancy.permissions import Operation, require

MAX_CURSOR = 4000
MAX_OFFSET = 10**12 - 1
CSV_PART_ROWS = 1000
CSV_PART_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows as JSON, with `BETWEEN` between them. `total` where it came along; `last` are order values to go on from,
    where there are cursors."""

    rows: bytes
    length: int
    has_next: bool
    total: int | None = None
    last: Sequence[Any] | None = None


class Reader:
    """Reads one table for whoever the request was bound to."""

    def __init__(self, table: type[Table], seal: CursorSeal, viewed: Mapping[type[Table], str]) -> None:
        self._table = table
        self._name = table._meta.tablename
        self._seal = seal
        self._viewed = viewed
        self._plans = Plans(table)

    async def one(self, request: Request, row_id: UUID) -> Response:
        """The row in the shape that was asked for, with its tag."""
        plan = self._plans.row(request.scope["query_string"])
        self._authorize(request, plan.shape)
        rows = await run(Compiled(plan.sql, [row_id]))
        if not rows:
            raise not_found()
        body = statements.bodies_of(rows)[0]
        stored = _stored(plan.shape, rows[0], body)
        for look in looks_at_row(self._viewed, plan.shape, row_id, body, stored):
            leave_look(request.scope, look)
        return tagged_answer(request, body, etag_of(body, stored))

    async def many(self, request: Request) -> Response:
        """A page of JSON, or all that matches as CSV."""
        plan = self._plans.page(request.scope["query_string"])
        self._authorize(request, plan.query.shape)
        if prefers_csv(request.headers.get("accept", "")):
            return await self._csv(request, plan)
        page = await self._page(request, plan)
        leave_look(request.scope, Listing("list", page.length))
        more, headers = await self._about(request, plan, page)
        body = rows_body(page.rows.replace(BETWEEN, b","), more)
        return tagged_answer(request, body, etag_of(body), headers)

    async def count(self, request: Request) -> Mapping[str, int]:
        """How many rows match, and how many make a page."""
        query = parse_query(self._table, request.query_params.multi_items(), COUNT_OPTIONS)
        leave_look(request.scope, Listing("list", None))
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
        rows = await run(statements.select_ids(self._table, search, limit, offset))
        leave_look(request.scope, Listing("list", len(rows)))
        return {str(row["id"]): row["readable"] for row in rows}

    def _authorize(self, request: Request, shape: Shape) -> None:
        """Related rows ask for the same right as their own list does."""
        role = identity_of(request.scope).role
        for table in shape.tables():
            require(role, table._meta.tablename, Operation.read)

    # -- Pages ---------------------------------------------------------------

    async def _page(self, request: Request, plan: PagePlan) -> _Page:
        if plan.query.cursor is not None:
            return await self._page_of_cursor(request, plan.query, plan.query.cursor)
        size = plan.query.page_size
        found = (await run(plan.statement))[0]
        rows = (found["bodies"] or "").encode()
        if not found["is_whole"]:
            statement = statements.select_page(plan.query, size + 1)
            rows = BETWEEN.join(statements.bodies_of(await run(statements.bounded(statement))))
        length = rows.count(BETWEEN) + 1 if rows else 0
        has_next = length > size
        if has_next:
            rows = rows[: rows.rindex(BETWEEN)]
        return _Page(rows, min(length, size), has_next, found["total"] if plan.has_total else None)

    async def _page_of_cursor(self, request: Request, query: ListQuery, cursor: str) -> _Page:
        after = None
        if cursor:
            after = self._seal.open(cursor, identity_of(request.scope).tenant_id, self._name, query.order)
        statement = statements.select_keyed_page(query, after, query.page_size + 1)
        found = await run(statements.bounded(statement, statements.order_columns(query.order)))
        rows = found[: query.page_size]
        has_next = len(found) > len(rows)
        values = statements.order_values(rows[-1], query.order) if has_next else None
        return _Page(BETWEEN.join(statements.bodies_of(rows)), len(rows), has_next, last=values)

    async def _about(self, request: Request, plan: PagePlan, page: _Page) -> tuple[dict[str, Any], dict[str, str]]:
        """What a page says of the list around it, in its body and in its headers."""
        query = plan.query
        more: dict[str, Any] = {}
        total = page.total
        if total is None and (query.count or query.range_header):
            total = await self._total(query)
        if query.count and total is not None:
            pages = ceil(total / query.page_size)
            more = {"page_size": query.page_size, "total": total, "total_pages": pages}
        if query.cursor is not None:
            cursor = self._next_cursor(request, query, page.last)
            more["next_cursor"] = cursor
            links = link_header(plan.link_base, "__cursor", {"first": "", **({"next": cursor} if cursor else {})})
        else:
            if query.count:
                more["page"] = query.page
            links = link_header(plan.link_base, "__page", _page_links(query, has_next=page.has_next, total=total))
        if query.range_header:
            span = f"{query.offset}-{query.offset + page.length - 1}" if page.length else "*"
            links["Content-Range"] = f"{query.range_header_name or self._name} {span}/{total}"
        return more, links

    def _next_cursor(self, request: Request, query: ListQuery, values: Sequence[Any] | None) -> str | None:
        if values is None:
            return None
        cursor = self._seal.seal(identity_of(request.scope).tenant_id, self._name, query.order, values)
        if len(cursor) > MAX_CURSOR:
            raise Problem(400, "Values of this order are too long for a cursor; order by something shorter.")
        return cursor

    async def _total(self, query: ListQuery) -> int:
        """The exact number, or an estimate where counting would be long."""
        if query.count is not Count.estimated or query.search is not None:
            return int((await run(statements.count_exactly(query)))[0]["total"])
        counted = int((await run(statements.count_some(query)))[0]["total"])
        if counted <= statements.EXACT_UP_TO:
            return counted
        sampled = await run(statements.count_sampled(query))
        return max(counted, _rough(int(sampled[0]["total"]) if sampled else 0))

    # -- CSV -----------------------------------------------------------------

    async def _csv(self, request: Request, plan: PagePlan) -> Response:
        """A page when one was asked for, else every row, a thousand at a time, so that neither
        the table nor a transaction is held while the client reads."""
        query = plan.query
        if query.shape.related:
            raise Problem(400, "CSV has no place for related rows; ask for the columns of one table.")
        names = [column._meta.name for column in query.shape.columns]
        names += [f"{name}_readable" for name in names if query.shape.readable and name in _references(self._table)]
        headers = {
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{self._name}.csv"',
        }
        if query.is_paged:
            part = await self._page(request, plan)
            leave_look(request.scope, Listing("export", part.length))
            _, around = await self._about(request, plan, part)
            rows = part.rows.split(BETWEEN) if part.rows else []
            return Response(header_line(names) + _lines(names, rows), headers={**headers, **around})
        if query.count or query.range_header:
            raise Problem(400, "A whole list as CSV has no totals; ask for a page of it, or for /count/.")
        if is_head(request.scope):
            leave_look(request.scope, Listing("export", None))
            return unsized(Response(headers=headers))
        after: list[Any] | None = None
        is_last = False
        sent = 0

        async def next_part() -> bytes | None:
            nonlocal after, is_last, sent
            if is_last:
                return None
            page = statements.select_keyed_page(query, after, CSV_PART_ROWS)
            found = await fetch(statements.bounded(page, statements.order_columns(query.order), CSV_PART_BYTES))
            rows = [row for row in found if row["body"] is not None]
            if found and not rows:
                raise Problem(400, "A row is too large for CSV; ask for fewer columns.")
            is_last = len(rows) == len(found) < CSV_PART_ROWS
            after = statements.order_values(rows[-1], query.order) if rows else None
            sent += len(rows)
            return _lines(names, statements.bodies_of(rows))

        first = header_line(names) + (await next_part() or b"")
        # Recorded before its first byte leaves, with as many rows as there are by now.
        count = sent if is_last else int((await fetch(statements.count_exactly(query)))[0]["total"])
        leave_look(request.scope, Listing("export", count))
        return stream(request.scope, first, Continuation(next_part), headers)


def _stored(shape: Shape, row: Any, body: bytes) -> bytes | None:
    """The JSON of the row as it is stored, where that is not the body itself."""
    if shape.is_plain:
        return None
    return body[: row["size"] - 1] + b"}" if shape.is_extended else row["stored"].encode()


def _rough(number: int) -> int:
    """Two digits of an estimate: more would tell the share of the sample, and with it the size of
    a table that all tenants have in common."""
    return round(number, 2 - len(str(number)))


def _lines(names: list[str], rows: list[bytes]) -> bytes:
    return b"".join(row_line(names, load_stored(row)) for row in rows)


def _references(table: type[Table]) -> set[str]:
    return {column._meta.name for column in table._meta.foreign_key_columns}


def _page_links(query: ListQuery, *, has_next: bool, total: int | None) -> dict[str, str]:
    pages = {"first": 1, "prev": query.page - 1, "next": query.page + 1 if has_next else 0}
    if total is not None and query.count is not Count.estimated:
        pages["last"] = max(1, ceil(total / query.page_size))
    return {relation: str(page) for relation, page in pages.items() if page > 0}


def prefers_csv(accept: str) -> bool:
    """Whether an Accept header asks for CSV rather than JSON (RFC 9110, section 12.5.1)."""
    if "text/" not in accept.lower():  # As nearly always: to read the header takes longer than all the rest.
        return False
    return Accept(accept).best_match(["application/json", "text/csv"]) == "text/csv"
