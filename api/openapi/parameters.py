"""Parameters of the query language, each with the type of what it compares with."""

from typing import Any

from piccolo.columns import JSON, JSONB, Array, Boolean, Column, DoublePrecision, Timestamptz
from piccolo.table import Table

from api.openapi.schemas import NO_NUL, Schema, value_schema
from api.query.filters import ARRAYS, COMPARISONS, MATCHES, MAX_MATCH, NULLS, SETS
from api.query.order import NULL_ORDERS
from api.query.parse import (
    DEFAULT_MAX_AFFECTED,
    DEFAULT_PAGE_SIZE,
    MAX_AFFECTED,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    MAX_SEARCH,
    Count,
)
from api.query.relations import relations_of
from api.query.values import MAX_VALUES, visible_columns
from tenancy.json_documents import document_fields, known_documents

Parameter = dict[str, Any]
BOOLEAN: Schema = {"anyOf": [{"type": "boolean"}, {"enum": ["true", "True", "t", "1", "false", "False", "f", "0"]}]}
LISTED_TEXT = r'^("([^"\x00]|"")*"|[^",\x00]*)$'
ETAGS = r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'
ROW_ID: Parameter = {
    "name": "row_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_MEANINGS = {
    "ne": "Differs from the value, or is null.",
    "lt": "Is less.",
    "lte": "Is less or equal.",
    "gt": "Is greater.",
    "gte": "Is greater or equal.",
    "in": "Is one of the values.",
    "not_in": "Is none of the values.",
    "is_null": "Is null; with `false`, is not.",
    "not_null": "Is not null; with `false`, is.",
    "contains": "Contains the text, in any case.",
    "starts": "Begins with the text, in any case.",
    "ends": "Ends with the text, in any case.",
    "exact": "Is the text.",
    "any": "Holds the value.",
    "overlaps": "Holds one of the values at least.",
}


def query(name: str, schema: Schema, description: str, **more: Any) -> Parameter:
    """A query parameter."""
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}


def header(name: str, schema: Schema, description: str) -> Parameter:
    """A header of the request."""
    return {"name": name, "in": "header", "schema": schema, "description": description}


def listed(items: Schema, **more: Any) -> dict[str, Any]:
    """A parameter of values separated by commas."""
    schema = {"type": "array", "items": items, "minItems": 1, "maxItems": MAX_VALUES}
    return {"schema": schema, "style": "form", "explode": False, **more}


IF_MATCH = header("If-Match", {"type": "string", "pattern": ETAGS}, "Write only if the row is this version of it.")
IF_NONE_MATCH = header("If-None-Match", {"type": "string", "pattern": ETAGS}, "304 if this is what the client has.")
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    {"type": "string", "pattern": r'^([!#-~]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$'},
    "Repeated within 24 hours with the same request, gives the same answer and has no further effect.",
)
PREFER = header(
    "Prefer",
    {"type": "string"},
    "`resolution=merge-duplicates` changes the row that has the same unique key, instead of refusing a second one.",
)


def shape_parameters(table: type[Table]) -> list[Parameter]:
    """What a row comes with."""
    columns = [column._meta.name for column in visible_columns(table)]
    known = relations_of(table)
    relations = sorted(known)
    related = [f"{name}.{column._meta.name}" for name in relations for column in visible_columns(known[name].target)]
    further = [
        f"{name}.{next_name}"
        for name in relations
        for next_name, relation in sorted(relations_of(known[name].target).items())
        if relation.is_many or not known[name].is_many or relation.column is not known[name].column
    ]
    found = [
        query(
            "__visible_fields",
            **listed({"type": "string", "enum": [*columns, *related]}),
            description="Only these columns; a path reaches along up to three relations.",
        ),
        query("__readable", BOOLEAN, "With the readable name of each row that is referred to."),
    ]
    if relations:
        paths = {"type": "string", "enum": [*relations, *further]}
        meaning = "With these related rows, at most 1,000 of each, newest first; a path reaches along up to three."
        found.append(query("__include", **listed(paths), description=meaning))
    return found


