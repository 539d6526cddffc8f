"""Problem details (RFC 9457): one shape for every error, whoever raised it.

Database errors map by SQLSTATE, to the field they are about, without SQL and without values:
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import asyncpg
import orjson
import structlog
from asyncpg.exceptions import _base as asyncpg_base
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response

from phi.masking import masked, shown
from tenancy.engine import DatabaseUnavailable
from tenancy.permissions import Forbidden
from tenancy.tokens import InvalidToken, KeysUnavailable
from tenancy.transaction import TransactionAborted

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
MAX_ERRORS = 100
MAX_NAMED = 10
MAX_NAME = 200

log = structlog.get_logger()

TITLES: dict[int, tuple[str, str]] = {
    400: ("malformed-request", "The request cannot be understood"),
    401: ("unauthenticated", "A valid bearer token is needed"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "Not found"),
    405: ("method-not-allowed", "The method is not allowed here"),
    409: ("conflict", "The request conflicts with what is stored"),
    412: ("precondition-failed", "The row has changed"),
    413: ("content-too-large", "The body is too large"),
    415: ("unsupported-media-type", "The body's media type is not supported"),
    422: ("invalid-content", "The content is not valid"),
    429: ("too-many-requests", "Too many requests"),
    500: ("internal-error", "Something went wrong"),
    503: ("unavailable", "Temporarily unavailable"),
    504: ("timeout", "The request took too long"),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. `path` leads to it from the root of the body.

    Where a name in it is itself what identifies somebody, a star stands for it.
    """

    path: tuple[str | int, ...]
    message: str

    @property
    def name(self) -> str:
        """The path with dots."""
        return _clipped(".".join(map(_named, self.path)))

    def as_json(self) -> dict[str, str]:
        escaped = (_named(part).replace("~", "~0").replace("/", "~1") for part in self.path)
        return {
            "field": self.name,
            "pointer": _clipped("".join(f"/{part}" for part in escaped)),
            "message": self.message,
        }


@dataclass
class Problem(Exception):
    """An answer that says no. Raise it anywhere below the gateway."""

    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, instance: str, request_id: str) -> Response:
        """The problem as an HTTP response to the request for `instance`, a path."""
        slug, title = TITLES.get(self.status, ("error", "The request failed"))
        body: dict[str, Any] = {
            "type": f"/docs/problems/{slug}",
            "title": title,
            "status": self.status,
            "detail": masked(self.detail),
            "instance": "/".join(map(_step, masked(instance).split("/"))),
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        headers = dict(self.headers)
        if self.status in (429, 503):
            headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        if self.status == 401:
            headers.setdefault("WWW-Authenticate", 'Bearer realm="fastlane"')
        return Response(orjson.dumps(body), self.status, headers, media_type=MEDIA_TYPE)


def _step(name: str) -> str:
    """A part of a path, which no name of ours or id makes this long."""
    return shown(name) if len(name) <= MAX_NAME else "*"


def _named(part: str | int) -> str:
    return shown(part) if isinstance(part, str) else str(part)


def _clipped(name: str) -> str:
    """A name that a client made up may be as long as its body."""
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


def not_found() -> Problem:
    """The same for a row that does not exist and a row of another tenant."""
    return Problem(404, "There is no such resource.")


def invalid(errors: Iterable[FieldError]) -> Problem:
    """422 with the fields that are to blame, the first hundred of them."""
    found = tuple(islice(errors, MAX_ERRORS))
    names = list(dict.fromkeys(error.name for error in found))
    more = " and more" if len(names) > MAX_NAMED else ""
    named = ", ".join(names[:MAX_NAMED])
    return Problem(422, f"Not valid: {named}{more}." if named else "The body is not valid.", found)


def from_exception(error: BaseException) -> Problem:
    """The problem that an exception stands for; 500, and a log line, when it is a bug."""
    match error:
        case Problem():
            return error
        case InvalidToken():
            return Problem(401, str(error), headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        case Forbidden():
            return Problem(403, str(error))
        case KeysUnavailable() | DatabaseUnavailable():
            return Problem(503, str(error))
        case StarletteHTTPException():
            return Problem(error.status_code, str(error.detail), headers=error.headers or {})
        case TransactionAborted():
            return Problem(409, "The change could not be made as a whole and was not made at all.")
        case asyncpg_base.DataError():
            return Problem(422, "A value does not fit its column.")
        case asyncpg.PostgresError():
            return _from_postgres(error)
        case asyncpg.InterfaceError() | asyncpg.InternalClientError() | OSError() | TimeoutError():
            return Problem(503, "The database cannot be reached right now.")
    log.error("unhandled exception", exc_info=error)
    return Problem(500, "The server failed to answer. The request id helps to find out why.")


def _from_postgres(error: asyncpg.PostgresError) -> Problem:
    state: str = error.sqlstate or ""
    if state.startswith("FL"):
        return _from_our_trigger(error)
    fields = tuple(FieldError((name,), _MESSAGES.get(state, "is not valid")) for name in _columns(error))
    if state == "23503" and "still referenced" in (error.detail or ""):
        return Problem(409, "Other rows refer to this one.")
    if state == "23505":
        return Problem(409, "A row with these values exists already.", fields)
    if state[:2] in ("22", "23"):
        return invalid(fields)
    known = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        known = _BY_STATE["08"]
    if known:
        return Problem(*known)
    log.error("unexpected database error", sqlstate=state, exc_info=error)
    return Problem(500, "The server failed to answer. The request id helps to find out why.")


_AWAY = (503, "The database cannot serve this right now.")
_BUSY = (503, "Another change was in the way; try again.")
# By SQLSTATE, or by its class, the first two characters.
_BY_STATE = {
    "21000": (422, "Two rows of the list have the same unique key."),
    "42501": (403, "The database does not allow this."),
    "54": (400, "This asks for more than the database can build at once. Ask for less."),
    "57014": (504, "The database took longer than a request may."),
    **dict.fromkeys(("40001", "40P01", "55P03"), _BUSY),
    **dict.fromkeys(("08", "53", "57", "58", "XX"), _AWAY),
}
_MESSAGES = {
    "22001": "is too long",
    "23502": "is required",
    "23503": "refers to a row that does not exist",
    "23505": "is taken already",
    "23514": "is not one of the values allowed",
}


def _from_our_trigger(error: asyncpg.PostgresError) -> Problem:
    """FLnnn: a rule of ours in the database; the message is written for people."""
    status = int((error.sqlstate or "FL422")[2:])
    message = str(error.args[0])
    errors = (FieldError((error.column_name,), message),) if error.column_name else ()
    return Problem(status, message[:1].upper() + message[1:] + ".", errors)


def _columns(error: asyncpg.PostgresError) -> list[str]:
    """The columns that a constraint error is about; the tenant's is nobody's to set."""
    if error.column_name:
        return [error.column_name]
    key = re.match(r"Key \(([^)]+)\)=", error.detail or "")
    if key:
        return [name for name in key[1].split(", ") if name != "tenant_id"]
    # Under row-level security the detail keeps the columns to itself; constraints are named
    # as PostgreSQL names them.
    named = re.fullmatch(
        rf"{error.table_name}_(?:tenant_id_)?(.+?)(?:_tenant_id)?_(?:check|key|fkey)", error.constraint_name or ""
    )
    return [named[1]] if named else []
