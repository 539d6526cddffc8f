"""The stream of events, which is no part of the CRUD protocol."""

from typing import Any

from piccolo.table import Table

from api.event_stream.endpoint import PARAMETER
from api.event_stream.positions import LONGEST_ID, PATTERN
from api.openapi.operations import headers, operation
from api.openapi.parameters import header, query
from api.openapi.schemas import Schema

_LAST_ID: Schema = {"type": "string", "pattern": f"^({PATTERN})?$", "maxLength": LONGEST_ID}
_ANSWER = """\
Server-sent events without an end: `id`, `event` (the `event_type`) and `data`, a row as `GET /api/{name}/{{id}}/` \
shows it. Comments in between say that the stream lives, or why it ends.
"""


def event_stream_paths(table: type[Table]) -> dict[str, Any]:
    """The path of the stream of the events that `table` holds."""
    name = table._meta.tablename
    answer = {
        "description": _ANSWER.format(name=name),
        "headers": headers("X-Request-ID", "RateLimit", "RateLimit-Policy"),
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    stream = operation(
        f"stream{table.__name__}", name, "Hear of what happens while it happens", {"200": answer},
        parameters=[
            header("Last-Event-ID", _LAST_ID, "Goes on after this event; without it the stream begins with now."),
            query(PARAMETER, _LAST_ID, "The same, for clients that cannot set headers. The header comes first."),
        ],
    )  # fmt: skip
    return {f"/api/{name}/stream/": {"get": stream}}
