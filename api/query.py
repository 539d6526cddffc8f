"""PiccoloCRUD's query language, read from a query string into Piccolo's clauses.

The one place where a filter becomes a `Where`. Values are checked against their column's
type here, so that none reaches the database that it would refuse.
"""

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import reduce
from operator import and_, or_
from typing import Any, NoReturn

from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    Array,
    Boolean,
    Column,
    DoublePrecision,
    ForeignKey,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.columns.combination import And, Or, Where, WhereRaw
from piccolo.columns.operators.comparison import (
    ComparisonOperator,
    Equal,
    GreaterEqualThan,
    GreaterThan,
    IsNotNull,
    IsNull,
    LessEqualThan,
    LessThan,
    NotEqual,
)
from piccolo.table import Table

from api.problems import Problem
from api.times import in_range

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 1000
MAX_PAGE = 1_000_000_000
MAX_VALUES = 100

OPERATORS: dict[str, type[ComparisonOperator]] = {
    "e": Equal,
    "ne": NotEqual,
    "lt": LessThan,
    "lte": LessEqualThan,
    "gt": GreaterThan,
    "gte": GreaterEqualThan,
    "is_null": IsNull,
    "not_null": IsNotNull,
}
MATCHES: dict[str, Callable[[str], str]] = {
    "contains": lambda text: f"%{text}%",
    "starts": lambda text: f"{text}%",
    "ends": lambda text: f"%{text}",
    "exact": lambda text: text,
}
Clause = Where | WhereRaw | And | Or


@dataclass
class ListQuery:
    """What a list was asked for. `order_by` pairs a column with whether it ascends."""

    where: list[Clause] = field(default_factory=list)
    order_by: list[tuple[Column, bool]] = field(default_factory=list)
    visible: list[Column] = field(default_factory=list)
    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    with_total: bool = False
    readable: bool = False
    range_header: bool = False
    range_header_name: str = ""

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return (self.page - 1) * self.page_size


def parse_query(table: type[Table], pairs: Iterable[tuple[str, str]]) -> ListQuery:
    """Reads the pairs of a query string. Raises `Problem` 400 that names the parameter."""
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name.removesuffix("[]"), []).append(value)
    query = ListQuery()
    filters: dict[str, dict[str, list[str]]] = {}
    for name, values in parameters.items():
        if any("\x00" in value for value in values):
            _refuse(name, "holds a NUL character")
        if len(values) > MAX_VALUES:
            _refuse(name, f"is given more than {MAX_VALUES} times")
        if name.startswith("__"):
            _read_option(table, query, name, values)
            continue
        column_name, _, suffix = name.partition("__")
        if suffix not in ("", "operator", "match"):
            _refuse(name, "is not a parameter")
        filters.setdefault(column_name, {})[suffix] = values
    query.where = [
        _where(
            _column(table, name, name),
            parts.get(""),
            _single(f"{name}__operator", parts.get("operator")),
            _single(f"{name}__match", parts.get("match")),
        )
        for name, parts in filters.items()
    ]
    _complete_order(table, query)
    return query