def page_parameters(table: type[Table]) -> list[Parameter]:
    """How a list is ordered and paged."""
    return [
        _order(table),
        query("__page", _whole(1, MAX_PAGE, 1), "The page, from 1."),
        query(
            "__page_size",
            _whole(1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE),
            "Rows of a page; at most 100 with a relation to many.",
        ),
        query("__cursor", {"type": "string"}, "Keyset pages: empty for the first, then the `next_cursor` of the last."),
        query("__total", BOOLEAN, "With the number of rows and pages."),
        query("__count", {"enum": [kind.value for kind in Count]}, "How the total is found; asks for it too."),
        query("__range_header", BOOLEAN, "With a Content-Range header."),
        query("__range_header_name", {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,64}$"}, "Its unit."),
    ]


def _order(table: type[Table]) -> Parameter:
    names = [c._meta.name for c in visible_columns(table) if not isinstance(c, JSON | JSONB)]
    pattern = rf"^-?({'|'.join(names)})({'|'.join(suffix.replace('.', '[.]') for suffix in NULL_ORDERS)})?$"
    return query(
        "__order",
        **listed({"type": "string", "pattern": pattern}),
        description="Columns; a dash reverses one, `.nullsfirst` and `.nullslast` say where nulls go.",
    )


def filter_parameters(table: type[Table]) -> list[Parameter]:
    """A parameter for each column and operator, groups, and search."""
    found = [parameter for column in visible_columns(table) for parameter in _column_parameters(column)]
    group: Schema = {"type": "string", "pattern": NO_NUL}
    found += [
        query("__or", group, "Conditions of which one must hold; `and(…)`, `or(…)` and `not(…)` nest."),
        query("__and", group, "Conditions which must all hold."),
        query("__not", group, "Conditions which must not all hold."),
    ]
    if hasattr(table, "search_function"):
        words: Schema = {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_SEARCH,
            "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$",
        }
        found.append(
            query("__search", words, 'Full text: words, `"phrases"`, `or` and `-without`; the best match first.')
        )
    return found


def affected_parameters(table: type[Table]) -> list[Parameter]:
    """Which rows a bulk change is about."""
    limit = query("__max_affected", _whole(1, MAX_AFFECTED, DEFAULT_MAX_AFFECTED), "Over it, 409 and nothing changes.")
    return [*map(_filled, filter_parameters(table)), limit]


def _filled(parameter: Parameter) -> Parameter:
    """The filter, with a value: a change of many rows takes no empty one."""
    schema: Schema = parameter["schema"]
    if "pattern" in schema:
        return {**parameter, "schema": {**schema, "minLength": 1}}
    if "pattern" in schema.get("items", {}):
        return {**parameter, "schema": {**schema, "items": {**schema["items"], "minLength": 1}}}
    return parameter


def _column_parameters(column: Column) -> list[Parameter]:
    name = column._meta.name
    value = _value(column)
    nulls = [query(f"{name}__{operator}", BOOLEAN, _MEANINGS[operator]) for operator in NULLS if column._meta.null]
    if isinstance(column, JSON | JSONB):
        return [*_document_parameters(column), *nulls]
    if isinstance(column, Array):
        element = {"type": "string", "pattern": NO_NUL}
        several = {operator: listed(_listable(element)) for operator in ARRAYS if operator not in ("e", "any")}
        return [
            query(name, element, f"{name} holds the value."),
            query(f"{name}__any", element, _MEANINGS["any"]),
            query(f"{name}__contains", **several["contains"], description="Holds all of the values."),
            query(f"{name}__overlaps", **several["overlaps"], description=_MEANINGS["overlaps"]),
        ]
    is_text = value.get("pattern") == NO_NUL
    text = {**value, "maxLength": MAX_MATCH}
    found = [
        query(name, text, f"{name} contains the text, in any case.")
        if is_text
        else query(name, value, f"{name} is the value.")
    ]
    found += [query(f"{name}__{operator}", value, _MEANINGS[operator]) for operator in ("ne", *_comparisons(column))]
    found += [
        query(f"{name}__{operator}", **listed(_listable(value)), description=_MEANINGS[operator]) for operator in SETS
    ]
    if is_text:
        found.append(query(f"{name}__exact", value, _MEANINGS["exact"]))
        found += [query(f"{name}__{match}", text, _MEANINGS[match]) for match in MATCHES if match != "exact"]
    return found + nulls


def _document_parameters(column: Column) -> list[Parameter]:
    """The paths that are known of a document; any other can be asked for too."""
    name = column._meta.name
    document = known_documents().get(f"{column._meta.table._meta.tablename}.{name}")
    found: list[Parameter] = []
    for path, kind, _, meaning in document_fields(document) if document else ():
        about = f"{name}.{path}: {meaning or kind}"
        if kind in ("number", "integer"):
            value = {"type": ["number", "string"], "pattern": NO_NUL}
            found += [query(f"{name}.{path}{suffix}", value, about) for suffix in ("", "__gte", "__lte")]
        elif kind == "string":
            found.append(query(f"{name}.{path}", {"type": "string", "pattern": NO_NUL}, about))
    return found


def _comparisons(column: Column) -> tuple[str, ...]:
    """Any column can be compared; for most it makes no sense to say so."""
    return tuple(COMPARISONS) if isinstance(column, Timestamptz | DoublePrecision) else ()


def _value(column: Column) -> Schema:
    return BOOLEAN if isinstance(column, Boolean) else {} if isinstance(column, Array) else value_schema(column)


def _listable(value: Schema) -> Schema:
    """A value among others: a text needs quotes where it holds a comma or a quote."""
    return {"type": "string", "pattern": LISTED_TEXT} if value.get("pattern") == NO_NUL else value


def _whole(least: int, most: int, default: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}
