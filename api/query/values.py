"""Values of a query string as their column's type, checked so that the database never refuses one."""

import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

from piccolo.columns import (
    UUID,
    BigInt,
    Boolean,
    Column,
    Date,
    DoublePrecision,
    ForeignKey,
    Integer,
    Numeric,
    Real,
    SmallInt,
    Timestamptz,
)
from piccolo.table import Table

from api.problems import Problem
from api.times import in_range
from phi.masking import masked, shown

MAX_VALUES = 200
MAX_REPEATS = 100
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_VALUE = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",]*))(?=,|\Z)')
# https://www.postgresql.org/docs/current/datatype-numeric.html
INTEGER_BITS: dict[type[Column], int] = {SmallInt: 16, Integer: 32, BigInt: 64}


def refuse(name: str, why: str) -> NoReturn:
    """Raises the `Problem` 400 that names a parameter."""
    named = ".".join(map(shown, masked(name).split(".")))
    raise Problem(400, f"Parameter {named} {why}.")


def visible_columns(table: type[Table]) -> list[Column]:
    """The columns that may be seen, asked for and ordered by."""
    return [column for column in table._meta.columns if not column._meta.secret]


def find_column(table: type[Table], column_name: str, parameter: str) -> Column:
    """Raises `Problem` 400 that lists the columns."""
    columns = visible_columns(table)
    for column in columns:
        if column._meta.name == column_name:
            return column
    accepted = ", ".join(column._meta.name for column in columns)
    refuse(parameter, f"names {shown(column_name)!r}, no column of {table._meta.tablename}; its columns are {accepted}")


def typed(column: Column, value: str) -> Any:
    """The Python value that compares with the column. Raises `Problem` 400 that says what it accepts."""
    name = column._meta.name
    if column._meta.choices:
        accepted = [choice.value for choice in column._meta.choices]
        if value not in accepted:
            refuse(name, f"accepts {', '.join(accepted)}")
        return value
    reader = next((_READERS[kind] for kind in type(column).__mro__ if kind in _READERS), None)
    if reader is None:
        return value
    read, accepted_text = reader
    try:
        return read(value)
    except (ValueError, OverflowError):
        refuse(name, f"accepts {accepted_text}")


def split_values(name: str, text: str) -> list[str]:
    """Values separated by commas, quoted as in CSV (RFC 4180) where one holds a comma."""
    values: list[str] = []
    at = 0
    while found := _VALUE.match(text, at):
        values.append(found[2] if found[1] is None else found[1].replace('""', '"'))
        at = found.end() + 1
        if found.end() == len(text):
            return values
    refuse(name, 'accepts values separated by commas, quoted as in CSV: "a, b",c')


def number(value: str) -> Decimal | None:
    """The value as a number, if it reads as one."""
    return Decimal(value) if _NUMBER.fullmatch(value) else None


def boolean(name: str, value: str) -> bool:
    """`true` or `false` in the spellings that PiccoloCRUD knows."""
    try:
        return _truth(value)
    except ValueError:
        refuse(name, "accepts true or false")


def integer(name: str, value: str, least: int, most: int) -> int:
    """A whole number within bounds, never clamped."""
    if not re.fullmatch(r"\d{1,12}", value, re.ASCII) or not least <= int(value) <= most:
        refuse(name, f"accepts a whole number from {least} to {most}")
    return int(value)


def parse_time(value: str) -> datetime:
    """An RFC 3339 time or date in UTC; a `+` that arrived as a blank is mended."""
    text = re.sub(r" (\d\d:\d\d)$", r"+\1", value)
    parsed = (
        datetime.fromisoformat(text)
        if len(text) > 10
        else datetime.combine(date.fromisoformat(text), datetime.min.time())
    )
    return in_range((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC))


def _decimal(value: str) -> Decimal:
    parsed = number(value)
    if parsed is None:
        raise ValueError(value)
    return parsed


def _whole(value: str, bits: int) -> int:
    parsed = int(value) if _INTEGER.fullmatch(value) else None
    if parsed is None or not -(2 ** (bits - 1)) <= parsed < 2 ** (bits - 1):
        raise ValueError(value)
    return parsed


def _finite(value: str) -> float:
    parsed = float(value) if _FLOAT.fullmatch(value) else math.nan
    if not math.isfinite(parsed):
        raise ValueError(value)
    return parsed


def _truth(value: str) -> bool:
    spelled = _BOOLEANS.get(value.lower())
    if spelled is None:
        raise ValueError(value)
    return spelled


# What reads a value, and what it accepts in words; a text needs neither.
_READERS: dict[type[Column], tuple[Callable[[str], Any], str]] = {
    UUID: (uuid.UUID, "a UUID"),
    ForeignKey: (uuid.UUID, "a UUID"),
    Boolean: (_truth, "true or false"),
    Timestamptz: (parse_time, "a time as in RFC 3339, such as 2026-01-31T12:00:00Z"),
    Date: (date.fromisoformat, "a date such as 2026-01-31"),
    DoublePrecision: (_finite, "a number"),
    Real: (_finite, "a number"),
    Numeric: (_decimal, "a number"),
    **{kind: (partial(_whole, bits=bits), f"a whole number of {bits} bits") for kind, bits in INTEGER_BITS.items()},
}
