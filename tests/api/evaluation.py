"""What a list should answer: filters, groups and orders evaluated in Python, over rows as JSON.

Written from what the query language promises, not from how the service keeps it: no SQL, and
none of the service's code.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]


class Kind(str, Enum):
    """What a column holds, as far as filters tell it apart."""

    text = "text"
    choice = "choice"
    key = "key"
    time = "time"
    number = "number"
    flag = "flag"
    array = "array"
    document = "document"


@dataclass(frozen=True)
class Filter:
    """`values` are what is meant; `written` is how the query string says it."""

    target: str
    operator: str | None
    values: tuple[str, ...]
    written: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """`kind` is `or`, `and` or `not`."""

    kind: str
    items: "tuple[Item, ...]"


Item = Filter | Group


@dataclass(frozen=True)
class Term:
    """A column of an order; `nulls` is a suffix or empty."""

    column: str
    is_descending: bool = False
    nulls: str = ""

    def __str__(self) -> str:
        return f"{'-' if self.is_descending else ''}{self.column}{self.nulls}"

    @property
    def nulls_first(self) -> bool:
        return self.nulls == ".nullsfirst" if self.nulls else self.is_descending


MATCHES: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part.lower() in text.lower(),
    "starts": lambda text, part: text.lower().startswith(part.lower()),
    "ends": lambda text, part: text.lower().endswith(part.lower()),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda left, right: bool(left < right),
    "lte": lambda left, right: bool(left <= right),
    "gt": lambda left, right: bool(left > right),
    "gte": lambda left, right: bool(left >= right),
}
OPPOSITES = {"ne": "e", "not_in": "in", "not_null": "is_null"}


@dataclass(frozen=True)
class Evaluation:
    """Of one table. `ranks` numbers all texts in the order of the database's collation."""

    kinds: Mapping[str, Kind]
    ranks: Mapping[str, int]

    def select(self, rows: Sequence[Row], items: Sequence[Item], terms: Sequence[Term]) -> list[Row]:
        """The rows for which every item holds, the newest first unless asked otherwise, ties by key."""
        found = [row for row in rows if all(self.holds(item, row) for item in items)]
        # Sorting is stable: the last column first.
        for term in reversed((*(terms or [Term("created_at", is_descending=True)]), Term("id"))):
            nulls = [row for row in found if row[term.column] is None]
            others = sorted(
                (row for row in found if row[term.column] is not None),
                key=lambda row, column=term.column: self.comparable(self.kinds[column], row[column]),  # type: ignore[misc]
                reverse=term.is_descending,
            )
            found = nulls + others if term.nulls_first else others + nulls
        return found

    def holds(self, item: Item, row: Row) -> bool:
        """Whether the row is among those that the filter or group asks for."""
        if isinstance(item, Group):
            held = [self.holds(part, row) for part in item.items]
            return {"or": any(held), "and": all(held), "not": not all(held)}[item.kind]
        column, *path = item.target.split(".")
        value, operator = row[column], item.operator
        is_opposite = operator in OPPOSITES
        operator = OPPOSITES.get(operator or "", operator)
        if path:
            held_alone = _inside_holds(_dig(value, path), operator or "e", item.values)
        else:
            held_alone = self._column_holds(self.kinds[column], value, operator, item.values)
        return held_alone is not is_opposite

    def _column_holds(self, kind: Kind, value: Any, operator: str | None, values: Sequence[str]) -> bool:
        if operator == "is_null":
            return (value is None) is _is_wanted(values)
        if value is None:
            return False
        if kind is Kind.array:
            wanted = set(values)
            return bool(wanted & set(value)) if operator == "overlaps" else wanted <= set(value)
        operator = operator or ("contains" if kind is Kind.text else "e")
        if operator in MATCHES:
            return any(MATCHES[operator](value, part) for part in values)
        if operator in COMPARISONS:
            return COMPARISONS[operator](self.comparable(kind, value), self.comparable(kind, values[0]))
        return any(self.comparable(kind, value) == self.comparable(kind, given) for given in values)

    def comparable(self, kind: Kind, value: Any) -> Any:
        """What the value compares as, be it from a row or from a query."""
        match kind:
            case Kind.text | Kind.choice:
                return self.ranks[value]
            case Kind.key:
                return UUID(value).int
            case Kind.time:
                return datetime.fromisoformat(value)
            case Kind.number:
                return float(value)
            case Kind.flag:
                return value in (True, "true")
            case Kind.array:
                return [self.ranks[element] for element in value]
        raise AssertionError("a document does not compare")


def _is_wanted(values: Sequence[str]) -> bool:
    return not values or values[0] == "true"


# -- Inside of documents -----------------------------------------------------


def _dig(document: Any, path: Sequence[str]) -> Any:
    """The value at the path; None where it is missing or null."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.lstrip("-").isdigit():
            document = document[int(step)] if -len(document) <= int(step) < len(document) else None
        else:
            return None
    return document


def _inside_holds(value: Any, operator: str, values: Sequence[str]) -> bool:
    if operator == "is_null":
        return (value is None) is _is_wanted(values)
    if value is None:
        return False
    if operator in MATCHES:
        return any(MATCHES[operator](_text_of(value), part) for part in values)
    if operator not in COMPARISONS:
        return any(_text_of(value) == given or _are_equal_numbers(value, given) for given in values)
    number = _number(values[0])
    if number is not None:
        return _is_number(value) and COMPARISONS[operator](value, number)
    return isinstance(value, str) and COMPARISONS[operator](value, values[0])


def _text_of(value: Any) -> str:
    """As PostgreSQL writes it."""
    match value:
        case str():
            return value
        case Decimal():
            return f"{value:f}"
    return json.dumps(value, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _are_equal_numbers(value: Any, given: str) -> bool:
    number = _number(given)
    return number is not None and _is_number(value) and bool(value == number)


def _number(text: str) -> Decimal | int | None:
    """What reads as a number in JSON does here."""
    try:
        found: Any = read_json(text)
    except ValueError:
        return None
    return found if _is_number(found) else None


def read_json(text: str) -> Any:
    """With every digit of every number."""
    return json.loads(text, parse_float=Decimal)
