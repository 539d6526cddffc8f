"""JSON as it leaves: times in RFC 3339 UTC, UUIDs as text, stored documents untouched."""

import json
from typing import Any
from uuid import UUID

import orjson


def dump_json(value: Any) -> bytes:
    """UTF-8 JSON. Raises `orjson.JSONEncodeError` for what has no JSON form."""
    return orjson.dumps(value, default=_encode, option=orjson.OPT_UTC_Z)


def load_stored(body: bytes | str) -> Any:
    """JSON that PostgreSQL wrote, whose numbers may be larger than a client may send."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _encode(value: Any) -> str:
    if isinstance(value, UUID):  # asyncpg has a subclass of its own, which orjson does not take.
        return str(value)
    raise TypeError
