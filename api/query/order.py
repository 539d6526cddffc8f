"""The order of a list, and the rows that come after a given one in it (keyset pagination).

https://use-the-index-luke.com/no-offset
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from piccolo import columns
from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from api.query.filters import all_of, any_of
from api.query.values import find_column, refuse

RANK = "rank"
NULL_ORDERS = {".nullsfirst": True, ".nullslast": False}


@dataclass(frozen=True, slots=True)
class OrderTerm:
    """One column of an order. `expression` is SQL without any value of the client's in it, `read`
    makes a value of the text that a cursor keeps of it."""

    name: str
    expression: str
    read: Callable[[str], Any]
    ascending: bool
    nullable: bool
    nulls_first: bool

    @property
    def sql(self) -> str:
        direction = "ASC" if self.ascending else "DESC"
        nulls = f" NULLS {'FIRST' if self.nulls_first else 'LAST'}" if self.nullable else ""
        return f"{self.expression} {direction}{nulls}"

    @property
    def label(self) -> str:
        """The term as a client would write it, to tell one order from another."""
        return f"{'' if self.ascending else '-'}{self.name}{'.nullsfirst' if self.nulls_first else ''}"


def parse_order(table: type[Table], items: Sequence[str]) -> list[OrderTerm]:
    """`-due_date.nullslast,id`: a dash reverses; NULLs come last, reversed first, unless asked otherwise."""
    found: dict[str, OrderTerm] = {}
    for item in items:
        term = _term(table, item)
        found.setdefault(term.name, term)
    return list(found.values())


def complete_order(table: type[Table], terms: list[OrderTerm], *, ranked: bool) -> list[OrderTerm]:
    """The best match, else the newest, first unless asked otherwise; the key breaks ties, so that pages are stable."""
    if not terms and ranked:
        terms = [OrderTerm(RANK, f'"{table._meta.tablename}"."{RANK}"', float, False, False, False)]
    elif not terms:
        terms = [_term(table, "-created_at")]
    key = table._meta.primary_key._meta.name
    return terms if any(term.name == key for term in terms) else [*terms, _term(table, key)]


def _term(table: type[Table], item: str) -> OrderTerm:
    name, ascending = item.removeprefix("-"), not item.startswith("-")
    nulls_first = not ascending
    for suffix, first in NULL_ORDERS.items():
        if name.endswith(suffix):
            name, nulls_first = name.removesuffix(suffix), first
    column = find_column(table, name, "__order")
    if isinstance(column, columns.JSON | columns.JSONB):
        refuse("__order", f"cannot order by {name}, a JSON document")
    nullable = bool(column._meta.null)
    expression = column._meta.get_full_name(with_alias=False)
    return OrderTerm(name, expression, _reader(column), ascending, nullable, nullable and nulls_first)


def _reader(column: Column) -> Callable[[str], Any]:
    match column:
        case columns.Timestamptz():
            return datetime.fromisoformat
        case columns.Date():
            return date.fromisoformat
        case columns.ForeignKey() | columns.UUID():
            return UUID
        case columns.DoublePrecision() | columns.Real():
            return float
        case columns.Numeric():
            return Decimal
        case columns.Integer():
            return int
    return str


def rows_after(terms: Sequence[OrderTerm], values: Sequence[Any]) -> WhereRaw:
    """The rows that come after the one with these values: the first column in which they
    differ decides."""
    pairs = list(zip(terms, values, strict=True))
    branches = [
        all_of([*(_equal(*pair) for pair in pairs[:index]), _after(*pairs[index])]) for index in range(len(pairs))
    ]
    clause = any_of(branches)
    bound = _leading_bound(*pairs[0])
    return all_of([bound, clause]) if bound else clause


def _leading_bound(term: OrderTerm, value: Any) -> WhereRaw | None:
    """Says again what the branches imply, in a form that an index range can start from."""
    if value is None or (term.nullable and not term.nulls_first):
        return None
    return WhereRaw(f"{term.expression} {'>=' if term.ascending else '<='} {{}}", value)


def _equal(term: OrderTerm, value: Any) -> WhereRaw:
    if value is None:
        return WhereRaw(f"{term.expression} IS NULL")
    return WhereRaw(f"{term.expression} = {{}}", value)


def _after(term: OrderTerm, value: Any) -> WhereRaw:
    if value is None:
        return WhereRaw(f"{term.expression} IS NOT NULL" if term.nulls_first else "FALSE")
    further = WhereRaw(f"{term.expression} {'>' if term.ascending else '<'} {{}}", value)
    if term.nullable and not term.nulls_first:
        return any_of([further, WhereRaw(f"{term.expression} IS NULL")])
    return further
