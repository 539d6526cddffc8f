"""Reads a JSON object from a request, and compares what was sent with what is stored."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
from starlette.requests import Request

from api.crud.integers import holds_long_integer
from api.exchange import body_of
from api.problems import MAX_ERRORS, FieldError, Problem, invalid

MAX_DEPTH = 100
_ACCEPTED = {"POST": {"Accept-Post": "application/json, text/csv"}, "PATCH": {"Accept-Patch": "application/json"}}


def media_type_of(request: Request) -> str:
    """What the body says it is, JSON unless it says otherwise."""
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


def read_json(request: Request) -> Any:
    """The body as a JSON value. Raises `Problem`: 415, or 400 when it can't be parsed."""
    media_type = media_type_of(request)
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise Problem(415, "Send application/json.", headers=_ACCEPTED.get(request.method, {}))
    body = body_of(request.scope)
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    if holds_long_integer(body):
        raise Problem(422, "The body holds an integer beyond 64 bits, which would be rounded; send it as a text.")
    return data


def require_object(data: Any) -> dict[str, Any]:
    """The value as an object that can be stored. Raises `Problem` 422."""
    if not isinstance(data, dict):
        raise Problem(422, "The body must be a JSON object.")
    errors = [] if _is_simple(data) else list(islice(_unstorable(data, []), MAX_ERRORS))
    if errors:
        raise invalid(errors)
    return data


def _is_simple(data: dict[str, Any]) -> bool:
    """Whether a look at the text shows that there is no NUL in it and no deep nesting, as nearly always."""
    try:
        text = orjson.dumps(data)
    except orjson.JSONEncodeError:
        return False
    return b"\\u0000" not in text and text.count(b"{") + text.count(b"[") <= MAX_DEPTH


def is_same(sent: Any, stored: Any) -> bool:
    """Whether a value that was sent back is the stored one, in any spelling of it."""
    if isinstance(sent, str) and isinstance(stored, str) and sent != stored:
        for parse in (datetime.fromisoformat, UUID):
            try:
                return bool(parse(sent) == parse(stored))
            except (ValueError, TypeError):
                continue
    return bool(sent == stored)


def _unstorable(value: Any, way: list[str | int]) -> Iterator[FieldError]:
    """PostgreSQL's text holds no NUL, and deep nesting serves nobody. `way` leads to the value."""
    if len(way) > MAX_DEPTH:
        yield FieldError(tuple(way[:1]), "is nested too deeply")
    elif isinstance(value, str):
        if "\x00" in value:
            yield FieldError(tuple(way), "must not hold a NUL character")
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            if isinstance(name, str) and "\x00" in name:
                yield FieldError(tuple(way), "must not hold a NUL character")
            elif isinstance(item, str | dict | list):
                way.append(name)
                yield from _unstorable(item, way)
                way.pop()
