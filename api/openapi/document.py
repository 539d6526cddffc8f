"""The whole document, as JSON values. https://spec.openapis.org/oas/v3.1.0"""

from collections.abc import Mapping, Sequence
from typing import Any

from piccolo.table import Table

from api.accepting import Acceptance
from api.openapi.actions import action_paths, action_schemas
from api.openapi.event_stream import event_stream_paths
from api.openapi.operations import WITH_BODY, operation, problem_name, success, table_paths
from api.openapi.schemas import PROBLEM, Schema, json_object, ref, table_schemas
from api.openapi.versions import version_paths, version_schemas
from api.problems import MEDIA_TYPE, TITLES
from tenancy.actions import Action
from tenancy.permissions import Operation, allowed_to_any
from tenancy.tables import Role

Document = dict[str, Any]

_DESCRIPTION = """\
Every path asks for a bearer token; the user that it belongs to decides about tenant and role.

**Filters.** `status=pending` compares, `payer=aet` finds a text that contains it, and
`created_at__gte=…` names an operator; all filters must hold. Besides the parameters listed,
every column takes every operator of its type, PiccoloCRUD's form with the operator in a
parameter of its own (`created_at=…&created_at__operator=gte`, `payer__match=starts`), and a
JSON document takes a path into it: `extracted_data.source=email`,
`confidence_json.overall__gte=0.9`. Values of `in` are separated by commas, quoted as in CSV.

**Errors** are problem details (RFC 9457); each `type` is a page.
"""
STREAMED = "events"
UUID: Schema = {"type": "string", "format": "uuid"}
TEXT: Schema = {"type": "string"}
ROLE: Schema = {"type": "string", "enum": [role.value for role in Role]}
_ME = json_object(
    {
        "user": json_object({"id": UUID, "email": TEXT, "name": {"type": ["string", "null"]}, "role": ROLE}),
        "tenant": json_object({"id": UUID, "slug": TEXT, "name": TEXT}),
        "role": ROLE,
        "permissions": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"enum": [operation.value for operation in Operation]}},
        },
    }
)
_HEADERS = {
    "X-Request-ID": "Leads to the request in the log.",
    "RateLimit": "What is left of the limit, and when it begins anew.",
    "RateLimit-Policy": "The limit.",
    "Idempotent-Replayed": "The answer to the first request under this Idempotency-Key, once more.",
    "Preference-Applied": "The preference that was followed.",
    "Content-Disposition": "The name of the file.",
    "ETag": "A strong validator of what was sent, for If-Match and If-None-Match.",
    "Location": "Where the new row is.",
    "Link": "The pages around this one (RFC 8288).",
    "Content-Range": "Which rows these are, of how many.",
    "Retry-After": "Seconds to wait before trying again.",
    "WWW-Authenticate": "What kind of token is needed (RFC 6750).",
    "Allow": "The methods that are possible here.",
}
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def openapi_document(tables: Mapping[type[Table], Sequence[Action]], version: str) -> Document:
    """OpenAPI 3.1 of `/api/` for the tables that it serves, with their actions."""
    me = operation(
        "readMe", "me", "The user, the tenant, and what the role may do", {"200": success("Who I am.", ref("Me"))}
    )
    accept = operation(
        "acceptInvitation", "me", "Becomes the user who was invited", {"200": success("Who I am now.", ref("Me"))},
        *WITH_BODY,
        requestBody={"required": True, "content": {"application/json": {"schema": Acceptance.model_json_schema()}}},
    )  # fmt: skip
    paths: Document = {"/api/me/": {"get": me}, "/api/me/accept/": {"post": accept}}
    schemas: Document = {"Problem": PROBLEM, "Me": _ME}
    for table, actions in tables.items():
        verbs = frozenset(item.value for item in allowed_to_any(table._meta.tablename))
        schemas |= table_schemas(table, verbs) | version_schemas(table)
        paths |= table_paths(table, verbs) | version_paths(table)
        if table._meta.tablename == STREAMED:
            paths |= event_stream_paths(table)
        for action in actions:
            paths |= action_paths(table, action)
            schemas |= action_schemas(action, table.__name__, schemas[f"{table.__name__}Out"])
    parameters: Document = {}
    _hoist(paths, parameters)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Prior-Auth Fastlane", "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": table._meta.tablename, "description": table._meta.help_text or table.__name__} for table in tables
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parameters,
            "responses": {problem_name(status): _problem(status) for status in TITLES if status != 500},
            "headers": {n: {"description": d, "schema": {"type": "string"}} for n, d in _HEADERS.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _hoist(paths: Document, parameters: Document) -> None:
    """Says each parameter once: a list, a count and a bulk change of a table share most of them."""
    for path, operations in paths.items():
        for item in (value for value in operations.values() if isinstance(value, dict)):
            for index, parameter in enumerate(item.get("parameters", ())):
                name = f"{path.split('/')[2]}.{parameter['name']}"
                if parameters.setdefault(name, parameter) != parameter:
                    name = f"{name}.filled"
                if parameters.setdefault(name, parameter) == parameter:
                    item["parameters"][index] = {"$ref": f"#/components/parameters/{name}"}


def _problem(status: int) -> Schema:
    header = _PROBLEM_HEADERS.get(status)
    return {
        "description": TITLES[status][1],
        **({"headers": {header: {"$ref": f"#/components/headers/{header}"}}} if header else {}),
        "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
    }
