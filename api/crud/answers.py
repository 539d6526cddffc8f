"""The successes of the CRUD protocol: JSON with its tag, pages with their links."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.crud.etags import etag_of, is_unmodified
from api.encoding import dump_json


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`body` is sent as it is when it is bytes."""
    content = body if isinstance(body, bytes) else dump_json(body)
    return Response(content, status, dict(headers or {}), media_type="application/json")


def row_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A row as it is stored, with its tag."""
    return json_answer(body, status, {"ETag": etag_of(body), **(headers or {})})


def tagged_answer(request: Request, body: bytes, etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """What was read; 304 and no body when the client has it already."""
    all_headers = {"ETag": etag, **(headers or {})}
    if is_unmodified(request.headers, etag):
        return Response(status_code=304, headers=all_headers)
    return json_answer(body, 200, all_headers)


def rows_body(rows: bytes, more: Mapping[str, Any] | None = None) -> bytes:
    """`{"rows": [...]}` of rows that are JSON already, with commas between, and whatever else a page says."""
    rest = dump_json(more)[1:] if more else b"}"
    return b'{"rows":[' + rows + b"]" + (b"," if more else b"") + rest


def link_header(base: str, parameter: str, relations: Mapping[str, str]) -> dict[str, str]:
    """RFC 8288. Each relation is the list at `base`, with the parameter set to its value."""
    links = [f'<{base}{parameter}={value}>; rel="{relation}"' for relation, value in relations.items()]
    return {"Link": ", ".join(links)} if links else {}
