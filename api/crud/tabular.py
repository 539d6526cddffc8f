"""Rows as CSV (RFC 4180, UTF-8) and back: what a JSON body holds, in the cells of a table.

An empty cell is null, or a column left out; `""` is the empty text. Python's csv module tells the
two apart from 3.13 on only, hence the small reader here. Nothing that is written is a formula to a
spreadsheet: https://owasp.org/www-community/attacks/CSV_Injection
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from piccolo.columns import JSON, JSONB, Array, Boolean, Column, DoublePrecision

from api.crud.integers import holds_long_integer
from api.problems import FieldError, Problem, invalid

MAX_ROWS = 1000
MAX_COLUMNS = 1000
_LONGEST_NAME_SHOWN = 63

# Blanks, controls, quotes and invisible characters: programs skip some of them, or drop them.
_SKIPPED = (
    r"\s\x00-\x20\x7f-\xa0\"'`\xab\xad\xb4\xbb\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2018-\u201f\u2028-\u202f\u2039\u203a\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uff02\uff07\uff40"
    r"\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff"
)
# The apostrophes in front make the set closed: one more, and it matches still. So one can be undone.
_FORMULA = re.compile(rf"'*+(?:[\t\r\n]|[{_SKIPPED}]*+[=+\-@＝＋－＠])")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')

# Possessive, and without a choice inside a repetition: time and memory stay linear whatever is sent.
_CELL = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*+))(,|\r?\n|\Z)')
_REST_OF_LINE = re.compile(r'[^"\r\n]*+(?:"[^"]*+"[^"\r\n]*+)*+(?:\r?\n|\Z)')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")

# None: empty and without quotes.
Cell = str | None


def csv_line(cells: Sequence[Any]) -> bytes:
    """JSON values as one line."""
    return (",".join(map(_written, cells)) + "\r\n").encode()


def header_line(names: Sequence[str]) -> bytes:
    """The line that names the columns."""
    return csv_line(names)


def row_line(names: Sequence[str], row: Mapping[str, Any]) -> bytes:
    """The values of these columns; a column that the row lacks is empty."""
    return csv_line([row.get(name) for name in names])


def read_csv(body: bytes, columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """The objects that a JSON body would have held, to be validated like one.

    Raises `Problem`: 400 for what is not CSV, 422 with all errors for what does not fit the columns.
    """
    text = _decoded(body)
    names, at = _header(text, columns)
    rows: list[dict[str, Any]] = []
    errors: list[FieldError] = []
    while at < len(text):
        index = len(rows)
        if index == MAX_ROWS:
            raise Problem(422, f"The CSV holds more than {MAX_ROWS:,} rows.")
        cells, at = _line(text, at, len(names))
        rows.append(_row(index, names, cells, columns, errors))
    if errors:
        raise invalid(errors)
    if not rows:
        raise Problem(422, "The CSV holds no rows below its header.")
    return rows


# -- Writing -----------------------------------------------------------------


def _written(value: Any) -> str:
    if value is None:
        return ""
    text = _protected(value) if isinstance(value, str) else orjson.dumps(value).decode()
    if text and not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _protected(text: str) -> str:
    """Text that a spreadsheet takes for text; `_unprotected` undoes it."""
    return f"'{text}" if _FORMULA.match(text) else text


def _unprotected(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text, 1) else text


# -- Lines -------------------------------------------------------------------


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(400, f"The CSV is not UTF-8 at byte {error.start}.") from None
    if "\x00" in text:
        raise Problem(400, "The CSV holds a NUL character.")
    return text


def _line(text: str, at: int, expected: int) -> tuple[list[Cell], int]:
    """The cells of the line at `at`, and where the next begins. What is past one too many is skipped."""
    cells: list[Cell] = []
    while len(cells) <= expected:
        token = _CELL.match(text, at)
        if token is None:
            raise _malformed(text, at)
        at = token.end()
        quoted: Cell = token[1]
        cells.append((token[2] or None) if quoted is None else quoted.replace('""', '"'))
        if token[3] != ",":
            return cells, at
    rest = _REST_OF_LINE.match(text, at)
    if rest is None:
        raise _malformed(text, at)
    return cells, rest.end()


def _malformed(text: str, at: int) -> Problem:
    line = text.count("\n", 0, at) + 1
    return Problem(400, f"The CSV is malformed at line {line}: a quote is out of place, or a line ends in CR alone.")


def _header(text: str, columns: Mapping[str, Column]) -> tuple[list[str], int]:
    """The names in the first line, each a column and there once, and where the rows begin."""
    cells, at = _line(text, 0, MAX_COLUMNS)
    if not any(cells):
        raise Problem(400, "The CSV has no header: its first line names the columns.")
    if len(cells) > MAX_COLUMNS:
        raise Problem(422, f"The header names more than {MAX_COLUMNS:,} columns.")
    names = [_unprotected(cell or "") for cell in cells]
    errors = [FieldError(("column",), message) for message in _header_errors(names, columns)]
    if errors:
        raise invalid(errors)
    return names, at


def _header_errors(names: list[str], columns: Mapping[str, Column]) -> Iterable[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    for name, times in seen.items():
        shown = name if len(name) <= _LONGEST_NAME_SHOWN else f"{name[:_LONGEST_NAME_SHOWN]}…"
        if name not in columns:
            yield f'"{shown}" is not a column that can be set'
        if times > 1:
            yield f'"{shown}" is named {times} times'


# -- Cells -------------------------------------------------------------------


def _row(
    index: int, names: list[str], cells: list[Cell], columns: Mapping[str, Column], errors: list[FieldError]
) -> dict[str, Any]:
    """The row as an object, without its empty cells. What is wrong with it is added to `errors`."""
    if len(cells) != len(names):
        found = len(cells) if len(cells) < len(names) else f"more than {len(names)}"
        errors.append(FieldError((index,), f"has {found} cells where the header has {len(names)}"))
        return {}
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell is None:
            continue
        try:
            row[name] = _value(columns[name], cell)
        except ValueError as error:
            errors.append(FieldError((index, name), str(error)))
    return row


def _value(column: Column, cell: str) -> Any:
    """The JSON value in a cell. Raises `ValueError`, without the value."""
    match column:
        case Array() | JSON() | JSONB():
            return _json(cell)
        case Boolean():
            return _boolean(cell)
        case DoublePrecision():
            return _number(cell)
    return _unprotected(cell)


def _json(cell: str) -> Any:
    try:
        value = orjson.loads(cell)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    if holds_long_integer(cell.encode()):
        raise ValueError("holds an integer beyond 64 bits, which would be rounded; send it as a text")
    return value


def _boolean(cell: str) -> bool:
    lowered = cell.lower()
    if lowered not in ("true", "false"):
        raise ValueError("must be true or false")
    return lowered == "true"


def _number(cell: str) -> Any:
    if not _NUMBER.fullmatch(cell):
        raise ValueError("must be a number as in JSON")
    return _json(cell)
