"""A query string read into what a list, a row, a count or a bulk change was asked for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from api.problems import Problem
from api.query.filters import MATCHES, NULLS, SUFFIXES, all_of, any_of, filter_clause, opposite
from api.query.groups import Condition, Group, parse_group
from api.query.order import OrderTerm, complete_order, parse_order
from api.query.shape import Shape, parse_shape
from api.query.values import MAX_REPEATS, MAX_VALUES, boolean, integer, refuse

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 1000
MAX_PAGE_SIZE_WITH_MANY = 100
MAX_PAGE = 1_000_000_000
MAX_FILTERS = 100
MAX_SEARCH = 500
DEFAULT_MAX_AFFECTED = 100
MAX_AFFECTED = 1000

SHAPE_OPTIONS = frozenset({"__visible_fields", "__include", "__readable"})
FILTER_OPTIONS = frozenset({"__or", "__and", "__not", "__search"})
COUNT_OPTIONS = FILTER_OPTIONS | {"__count", "__page_size"}
AFFECTED_OPTIONS = FILTER_OPTIONS | {"__max_affected"}
LIST_OPTIONS = (
    SHAPE_OPTIONS
    | COUNT_OPTIONS
    | {"__order", "__page", "__cursor", "__total", "__range_header", "__range_header_name"}
)

Parameters = Mapping[str, Sequence[str]]


class Count(str, Enum):
    """How a total is found."""

    exact = "exact"
    estimated = "estimated"


@dataclass
class ListQuery:
    """What was asked for. `cursor` is None without cursors and empty for the first page."""

    shape: Shape
    where: list[WhereRaw] = field(default_factory=list)
    order: list[OrderTerm] = field(default_factory=list)
    search: str | None = None
    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    is_paged: bool = False
    cursor: str | None = None
    count: Count | None = None
    range_header: bool = False
    range_header_name: str = ""
    max_affected: int = DEFAULT_MAX_AFFECTED

    @property
    def offset(self) -> int:
        """Rows before this page."""
        return 0 if self.cursor is not None else (self.page - 1) * self.page_size


def parse_query(
    table: type[Table],
    pairs: Iterable[tuple[str, str]],
    options: frozenset[str] = LIST_OPTIONS,
    *,
    filters: bool = True,
) -> ListQuery:
    """Reads the pairs of a query string, of which only `options` and, if asked, filters may
    be there. Raises `Problem` 400 that names the parameter."""
    parameters: dict[str, list[str]] = {}
    for name, value in pairs:
        parameters.setdefault(name.removesuffix("[]"), []).append(value)
    for name, values in parameters.items():
        _check(name, values, name in options or (filters and not name.startswith("__")))
    query = ListQuery(_shape(table, parameters))
    _read_page(table, query, parameters)
    query.where = _filters(table, parameters)
    return query


def _check(name: str, values: Sequence[str], is_known: bool) -> None:
    if not is_known:
        refuse(name, "is not a parameter here")
    if any("\x00" in value for value in values):
        refuse(name, "holds a NUL character")
    if len(values) > MAX_REPEATS:
        refuse(name, f"is given more than {MAX_REPEATS} times")


def _single(parameters: Parameters, name: str) -> str | None:
    values = parameters.get(name)
    if values and len(values) > 1:
        refuse(name, "is given more than once")
    return values[0] if values else None


def _listed(parameters: Parameters, name: str) -> list[str]:
    items = [item for value in parameters.get(name, ()) for item in value.split(",")]
    if len(items) > MAX_VALUES:
        refuse(name, f"is given more than {MAX_VALUES} values")
    return items


def _boolean(parameters: Parameters, name: str) -> bool:
    value = _single(parameters, name)
    return value is not None and boolean(name, value)


def _integer(parameters: Parameters, name: str, default: int, most: int) -> int:
    value = _single(parameters, name)
    return default if value is None else integer(name, value, 1, most)


# -- Shape, order and page ---------------------------------------------------


def _shape(table: type[Table], parameters: Parameters) -> Shape:
    return parse_shape(
        table,
        _listed(parameters, "__visible_fields"),
        _listed(parameters, "__include"),
        readable=_boolean(parameters, "__readable"),
    )


def _read_page(table: type[Table], query: ListQuery, parameters: Parameters) -> None:
    query.search = _search(table, parameters)
    ranked = query.search is not None
    query.order = complete_order(table, parse_order(table, _listed(parameters, "__order")), ranked=ranked)
    many = query.shape.has_many()
    query.page_size = _integer(
        parameters, "__page_size", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE_WITH_MANY if many else MAX_PAGE_SIZE
    )
    query.page = _integer(parameters, "__page", 1, MAX_PAGE)
    query.cursor = _single(parameters, "__cursor")
    query.is_paged = not parameters.keys().isdisjoint({"__page", "__page_size", "__cursor"})
    if query.cursor is not None and "__page" in parameters:
        refuse("__page", "and __cursor are two ways to page; give one")
    query.count = _count(parameters)
    query.max_affected = _integer(parameters, "__max_affected", DEFAULT_MAX_AFFECTED, MAX_AFFECTED)
    query.range_header = _boolean(parameters, "__range_header")
    if query.range_header and query.cursor is not None:
        refuse("__range_header", "counts rows from the first, which __cursor does not know; give one")
    name = _single(parameters, "__range_header_name") or ""
    if "__range_header_name" in parameters and not re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII):
        refuse("__range_header_name", "accepts up to 64 letters, digits, dots, dashes and underscores")
    query.range_header_name = name


def _search(table: type[Table], parameters: Parameters) -> str | None:
    words = _single(parameters, "__search")
    if words is None:
        return None
    if not hasattr(table, "search_function"):
        refuse("__search", f"is not offered on {table._meta.tablename}")
    if not words.strip() or len(words) > MAX_SEARCH:
        refuse("__search", f"accepts 1 to {MAX_SEARCH} characters")
    return words


def _count(parameters: Parameters) -> Count | None:
    value = _single(parameters, "__count")
    if value is None:
        return Count.exact if _boolean(parameters, "__total") else None
    try:
        return Count(value)
    except ValueError:
        refuse("__count", "accepts exact or estimated")


# -- Filters -----------------------------------------------------------------


def _filters(table: type[Table], parameters: Parameters) -> list[WhereRaw]:
    size = 0
    clauses: list[WhereRaw] = []
    stock: dict[str, dict[str, Sequence[str]]] = {}
    for name, values in parameters.items():
        if name in ("__or", "__and", "__not"):
            groups = [parse_group(name.removeprefix("__"), value) for value in values]
            size += sum(group.size for group in groups)
            if size > MAX_FILTERS:
                _refuse_many()
            clauses += [_group_clause(table, group) for group in groups]
        elif not name.startswith("__"):
            target, suffix = split_suffix(name)
            if suffix in (None, "operator", "match"):
                stock.setdefault(target, {})[suffix or ""] = values
            else:
                size += 1
                clauses.append(filter_clause(table, target, suffix, values))
    clauses += [_stock_clause(table, target, parts) for target, parts in stock.items()]
    if size + len(stock) > MAX_FILTERS:
        _refuse_many()
    return clauses


def _refuse_many() -> NoReturn:
    raise Problem(400, f"A request may hold {MAX_FILTERS} filters.")


def split_suffix(name: str) -> tuple[str, str | None]:
    """`created_at__gte` is `created_at` with `gte`; a key of a document may hold `__` too."""
    target, mark, suffix = name.rpartition("__")
    if mark and target and (suffix in SUFFIXES or suffix in ("operator", "match")):
        return target, suffix
    if mark and "." not in name:
        refuse(name, f"is not a parameter; operators are {', '.join(sorted(SUFFIXES))}")
    return name, None


def _stock_clause(table: type[Table], target: str, parts: Parameters) -> WhereRaw:
    """PiccoloCRUD's form: the operator or the match in a parameter of its own."""
    operator = _single(parts, "operator")
    match = _single(parts, "match")
    if match is not None and match not in MATCHES:
        refuse(f"{target}__match", f"accepts {', '.join(MATCHES)}")
    if match is not None and operator not in (None, "e"):
        refuse(f"{target}__match", f"and the operator {operator} are two ways to compare; give one")
    values = parts.get("")
    if operator in NULLS and values == [""]:  # Stock forms send an empty value along.
        values = None
    return filter_clause(table, target, match or operator, values)


def _group_clause(table: type[Table], group: Group) -> WhereRaw:
    clauses = [_item_clause(table, item) for item in group.items]
    match group.kind:
        case "or":
            return any_of(clauses)
        case "not":
            return opposite(all_of(clauses))
    return all_of(clauses)


def _item_clause(table: type[Table], item: Group | Condition) -> WhereRaw:
    if isinstance(item, Group):
        return _group_clause(table, item)
    target, suffix = split_suffix(item.name)
    return filter_clause(table, target, suffix, [item.value])
