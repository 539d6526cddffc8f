"""Cursors: where a list was left, sealed so that nobody can make one up.

A cursor holds the order values of the last row of a page, under a MAC that names tenant,
table and order. It opens nothing: the rows that follow are found under the tenant's rules.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from api.query.order import OrderTerm
from api.query.values import refuse

PURPOSE = "fastlane/cursor/1"
_MAC_BYTES = 16


class CursorSeal:
    """Makes cursors and opens its own. `key` is `tenancy.secrets.derived_key(settings, PURPOSE)`."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, tenant_id: UUID, table: str, terms: Sequence[OrderTerm], values: Sequence[Any]) -> str:
        """A URL-safe text."""
        payload = orjson.dumps([_encode(value) for value in values])
        sealed = self._mac(tenant_id, table, terms, payload) + payload
        return _encoded(sealed)

    def open(self, cursor: str, tenant_id: UUID, table: str, terms: Sequence[OrderTerm]) -> list[Any]:
        """The order values. Raises `Problem` 400 for what this service did not make for this list."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            sealed = b""
        mac, payload = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        is_ours = hmac.compare_digest(mac, self._mac(tenant_id, table, terms, payload))
        if not is_ours or cursor != _encoded(sealed):  # Base64 has several spellings of the same bytes.
            refuse("__cursor", "accepts the next_cursor of a page of the same table in the same order")
        return [_decode(term, value) for term, value in zip(terms, orjson.loads(payload), strict=True)]

    def _mac(self, tenant_id: UUID, table: str, terms: Sequence[OrderTerm], payload: bytes) -> bytes:
        purpose = orjson.dumps([str(tenant_id), table, [term.label for term in terms]])
        framed = len(purpose).to_bytes(4) + purpose + payload
        return hmac.new(self._key, framed, hashlib.sha256).digest()[:_MAC_BYTES]


def _encoded(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def _encode(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case float():
            return repr(value)  # JSON has no NaN and no infinity.
        case None | bool() | str() | list():
            return value
    return str(value)


def _decode(term: OrderTerm, value: Any) -> Any:
    return term.read(value) if isinstance(value, str) else value