def escape_like(text: str) -> str:
    """Text in which `%`, `_` and the backslash stand for themselves in LIKE."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _refuse(name: str, why: str) -> NoReturn:
    raise Problem(400, f"Parameter {name} {why}.")


def _single(name: str, values: list[str] | None) -> str | None:
    if values is not None and len(values) > 1:
        _refuse(name, "is given more than once")
    return values[0] if values else None


def _column(table: type[Table], column_name: str, parameter: str) -> Column:
    for column in table._meta.columns:
        if column._meta.name == column_name and not column._meta.secret:
            return column
    accepted = ", ".join(c._meta.name for c in table._meta.columns if not c._meta.secret)
    _refuse(parameter, f"names no column of {table._meta.tablename}; its columns are {accepted}")


# -- Options -----------------------------------------------------------------


def _read_option(table: type[Table], query: ListQuery, name: str, values: list[str]) -> None:
    match name:
        case "__order":
            query.order_by = [_order(table, item) for value in values for item in value.split(",")]
            return
        case "__visible_fields":
            names = dict.fromkeys(item for value in values for item in value.split(","))
            query.visible = [_column(table, item, name) for item in names]
            return
    value = _single(name, values) or ""
    match name:
        case "__page":
            query.page = _integer(name, value, MAX_PAGE)
        case "__page_size":
            query.page_size = _integer(name, value, MAX_PAGE_SIZE)
        case "__total":
            query.with_total = _boolean(name, value)
        case "__readable":
            query.readable = _boolean(name, value)
        case "__range_header":
            query.range_header = _boolean(name, value)
        case "__range_header_name":
            if not re.fullmatch(r"[\w.-]{1,64}", value, re.ASCII):
                _refuse(name, "accepts up to 64 letters, digits, dots, dashes and underscores")
            query.range_header_name = value
        case _:
            _refuse(name, "is not a parameter")


def _order(table: type[Table], item: str) -> tuple[Column, bool]:
    column = _column(table, item.removeprefix("-"), "__order")
    if isinstance(column, JSON | JSONB):
        _refuse("__order", f"cannot order by {item}, a JSON document")
    return column, not item.startswith("-")


def _complete_order(table: type[Table], query: ListQuery) -> None:
    """Newest first unless asked otherwise; the key breaks ties, so that pages are stable."""
    if not query.order_by:
        query.order_by = [(_column(table, "created_at", "__order"), False)]
    # By name: `==` of two Piccolo columns is a clause, and true.
    if table._meta.primary_key._meta.name not in [column._meta.name for column, _ in query.order_by]:
        query.order_by.append((table._meta.primary_key, True))


def _integer(name: str, value: str, most: int) -> int:
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not 1 <= int(value) <= most:
        _refuse(name, f"accepts a whole number from 1 to {most}")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    _refuse(name, "accepts true or false")


# -- Filters -----------------------------------------------------------------


def _where(column: Column, values: list[str] | None, operator: str | None, match: str | None) -> Clause:
    name = column._meta.name
    if operator is not None and operator not in OPERATORS:
        _refuse(f"{name}__operator", f"accepts {', '.join(OPERATORS)}")
    if match is not None and match not in MATCHES:
        _refuse(f"{name}__match", f"accepts {', '.join(MATCHES)}")
    if operator in ("is_null", "not_null"):
        return Where(column, operator=OPERATORS[operator])
    if values is None:
        _refuse(name, "is missing, while its operator or match is given")
    if isinstance(column, JSON | JSONB):
        _refuse(name, "is a JSON document and accepts is_null and not_null only")
    if isinstance(column, Array):
        return _where_array(column, values, operator)
    if operator is not None:
        return _where_compared(column, [_typed(column, value) for value in values], operator)
    if isinstance(column, Varchar | Text) and (match is not None or not column._meta.choices):
        return _where_matched(column, values, match or "contains")
    return _where_compared(column, [_typed(column, value) for value in values], "e")


def _where_array(column: Array, values: list[str], operator: str | None) -> Clause:
    if operator not in (None, "e"):
        _refuse(f"{column._meta.name}__operator", "accepts e, is_null and not_null on a list")
    clauses: list[Clause] = [column.any(value) for value in values]
    return reduce(and_, clauses)


def _where_compared(column: Column, values: list[Any], operator: str) -> Clause:
    if len(values) == 1:
        return Where(column, values[0], operator=OPERATORS[operator])
    if operator == "e":
        return column.is_in(values)
    if operator == "ne":
        return column.not_in(values)
    _refuse(column._meta.name, f"is given more than once, and {operator} compares with one value")


def _where_matched(column: Column, values: list[str], match: str) -> Clause:
    if match == "exact":
        return _where_compared(column, values, "e")
    clauses: list[Clause] = [column.ilike(MATCHES[match](escape_like(value))) for value in values]
    return reduce(or_, clauses)


def _typed(column: Column, value: str) -> Any:
    name = column._meta.name
    if column._meta.choices:
        accepted = [choice.value for choice in column._meta.choices]
        if value not in accepted:
            _refuse(name, f"accepts {', '.join(accepted)}")
        return value
    try:
        match column:
            case UUID() | ForeignKey():
                return uuid.UUID(value)
            case Boolean():
                return _boolean(name, value)
            case Timestamptz():
                return parse_time(value)
            case DoublePrecision():
                return float(value)
            case _:
                return value
    except (ValueError, OverflowError):
        _refuse(name, f"accepts {_ACCEPTED[type(column)]}")


_ACCEPTED = {
    UUID: "a UUID",
    ForeignKey: "a UUID",
    Timestamptz: "a time as in RFC 3339, such as 2026-01-31T12:00:00Z",
    DoublePrecision: "a number",
}


def parse_time(value: str) -> datetime:
    """An RFC 3339 time or date in UTC; a `+` that arrived as a blank is mended."""
    text = re.sub(r" (\d\d:\d\d)$", r"+\1", value)
    parsed = (
        datetime.fromisoformat(text)
        if len(text) > 10
        else datetime.combine(date.fromisoformat(text), datetime.min.time())
    )
    return in_range((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC))
