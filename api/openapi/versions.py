"""The operations on the versions of a row: its history, and the way back."""

from typing import Any

from piccolo.table import Table

from api.crud.history import VERSIONS_A_PAGE, has_history
from api.crud.restoring import can_restore
from api.openapi.operations import NOT_MODIFIED, WITH_BODY, Operation, headers, operation, success
from api.openapi.parameters import IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, ROW_ID, page_parameters, query
from api.openapi.schemas import NULL, Schema, either, json_object, ref
from api.query.parse import MAX_PAGE_SIZE

_TIME: Schema = {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]}
_TEXT: Schema = {"type": ["string", "null"]}
_WHOLE: Schema = {"type": "integer", "minimum": 1}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COLUMNS: Schema = {"type": "object", "additionalProperties": True}
_AT = query("at", _TIME, "The row as it was then, instead of its versions; the only parameter if it is there.")
_PAGE_SIZE = query(
    "__page_size",
    {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": VERSIONS_A_PAGE},
    "Versions of a page.",
)
_CHOICE: Schema = {
    "description": "Which version; needed where the row is there, the last one where it was deleted.",
    "maxProperties": 1,
    "examples": [{"version": 1}, {"at": "2026-01-31T12:00:00Z"}, {}],
    **json_object({"version": {**_WHOLE, "maximum": 2**31 - 1}, "at": _TIME}, required=[]),
}


def version_schemas(table: type[Table]) -> dict[str, Schema]:
    """`CaseVersions`: a page of versions."""
    entity = table.__name__
    version = json_object(
        {
            "version": _WHOLE,
            "action": {"enum": ["create", "update", "delete"]},
            "at": _TIME,
            "user_id": {"type": ["string", "null"], "format": "uuid"},
            "actor": _TEXT,
            "request_id": _TEXT,
            "changes": json_object({"before": _COLUMNS, "after": _COLUMNS}),
            "row": either(ref(f"{entity}Out"), NULL),
        }
    )
    about = {"page": _WHOLE, "page_size": _WHOLE, "total": _COUNT, "total_pages": _COUNT}
    page = json_object({"rows": {"type": "array", "items": version}, **about}, required=["rows"])
    return {f"{entity}Versions": page} if has_history(table) else {}


def version_paths(table: type[Table]) -> dict[str, Operation]:
    """The paths below a row: all tables but the trail have a history, and what may be changed a way back."""
    name, entity = table._meta.tablename, table.__name__
    pages = [item for item in page_parameters(table) if item["name"] in ("__page", "__total")]
    told = success(
        "The versions, the oldest first; with `at`, the row.",
        either(ref(f"{entity}Versions"), ref(f"{entity}Out")),
        headers("ETag", "Link"),
    )
    history = operation(
        f"history{entity}", name, f"Every version of one of {name}, or how it was at a time",
        {"200": told, "304": NOT_MODIFIED}, 404, parameters=[_AT, *pages, _PAGE_SIZE, IF_NONE_MATCH],
    )  # fmt: skip
    restore = operation(
        f"restore{entity}", name, f"Go back to a version of one of {name}, or bring back a deleted one",
        {"200": success("The row as stored.", ref(f"{entity}Out"), headers("ETag"))}, 404, 412, *WITH_BODY,
        parameters=[IF_MATCH, IDEMPOTENCY_KEY],
        requestBody={"required": False, "content": {"application/json": {"schema": _CHOICE}}},
    )  # fmt: skip
    paths: dict[str, Any] = {}
    if has_history(table):
        paths[f"/api/{name}/{{row_id}}/history/"] = {"parameters": [ROW_ID], "get": history}
    if can_restore(table):
        paths[f"/api/{name}/{{row_id}}/restore/"] = {"parameters": [ROW_ID], "post": restore}
    return paths
