"""The one place where a filter becomes a Piccolo `Where`.

A filter is a column (or a path into a JSON document), an operator, and the values given.
`ne` and `not_in` say no more than the opposite of `e` and `in`: a NULL differs from every
value, as it does in Python, and unlike `<>` in SQL.
"""

from collections.abc import Callable, Sequence
from typing import Any

from piccolo.columns import JSON, JSONB, Array, Column, Text, Varchar
from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from api.problems import Problem
from api.query.values import MAX_VALUES, boolean, find_column, number, refuse, split_values, typed

COMPARISONS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
SETS = ("in", "not_in")
EQUALITIES = ("e", "ne", *SETS)
NULLS = ("is_null", "not_null")
ARRAYS = ("e", "any", "contains", "overlaps")
OPERATORS = ("e", "ne", *COMPARISONS, *SETS, *NULLS)
MATCHES: dict[str, Callable[[str], str]] = {
    "contains": lambda text: f"%{text}%",
    "starts": lambda text: f"{text}%",
    "ends": lambda text: f"%{text}",
    "exact": lambda text: text,
}
SUFFIXES = frozenset({*OPERATORS, *MATCHES, *ARRAYS})
MAX_PATH = 10
MAX_MATCH = 255
_LIKE_SPECIAL = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def escape_like(text: str) -> str:
    """Text in which `%`, `_` and the backslash stand for themselves in LIKE."""
    return text.translate(_LIKE_SPECIAL)


def operators_of(column: Column) -> list[str]:
    """The operators that a column can be asked with, as suffixes of its name."""
    match column:
        case Array():
            return [*ARRAYS, *NULLS]
        case JSON() | JSONB():
            return list(NULLS)
        case Varchar() | Text():
            return [*OPERATORS, *MATCHES]
    return [*OPERATORS, "exact"]


def filter_clause(table: type[Table], target: str, operator: str | None, values: Sequence[str] | None) -> WhereRaw:
    """A filter as a clause. `target` is a column, or a path such as `extracted_data.source`.

    Without an operator a text contains the value, a list holds it, and all else equals it.
    Raises `Problem` 400 that names the column and what it accepts.
    """
    column, steps = _resolve(table, target)
    accepted = [*OPERATORS, *MATCHES] if steps else operators_of(column)
    if operator is not None and operator not in accepted:
        refuse(target, f"accepts the operators {', '.join(accepted)}")
    name = column._meta.get_full_name(with_alias=False)
    if operator in NULLS:
        is_null = _single(target, values, boolean, default=True) == (operator == "is_null")
        return _null_clause(name, steps, is_null=is_null)
    if values is None:
        refuse(target, "is missing, while its operator or match is given")
    if steps:
        return _document_clause(target, name, steps, operator or "e", values)
    if isinstance(column, JSON | JSONB):
        refuse(target, f"is a JSON document: ask for a path into it, such as {target}.source=email")
    if isinstance(column, Array):
        return _array_clause(target, name, operator or "e", values)
    if operator is None:
        operator = "contains" if "contains" in accepted and not column._meta.choices else "e"
    return _plain_clause(target, column, operator, values)


def _resolve(table: type[Table], target: str) -> tuple[Column, list[str]]:
    """The column, and the steps of the path into it if it is a document."""
    column_name, _, path = target.partition(".")
    column = find_column(table, column_name, target)
    if path and not isinstance(column, JSON | JSONB):
        refuse(target, f"goes into {column_name}, which is no JSON document")
    return column, _steps(target, path) if path else []


def _plain_clause(target: str, column: Column, operator: str, values: Sequence[str]) -> WhereRaw:
    name = column._meta.get_full_name(with_alias=False)
    if operator in MATCHES and operator != "exact":
        return _match_clause(name, operator, values)
    if operator in SETS:
        values = _split(target, values)
    return _scalar_clause(
        target, name, "e" if operator == "exact" else operator, [typed(column, value) for value in values]
    )


def any_of(clauses: Sequence[WhereRaw]) -> WhereRaw:
    """At least one of the clauses."""
    return _joined(" OR ", clauses)


def all_of(clauses: Sequence[WhereRaw]) -> WhereRaw:
    """Every one of the clauses."""
    return _joined(" AND ", clauses)


def opposite(clause: WhereRaw) -> WhereRaw:
    """What the clause leaves out, rows among them for which it is unknown."""
    return WhereRaw("({}) IS NOT TRUE", clause.querystring)


