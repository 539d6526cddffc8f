"""Idempotency keys: a request that is repeated under its key takes effect once.

The answer is stored in the transaction of its effect, for a day, by tenant and user:
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response

from api.problems import Problem
from phi.masking import holds_identifier
from tenancy.identity import Identity

PURPOSE = "fastlane/idempotency/1"
NO_STORE = "no-store"  # The `Cache-Control` of an answer that is kept nowhere.
KEPT = timedelta(hours=24)
PURGED_AT_ONCE = 100
MAX_KEY_LENGTH = 255
REPEATED_HEADERS = ("content-type", "location", "etag", "preference-applied")

_SQL = Path(__file__).parent / "sql"
_FIND = (_SQL / "idempotency_find.sql").read_text(encoding="utf-8")
_STORE = (_SQL / "idempotency_store.sql").read_text(encoding="utf-8")
_PURGE = (_SQL / "idempotency_purge.sql").read_text(encoding="utf-8")
# The draft's form, a string of RFC 9651: a quote or a backslash in it is escaped.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-~]+")


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """The answer that a request got when it took effect."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def response(self) -> Response:
        """The answer once more, and marked as such."""
        return Response(self.body, self.status, {**self.headers, "Idempotent-Replayed": "true"})


def key_of(headers: Headers) -> str | None:
    """The request's `Idempotency-Key`, quoted as in the draft or bare. Raises `Problem` 400, 422."""
    given = headers.getlist("idempotency-key")
    if not given:
        return None
    key = given[0].strip(" \t")
    quoted = _QUOTED.fullmatch(key)
    if quoted:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    if len(given) > 1 or not (quoted or _BARE.fullmatch(key)) or not 1 <= len(key) <= MAX_KEY_LENGTH:
        detail = f"One Idempotency-Key may be sent, of 1 to {MAX_KEY_LENGTH} printable ASCII characters"
        raise Problem(400, f"{detail}, in double quotes if a blank or a quote is among them.")
    if holds_identifier(key):
        raise Problem(422, "The Idempotency-Key is stored, and looks like something that identifies a person.")
    return key


class IdempotencyKeys:
    """Finds and stores answers, inside the request's bound transaction.

    `key` is `tenancy.secrets.derived_key(settings, PURPOSE)`. Each `connection` is asyncpg's.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def fingerprint(self, method: str, path: str, query_string: bytes, content_type: str, body: bytes) -> bytes:
        """What two requests share only when they are the same. Keyed: a body cannot be guessed from it."""
        return self._digest("request", method.encode(), path.encode(), query_string, content_type.encode(), body)

    async def find(self, connection: Any, identity: Identity, key: str, fingerprint: bytes) -> HeldAnswer | None:
        """The answer to the request, if it has taken effect; otherwise the key is its own until the transaction ends.

        Raises `Problem`: 409 while another request holds the key, 422 when the answer is another request's.
        """
        lock = self._digest("lock", identity.tenant_id.bytes, identity.user_id.bytes, key.encode())
        number = int.from_bytes(lock[:8], "big", signed=True)
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", number):
            detail = "The first request with this Idempotency-Key is still being processed; repeat it in a moment."
            raise Problem(409, detail, headers={"Retry-After": "1"})
        # Not in one statement with the lock: under READ COMMITTED a statement sees what was committed
        # before it began. The last holder's lock ended with its commit, so that this one sees its answer.
        row = await connection.fetchrow(_FIND, identity.tenant_id, identity.user_id, key, KEPT)
        if row is None:
            return None
        if row["is_expired"]:
            await connection.execute("DELETE FROM idempotency_keys WHERE id = $1", row["id"])
            return None
        if row["fingerprint"] != fingerprint:
            raise Problem(422, "This Idempotency-Key was used for another request; take a new one.")
        return HeldAnswer(row["status"], orjson.loads(row["headers"]), row["body"])

    async def store(  # noqa: PLR0913, PLR0917  # An answer alone is three of them.
        self,
        connection: Any,
        identity: Identity,
        key: str,
        fingerprint: bytes,
        status: int,
        headers: Headers,
        body: bytes,
    ) -> None:
        """Keeps the answer of a request that succeeded and for which `find` found none; removes some expired ones.

        The purge comes last: it waits for nobody, and so nobody whom it blocks can block it.
        """
        repeated = {name: headers[name] for name in REPEATED_HEADERS if name in headers}
        answer = (status, orjson.dumps(repeated).decode(), body)
        await connection.execute(_STORE, identity.tenant_id, identity.user_id, key, fingerprint, *answer)
        await connection.execute(_PURGE, identity.tenant_id, KEPT, PURGED_AT_ONCE)

    def _digest(self, label: str, *parts: bytes) -> bytes:
        """Each part stands behind its length, so that no two lists of parts read the same."""
        framed = (len(part).to_bytes(8, "big") + part for part in (label.encode(), *parts))
        return hmac.digest(self._key, b"".join(framed), hashlib.sha256)
