"""The operations on one table: parameters, bodies, and every answer they can give."""

from typing import Any

from piccolo.table import Table

from api.crud.models import unique_key
from api.crud.reading import MAX_OFFSET
from api.crud.tabular import MAX_ROWS
from api.openapi.parameters import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    PREFER,
    ROW_ID,
    affected_parameters,
    filter_parameters,
    page_parameters,
    query,
    shape_parameters,
)
from api.openapi.schemas import NO_NUL, Schema, either, json_object, ref
from api.problems import TITLES
from api.query.filters import MAX_MATCH
from api.query.parse import MAX_PAGE_SIZE

Operation = dict[str, Any]

ALWAYS = (400, 401, 403, 429, 503, 504)
WITH_BODY = (409, 413, 415, 422)


def headers(*names: str) -> Schema:
    """Headers of an answer."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


_ETAG = headers("ETag")
_ALWAYS = headers("X-Request-ID", "RateLimit", "RateLimit-Policy")


def problem_name(status: int) -> str:
    """The component that describes problems of a status."""
    return "".join(word.title() for word in TITLES[status][0].split("-"))


def operation(name: str, tag: str, summary: str, answers: dict[str, Schema], *problems: int, **more: Any) -> Operation:
    """`answers` are the successes by status; whatever may go wrong anywhere is added."""
    refused = {str(s): {"$ref": f"#/components/responses/{problem_name(s)}"} for s in sorted({*ALWAYS, *problems})}
    return {"operationId": name, "tags": [tag], "summary": summary, **more, "responses": {**answers, **refused}}


def success(description: str, schema: Schema | None = None, own_headers: Schema | None = None) -> Schema:
    """A success, of JSON if it has a schema."""
    content = {"content": {"application/json": {"schema": schema}}} if schema is not None else {}
    return {"description": description, "headers": {**(own_headers or {}), **_ALWAYS}, **content}


NOT_MODIFIED = success("The client has it already.", None, _ETAG)


def table_paths(table: type[Table], verbs: frozenset[str]) -> dict[str, Operation]:
    """The paths of one table. `verbs` are what some role may do: `read`, `create`, …"""
    name = table._meta.tablename
    root = _of_rows(table)
    row = {"parameters": [ROW_ID], **_of_row(table)}
    needed = {"post": "create", "put": "update", "patch": "update", "delete": "delete"}
    paths = {f"/api/{name}/": root, f"/api/{name}/{{row_id}}/": row, **_beside_rows(table)}
    return {
        path: {verb: item for verb, item in operations.items() if needed.get(verb, "read") in verbs}
        for path, operations in paths.items()
    }


def _of_rows(table: type[Table]) -> Operation:
    name, entity = table._meta.tablename, table.__name__
    page = success(
        f"A page of {name}.", ref(f"{entity}Page"), headers("ETag", "Link", "Content-Range", "Content-Disposition")
    )
    page["content"]["text/csv"] = {"schema": {"type": "string"}}
    created = success(
        "What was created, or merged.",
        either(ref(f"{entity}Out"), ref(f"{entity}Rows")),
        headers("ETag", "Location", "Idempotent-Replayed", "Preference-Applied"),
    )
    created["links"] = _links(entity)
    created_or_merged = {"201": created}
    if unique_key(table):
        stored = either(ref(f"{entity}Out"), ref(f"{entity}Rows"))
        created_or_merged["200"] = success("What was merged.", stored, _ETAG)
    changed = success("The rows as stored.", ref(f"{entity}Rows"))
    rows = {"type": "array", "items": ref(f"{entity}In"), "minItems": 1, "maxItems": MAX_ROWS}
    affected = affected_parameters(table)
    return {
        "get": operation(
            f"list{entity}", name, f"List {name}", {"200": page, "304": NOT_MODIFIED},
            parameters=[*shape_parameters(table), *page_parameters(table), *filter_parameters(table), IF_NONE_MATCH],
        ),
        "post": operation(
            f"create{entity}", name, f"Create one of {name}, or many: all or none", created_or_merged,
            *WITH_BODY, parameters=[IDEMPOTENCY_KEY, *([PREFER] if unique_key(table) else [])],
            requestBody=_body(either(ref(f"{entity}In"), rows), csv=True),
        ),
        "patch": operation(
            f"changeMany{entity}", name, f"Change the {name} that a filter finds", {"200": changed}, *WITH_BODY,
            parameters=[*affected], requestBody=_body(ref(f"{entity}Patch")),
        ),
        "delete": operation(
            f"deleteMany{entity}", name, f"Delete the {name} that a filter finds",
            {"204": success("Deleted; Content-Range says how many.", None, headers("Content-Range"))}, 409,
            parameters=[*affected],
        ),
    }  # fmt: skip


def _of_row(table: type[Table]) -> Operation:
    name, entity = table._meta.tablename, table.__name__
    row = success("The row.", either(ref(f"{entity}Out"), ref(f"{entity}Part")), _ETAG)
    stored = success("The row as stored.", ref(f"{entity}Out"), _ETAG)
    return {
        "get": operation(
            f"read{entity}", name, f"Read one of {name}", {"200": row, "304": NOT_MODIFIED}, 404,
            parameters=[*shape_parameters(table), IF_NONE_MATCH],
        ),
        "put": operation(
            f"replace{entity}", name, f"Replace one of {name}", {"200": stored}, 404, 412, *WITH_BODY,
            parameters=[IF_MATCH], requestBody=_body(ref(f"{entity}In")),
        ),
        "patch": operation(
            f"change{entity}", name, f"Change one of {name}", {"200": stored}, 404, 412, *WITH_BODY,
            parameters=[IF_MATCH], requestBody=_body(ref(f"{entity}Patch")),
        ),
        "delete": operation(
            f"delete{entity}", name, f"Delete one of {name}", {"204": success("Deleted.")}, 404, 409, 412,
            parameters=[IF_MATCH],
        ),
    }  # fmt: skip


def _beside_rows(table: type[Table]) -> dict[str, Operation]:
    name, entity = table._meta.tablename, table.__name__
    whole: Schema = {"type": "integer", "minimum": 0}
    text: Schema = {"type": "string"}
    reference = json_object({"tableName": text, "columnName": text})
    any_object: Schema = {"type": "object", "additionalProperties": True}
    pages = [parameter for parameter in page_parameters(table) if parameter["name"] in ("__count", "__page_size")]
    ids = [
        query("search", {"type": "string", "pattern": NO_NUL, "maxLength": MAX_MATCH}, "Part of the readable name."),
        query(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": MAX_PAGE_SIZE},
            "At most so many.",
        ),
        query("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}, "After so many."),
    ]
    counted = json_object({"count": whole, "page_size": whole})
    answers: dict[str, tuple[str, Schema, list[Any]]] = {
        "ids": ("Keys with readable names", {"type": "object", "additionalProperties": text}, ids),
        "count": (f"Count {name}", counted, [*filter_parameters(table), *pages]),
        "new": ("The defaults of a new row", any_object, []),
        "schema": ("The JSON schema of a row to create", any_object, []),
        "references": (
            f"What refers to {name}", json_object({"references": {"type": "array", "items": reference}}), [],
        ),
    }  # fmt: skip
    return {
        f"/api/{name}/{path}/": {
            "get": operation(
                f"{path}{entity}", name, summary, {"200": success(f"{summary}.", schema)}, parameters=parameters
            )
        }
        for path, (summary, schema, parameters) in answers.items()
    }


def _body(schema: Schema, *, csv: bool = False) -> Schema:
    content = {"application/json": {"schema": schema}}
    if csv:
        content["text/csv"] = {"schema": {"type": "string"}}
    return {"required": True, "content": content}


def _links(entity: str) -> Schema:
    """Where a created row can be found, for programs that follow."""
    return {
        name: {"operationId": f"{name}{entity}", "parameters": {"row_id": "$response.body#/id"}}
        for name in ("read", "change", "delete")
    }