def _joined(operator: str, clauses: Sequence[WhereRaw]) -> WhereRaw:
    if len(clauses) == 1:
        return clauses[0]
    template = operator.join(["{}"] * len(clauses))
    return WhereRaw(f"({template})", *(clause.querystring for clause in clauses))


def _single(target: str, values: Sequence[str] | None, read: Callable[[str, str], Any], default: Any) -> Any:
    if not values:
        return default
    if len(values) > 1:
        refuse(target, "is given more than once")
    return read(target, values[0])


def _split(target: str, values: Sequence[str]) -> list[str]:
    found = [item for value in values for item in split_values(target, value)]
    if len(found) > MAX_VALUES:
        refuse(target, f"is given more than {MAX_VALUES} values")
    return found


def _steps(target: str, path: str) -> list[str]:
    steps = path.split(".")
    if not all(steps) or len(steps) > MAX_PATH:
        refuse(target, f"accepts a path of 1 to {MAX_PATH} names, such as extracted_data.source")
    return steps


def _null_clause(name: str, steps: list[str], *, is_null: bool) -> WhereRaw:
    test = "IS NULL" if is_null else "IS NOT NULL"
    return WhereRaw(f"({name} #>> {{}}::text[]) {test}", steps) if steps else WhereRaw(f"{name} {test}")


def _scalar_clause(target: str, name: str, operator: str, values: list[Any]) -> WhereRaw:
    if operator in EQUALITIES:
        is_one = len(values) == 1
        clause = WhereRaw(f"{name} = {{}}", values[0]) if is_one else WhereRaw(f"{name} = ANY({{}})", values)
        return opposite(clause) if operator in ("ne", "not_in") else clause
    if len(values) > 1:
        refuse(target, f"is given more than once, and {operator} compares with one value")
    return WhereRaw(f"{name} {COMPARISONS[operator]} {{}}", values[0])


def _match_clause(expression: str, match: str, values: Sequence[str], *args: Any) -> WhereRaw:
    """`args` fill the placeholders of `expression`. Several values widen."""
    if any(len(value) > MAX_MATCH for value in values):  # One long match cannot be interrupted.
        raise Problem(400, f"A text to match may have {MAX_MATCH} characters.")
    pattern = MATCHES[match]
    return any_of([WhereRaw(f"{expression} ILIKE {{}}", *args, pattern(escape_like(value))) for value in values])


def _array_clause(target: str, name: str, operator: str, values: Sequence[str]) -> WhereRaw:
    if operator in ("e", "any"):
        return all_of([WhereRaw(f"{{}} = ANY({name})", value) for value in values])
    symbol = "@>" if operator == "contains" else "&&"
    return WhereRaw(f"{name} {symbol} {{}}::varchar[]", _split(target, values))


def _document_clause(target: str, name: str, steps: list[str], operator: str, values: Sequence[str]) -> WhereRaw:
    """A value inside a document compares as a number with a number, else as text."""
    text = f"({name} #>> {{}}::text[])"
    if operator in MATCHES and operator != "exact":
        return _match_clause(text, operator, values, steps)
    if operator in COMPARISONS:
        if len(values) > 1:
            refuse(target, f"is given more than once, and {operator} compares with one value")
        return _compared_in_document(name, steps, COMPARISONS[operator], values[0])
    if operator in SETS:
        values = _split(target, values)
    numbers = [parsed for value in values if (parsed := number(value)) is not None]
    clause = WhereRaw(f"{text} = ANY({{}}::text[])", steps, list(values))
    if numbers:
        clause = any_of([clause, _as_number(name, steps, "= ANY({}::numeric[])", numbers)])
    return opposite(clause) if operator in ("ne", "not_in") else clause


def _compared_in_document(name: str, steps: list[str], symbol: str, value: str) -> WhereRaw:
    parsed = number(value)
    if parsed is not None:
        return _as_number(name, steps, f"{symbol} {{}}::numeric", parsed)
    return WhereRaw(
        f"CASE jsonb_typeof({name} #> {{}}::text[]) WHEN 'string' THEN "
        f'({name} #>> {{}}::text[]) COLLATE "C" {symbol} {{}} END',
        steps,
        steps,
        value,
    )


def _as_number(name: str, steps: list[str], comparison: str, value: Any) -> WhereRaw:
    return WhereRaw(
        f"CASE jsonb_typeof({name} #> {{}}::text[]) WHEN 'number' THEN "
        f"({name} #>> {{}}::text[])::numeric {comparison} END",
        steps,
        steps,
        value,
    )
