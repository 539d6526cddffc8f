"""The OpenAPI 3.1 document of all of `/api`, generated from the tables.

https://spec.openapis.org/oas/v3.1.0
"""

from collections.abc import Iterable, Mapping
from typing import Any

from piccolo.table import Table

from api.crud import TenantCRUD
from api.models import create_body, output_model, patch_body

Document = dict[str, Any]

_PROBLEM: Document = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "pointer", "message"],
                "properties": {name: {"type": "string"} for name in ("field", "pointer", "message")},
            },
        },
    },
}
_ROW_ID: Document = {"name": "row_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
_LIST_PARAMETERS: Mapping[str, Document] = {
    "__order": {"type": "string", "description": "Columns, comma-separated; a dash before one reverses it."},
    "__page": {"type": "integer", "minimum": 1, "default": 1},
    "__page_size": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
    "__total": {"type": "boolean", "default": False},
    "__visible_fields": {"type": "string"},
    "__readable": {"type": "boolean", "default": False},
    "__range_header": {"type": "boolean", "default": False},
    "__range_header_name": {"type": "string"},
}


def openapi_document(endpoints: Iterable[TenantCRUD], version: str) -> Document:
    """The whole document, as JSON values."""
    paths: Document = {"/api/me/": {"get": _operation("The user, the tenant, and what the role may do", "Me", {})}}
    schemas: Document = {"Problem": _PROBLEM}
    for endpoint in endpoints:
        table = endpoint.table
        for model in (output_model(table), create_body(table), patch_body(table)):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        paths.update(_table_paths(table))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Prior-Auth Fastlane", "version": version},
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": {
                "Problem": {
                    "description": "What went wrong (RFC 9457)",
                    "content": {"application/problem+json": {"schema": _ref("Problem")}},
                }
            },
        },
    }


def _table_paths(table: type[Table]) -> Document:
    name, tag, entity = table._meta.tablename, table._meta.tablename, table.__name__
    row, rows = _ref(f"{entity}Out"), _object(rows={"type": "array", "items": _ref(f"{entity}Out")})
    created, patched = _ref(f"{entity}In"), _ref(f"{entity}Patch")
    parameters = [{"name": n, "in": "query", "schema": schema} for n, schema in _LIST_PARAMETERS.items()]
    parameters += [
        {"name": c._meta.name, "in": "query", "schema": {"type": "string"}, "description": "Filter."}
        for c in table._meta.columns
    ]
    paths = {
        "": {
            "get": {**_operation(f"List {name}", tag, rows), "parameters": parameters},
            "post": _operation(f"Create one of {name}", tag, row, created, "201"),
        },
        "{row_id}/": {
            "parameters": [_ROW_ID],
            "get": _operation(f"Read one of {name}", tag, row),
            "put": _operation(f"Replace one of {name}", tag, row, created),
            "patch": _operation(f"Change one of {name}", tag, row, patched),
            "delete": _operation(f"Delete one of {name}", tag, None, None, "204"),
        },
        "ids/": {"get": _operation("Keys with readable names", tag, {"type": "object"})},
        "count/": {"get": _operation(f"Count {name}", tag, _object(count={"type": "integer"}))},
        "new/": {"get": _operation("The defaults of a new row", tag, {"type": "object"})},
        "schema/": {"get": _operation("The JSON schema of a row to create", tag, {"type": "object"})},
        "references/": {"get": _operation(f"What refers to {name}", tag, {"type": "object"})},
    }
    return {f"/api/{name}/{path}": operations for path, operations in paths.items()}


def _operation(
    summary: str, tag: str, answer: Document | None, body: Document | None = None, status: str = "200"
) -> Document:
    success: Document = {"description": summary}
    if answer is not None:
        success["content"] = {"application/json": {"schema": answer}}
    operation: Document = {
        "summary": summary,
        "tags": [tag],
        "responses": {status: success, "default": {"$ref": "#/components/responses/Problem"}},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Document) -> Document:
    return {"type": "object", "required": list(properties), "properties": properties}
