"""Component schemas: what goes in, what comes out, and every problem.

A row comes out complete, unless a request asks for some fields only: `CaseOut` is the whole
row and may bring related rows, `CasePart` is whatever was asked for.
"""

from typing import Any

from piccolo.columns import Column, ForeignKey
from piccolo.table import Table

from api.crud.derived import with_sources
from api.crud.models import create_body, output_model, patch_body
from api.query.parse import MAX_PAGE_SIZE
from api.query.relations import Relation, relations_of
from tenancy.json_documents import document_schema, known_documents

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
# What PostgreSQL's text cannot hold.
NO_NUL = r"^[^\x00]*$"

PROBLEM: Schema = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "A page about problems of this kind."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong with this request."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "request_id": {"type": "string", "format": "uuid", "description": "Leads to the request in the log."},
        "errors": {
            "type": "array",
            "description": "The fields that are to blame.",
            "items": {
                "type": "object",
                "required": ["field", "pointer", "message"],
                "properties": {
                    "field": {"type": "string", "examples": ["confidence_json.fields.payer"]},
                    "pointer": {"type": "string", "examples": ["/confidence_json/fields/payer"]},
                    "message": {"type": "string"},
                },
            },
        },
    },
}

_PAGE: dict[str, Schema] = {
    "page": {"type": "integer", "minimum": 1},
    "page_size": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE},
    "total": {"type": "integer", "minimum": 0},
    "total_pages": {"type": "integer", "minimum": 0},
    "next_cursor": {"type": ["string", "null"]},
}


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def either(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def json_object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    """An object of just these properties, all required unless told otherwise."""
    return {
        "type": "object",
        "required": list(properties) if required is None else required,
        "properties": properties,
        "additionalProperties": False,
    }


def table_schemas(table: type[Table], verbs: frozenset[str]) -> dict[str, Schema]:
    """Every schema of one table, by its name. `verbs` are what some role may do with it."""
    entity = table.__name__
    columns = _columns(table)
    relations = {name: _relation(relation, "Out") for name, relation in relations_of(table).items()}
    readable = {
        f"{column._meta.name}_readable": either({"type": "string"}, NULL) for column in table._meta.foreign_key_columns
    }
    parts = {name: _relation(relation, "Part") for name, relation in relations_of(table).items()}
    by_column = {column._meta.name: _column_part(column, columns) for column in table._meta.foreign_key_columns}
    row = either(ref(f"{entity}Out"), ref(f"{entity}Part"))
    return {
        f"{entity}Out": {
            **json_object({**columns, **relations, **readable}, required=list(columns)),
            "description": f"A row of {table._meta.tablename}, with related rows where __include asks for them.",
        },
        f"{entity}Part": {
            **json_object({**columns, **parts, **readable, **by_column}, required=[]),
            "description": "What __visible_fields asks for.",
        },
        f"{entity}Page": json_object(
            {"rows": {"type": "array", "items": row}, **_PAGE},
            required=["rows"],
        ),
        f"{entity}Rows": json_object({"rows": {"type": "array", "items": ref(f"{entity}Out")}}),
        **{document.__name__: document_schema(document) for document in _documents(table).values()},
        **({f"{entity}In": _body(table, create_body(table))} if verbs & {"create", "update"} else {}),
        **({f"{entity}Patch": _body(table, patch_body(table))} if "update" in verbs else {}),
    }


def _columns(table: type[Table]) -> dict[str, Schema]:
    properties: dict[str, Schema] = output_model(table).model_json_schema()["properties"]
    return {name: _described(table, name, schema) for name, schema in properties.items()}


def _body(table: type[Table], model: Any) -> Schema:
    """What a client sends. The server's columns may be sent back unchanged, which no schema can say."""
    schema: Schema = with_sources(table, model.model_json_schema())
    properties = {name: _described(table, name, item, is_sent=True) for name, item in schema["properties"].items()}
    either_way = {"oneOf": schema["oneOf"]} if "oneOf" in schema else {}
    return {**json_object(properties, required=schema.get("required", [])), **either_way}


def _described(table: type[Table], name: str, schema: Schema, *, is_sent: bool = False) -> Schema:
    """The column's schema without what is for Piccolo's forms, with what its document holds."""
    # A generator of types takes a field with a default for one that is always there.
    default = schema.get("default")
    schema = _without(schema, ("extra", "title", "default"))
    if default is not None:
        schema["description"] = " ".join([schema.get("description") or "", f"Default: `{default}`."]).strip()
    document = _documents(table).get(name)
    if document is None:
        return schema
    # Held to be so when it is written: an older row may be another, and what was redacted is a text.
    whole, *null = schema.get("anyOf", [{key: value for key, value in schema.items() if key != "description"}])
    kinds = [ref(document.__name__), *([] if is_sent else [whole]), *null]
    return {"description": schema.get("description", ""), **either(*kinds)}


def _documents(table: type[Table]) -> dict[str, type]:
    """What the table's JSON columns are known to hold, by column."""
    prefix = f"{table._meta.tablename}."
    known = known_documents().items()
    return {key.removeprefix(prefix): document for key, document in known if key.startswith(prefix)}


def _without(schema: Any, names: tuple[str, ...]) -> Any:
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if key not in names}
        return {key: _without(value, names) for key, value in kept.items() if value is not None}
    return [_without(item, names) for item in schema] if isinstance(schema, list) else schema


def _relation(relation: Relation, kind: str) -> Schema:
    row = ref(f"{relation.target.__name__}{kind}")
    return {"type": "array", "items": row} if relation.is_many else either(row, NULL)


def _column_part(column: ForeignKey[Any], columns: dict[str, Schema]) -> Schema:
    """A reference, or what was asked for of the row that it leads to."""
    target = column._foreign_key_meta.resolved_references
    return either(columns[column._meta.name], ref(f"{target.__name__}Part"), NULL)


def value_schema(column: Column) -> Schema:
    """One value of a column, as a filter compares with it."""
    schema: Schema = output_model(column._meta.table).model_json_schema()["properties"][column._meta.name]
    schema = _without(schema, ("extra", "title", "description"))
    alternatives = [item for item in schema.get("anyOf", [schema]) if item != NULL]
    value: Schema = alternatives[0]
    if value.get("type") == "string" and not {"format", "enum"} & value.keys():
        return {"type": "string", "pattern": NO_NUL}
    return value
