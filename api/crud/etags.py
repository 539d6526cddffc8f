"""Strong validators, and the requests that depend on them (RFC 9110, sections 8.8 and 13.1).

A row's tag is a digest of its JSON as stored. In another shape, with fewer columns or with
related rows, the tag names both the stored row and what was sent: `"row.sent"`. Whoever read
either may write with If-Match; it is the stored row that must not have changed.
"""

import re

import xxhash
from starlette.datastructures import Headers

from api.problems import Problem

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# One tag of a list, in which elements may be empty (RFC 9110, section 5.6.1).
_ELEMENT = re.compile(rf"[\s,]*({_TAG})\s*(?=,|\Z)")
_NOTHING = re.compile(r"[\s,]*\Z")


def etag_of(body: bytes, stored: bytes | None = None) -> str:
    """The tag of a body; of a shaped row when the JSON of the `stored` one is given too."""
    if stored is None:
        return f'"{_digest(body)}"'
    return f'"{_digest(stored)}.{_digest(body)}"'


def is_unmodified(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match names the tag, so that a 304 says it all."""
    tags = _tags(headers, "if-none-match")
    return tags is not None and ("*" in tags or etag in {tag.removeprefix("W/") for tag in tags})


def wants_match(headers: Headers) -> bool:
    """Whether a write depends on what is stored."""
    return "if-match" in headers


def require_match(headers: Headers, stored: bytes) -> None:
    """Raises `Problem` 412 when If-Match names another version of the row."""
    tags = _tags(headers, "if-match")
    if tags is None or "*" in tags:
        return
    # A weak tag never matches strongly; of a shaped one the part before the dot is the row's.
    versions = {tag.strip('"').partition(".")[0] for tag in tags if not tag.startswith("W/")}
    if _digest(stored) not in versions:
        raise Problem(
            412, "The row has changed since it was read. Read it again, and apply the change to what is there."
        )


def _digest(body: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(body)  # It tells versions apart, and proves nothing: it need not be slow.


def _tags(headers: Headers, name: str) -> list[str] | None:
    values = headers.getlist(name)
    if not values:
        return None
    text = ", ".join(values).strip()
    if text == "*":
        return ["*"]
    found: list[str] = []
    at = 0
    while element := _ELEMENT.match(text, at):
        found.append(element[1])
        at = element.end()
    if not found or not _NOTHING.match(text, at):
        raise Problem(400, f'{name.title()} accepts "*" or entity tags, each in double quotes.')
    return found
