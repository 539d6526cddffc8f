"""Paths and query strings as a log may keep them: without what may identify somebody.

Kept are names of our own, ids, and values of closed sets; all else is a star. What a column's values are is known
from the tables, whatever the client wrote for one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from urllib.parse import parse_qsl

from piccolo.columns import UUID, Boolean, Column, ForeignKey, Timestamptz
from piccolo.table import Table

from api.problems import Problem
from api.query.filters import MATCHES, NULLS, OPERATORS, SETS
from api.query.groups import Group, parse_group
from api.query.order import NULL_ORDERS, RANK
from api.query.parse import Count, split_suffix
from api.query.relations import relations_of
from api.query.values import boolean, split_values, typed, visible_columns

STAR = "*"
LONGEST_PATH = 500
LONGEST_FILTER = 1_000
MOST_PARAMETERS = 100
KEPT_FILTERS = 500
LONGEST_KEPT = 1_000
_OWN_NAMES = frozenset({
    "", "api", "admin", "tables", "me", "ids", "count", "new", "schema", "references", "history", "restore", "stream",
    "public", "docs", "openapi.json", "grouped", "links", "forms", "user", "media", "change-password",
})  # fmt: skip
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SMALL = re.compile(r"[0-9]{1,7}")
_CLOSED = (UUID, ForeignKey, Boolean, Timestamptz)
_NUMBERS = ("__page", "__page_size", "__max_affected", "limit", "offset")
_FLAGS = ("__total", "__readable", "__range_header")
_NAMES = ("__order", "__visible_fields", "__include")
_WORDS = ("__search", "search", "__cursor", "__range_header_name")
_GROUPS = ("__or", "__and", "__not")


class Masks:
    """For requests about these tables."""

    def __init__(self, tables: Iterable[type[Table]], names: Iterable[str] = ()) -> None:
        """`names` are further parts of paths that are our own."""
        self._columns = {
            table._meta.tablename: {column._meta.name: column for column in visible_columns(table)} for table in tables
        }
        self._own = _OWN_NAMES | self._columns.keys() | frozenset(names)
        self._names = frozenset({RANK, *(name for columns in self._columns.values() for name in columns)})
        self._names |= {name for table in tables for name in relations_of(table)}
        self._masked = lru_cache(KEPT_FILTERS)(self._mask)

    def path(self, path: str) -> str:
        """The path with a star for each segment that is neither a name of ours nor an id."""
        own = self._own
        parts = [part if part in own or _UUID.fullmatch(part) else STAR for part in path.split("/")]
        return _clipped("/".join(parts), LONGEST_PATH)

    def filter(self, path: str, query_string: bytes) -> str | None:
        """The query string, as it is read of the table that the path names."""
        if not query_string:
            return None
        table = next((part for part in path.split("/") if part in self._columns), "")
        mask = self._masked if len(query_string) <= LONGEST_KEPT else self._mask
        return mask(table, query_string)

    def _mask(self, table: str, query_string: bytes) -> str:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)[:MOST_PARAMETERS]
        columns = self._columns.get(table, {})
        return _clipped("&".join(self._pair(columns, name, value) for name, value in pairs), LONGEST_FILTER)

    def _pair(self, columns: Mapping[str, Column], name: str, value: str) -> str:
        name = name.removesuffix("[]")
        if name in _GROUPS:
            return f"{name}={self._group(columns, name.removeprefix('__'), value)}"
        if name in _NAMES:
            return f"{name}={','.join(self._dotted(item) for item in value.split(','))}"
        is_kept = _OPTIONS.get(name)
        if is_kept is not None:
            return f"{name}={value if not value or is_kept(value) else STAR}"
        return self._condition(columns, name, value)

    def _dotted(self, item: str) -> str:
        """A column or a relation, or a path of them."""
        bare = item.removeprefix("-")
        for suffix in NULL_ORDERS:
            bare = bare.removesuffix(suffix)
        return item if all(part in self._names for part in bare.split(".")) or not item else STAR

    def _group(self, columns: Mapping[str, Column], kind: str, text: str) -> str:
        try:
            return self._items(columns, parse_group(kind, text))
        except Problem:
            return STAR

    def _items(self, columns: Mapping[str, Column], group: Group) -> str:
        items = [
            f"{item.kind}{self._items(columns, item)}"
            if isinstance(item, Group)
            else self._condition(columns, item.name, item.value)
            for item in group.items
        ]
        return f"({','.join(items)})"

    def _condition(self, columns: Mapping[str, Column], name: str, value: str) -> str:
        try:
            target, suffix = split_suffix(name)
        except Problem:
            return f"{STAR}={STAR}"
        column_name, dot, _ = target.partition(".")
        column = columns.get(column_name)
        if column is None:
            return f"{STAR}={STAR}"
        shown = f"{column_name}{'.*' if dot else ''}{f'__{suffix}' if suffix else ''}"
        return f"{shown}={_masked_value(None if dot else column, suffix, value)}"


def _masked_value(column: Column | None, suffix: str | None, value: str) -> str:
    """Kept when it is one of few, or an id or a time, and read as such. No column: a value inside a document."""
    if not value:
        return value
    try:
        if suffix in NULLS:
            boolean("", value)
            return value
        if suffix in ("operator", "match"):
            return value if value in OPERATORS or value in MATCHES else STAR
        if column is None or not (column._meta.choices or isinstance(column, _CLOSED)):
            return STAR
        if suffix in SETS:
            return ",".join(_masked_value(column, None, item) for item in split_values("", value))
        read = typed(column, value)
    except Problem:
        return STAR
    return str(read) if isinstance(column, UUID | ForeignKey) else value


def _is_flag(value: str) -> bool:
    return value.lower() in ("true", "false", "t", "f", "1", "0")


_OPTIONS: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys(_NUMBERS, _SMALL.fullmatch),
    **dict.fromkeys(_FLAGS, _is_flag),
    **dict.fromkeys(_WORDS, lambda value: False),
    "__count": lambda value: value in {count.value for count in Count},
}


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
