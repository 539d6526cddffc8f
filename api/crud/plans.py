"""What a query string asks of a table, read and turned into SQL once: the next time it is looked up.

A plan holds nothing of a tenant and of no row: whose rows it finds is decided where it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from piccolo.table import Table

from api.crud import statements
from api.crud.execution import Compiled
from api.query.parse import LIST_OPTIONS, SHAPE_OPTIONS, Count, ListQuery, parse_query
from api.query.shape import Shape

KEPT_PLANS = 200
LONGEST_KEPT = 1_000
_NO_ROW = UUID(int=0)
_Plan = TypeVar("_Plan")


@dataclass(frozen=True, slots=True)
class RowPlan:
    """A row in a shape. `sql` has the row's id for its only value."""

    shape: Shape
    sql: str


@dataclass(frozen=True, slots=True)
class PagePlan:
    """A page of a list. `statement` is of one without cursors, `gathered`, with its total if it `has_total`.

    `link_base` is the list without what says which page, to be followed by that.
    """

    query: ListQuery
    statement: Compiled
    has_total: bool
    link_base: str


class Plans:
    """The plans of one table. Each raises `Problem` 400 for what it cannot read, and keeps nothing of that."""

    def __init__(self, table: type[Table]) -> None:
        self._table = table
        self.row = _kept(self._plan_row)
        self.page = _kept(self._plan_page)

    def _plan_row(self, query_string: bytes) -> RowPlan:
        query = parse_query(self._table, pairs_of(query_string), SHAPE_OPTIONS, filters=False)
        sql, values = statements.select_one(query.shape, _NO_ROW).compile_string()
        assert values == [_NO_ROW]
        return RowPlan(query.shape, sql)

    def _plan_page(self, query_string: bytes) -> PagePlan:
        query = parse_query(self._table, pairs_of(query_string), LIST_OPTIONS)
        has_total = query.count is Count.exact or (query.range_header and query.count is None)
        rows = query.page_size + 1  # One more tells whether there is a next page.
        page = statements.select_page(query, rows)
        total = statements.count_exactly(query) if has_total else None
        statement = Compiled(*statements.gathered(page, rows, total).compile_string())
        return PagePlan(query, statement, has_total, self._link_base(query_string))

    def _link_base(self, query_string: bytes) -> str:
        """What the links to other pages begin with."""
        rest = urlencode([pair for pair in pairs_of(query_string) if pair[0] not in ("__page", "__cursor")])
        return f"/api/{self._table._meta.tablename}/?{rest}{'&' if rest else ''}"


def pairs_of(query_string: bytes) -> list[tuple[str, str]]:
    """The parameters of a query string, in order, empty ones too."""
    return parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)


def _kept(make: Callable[[bytes], _Plan]) -> Callable[[bytes], _Plan]:
    """What does not fit is made each time: nobody fills the memory with long query strings."""
    kept = lru_cache(maxsize=KEPT_PLANS)(make)
    return lambda query_string: kept(query_string) if len(query_string) <= LONGEST_KEPT else make(query_string)
