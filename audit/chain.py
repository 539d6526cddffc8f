"""A checkpoint as the chain has it: read from the database or the ledger, and hashed anew from its parts.

The hashes here and those of `audit/sql/seal_1.sql` are of the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SELECT_LINK = """
SELECT id, previous_hash, upto, next_transaction, entries, parts_digest, hash, key_id, signature,
       trunc(extract(epoch FROM created_at) * 1000000)::text AS microseconds
"""


class Fault(Exception):
    """Something that no honest database has; the message names it."""


@dataclass(frozen=True, slots=True)
class Link:
    """One checkpoint. `microseconds` is the time since 1970 at which it was made."""

    id: int
    previous_hash: bytes
    upto: int
    next_transaction: int
    entries: int
    parts_digest: bytes
    hash: bytes
    key_id: str
    signature: bytes
    microseconds: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Link":
        """From a row of `SELECT_LINK`. A time that is none, such as infinity, is 1970, and then no hash fits."""
        values = dict(row)
        text = str(values["microseconds"])
        return cls(**{**values, "microseconds": int(text) if text.lstrip("-").isdigit() else 0})

    def computed_hash(self) -> bytes:
        """What `hash` must be."""
        parts = (self.id, self.previous_hash.hex(), self.upto, self.next_transaction, self.entries)
        text = " ".join(map(str, (*parts, self.parts_digest.hex(), self.microseconds)))
        return hashlib.sha256(text.encode()).digest()

    def as_json(self) -> dict[str, Any]:
        """Bytes in hexadecimal, the time as RFC 3339."""
        return {
            "id": self.id,
            "previous_hash": self.previous_hash.hex(),
            "upto": self.upto,
            "next_transaction": self.next_transaction,
            "entries": self.entries,
            "parts_digest": self.parts_digest.hex(),
            "hash": self.hash.hex(),
            "created_at": (EPOCH + timedelta(microseconds=self.microseconds)).isoformat(),
            "key_id": self.key_id,
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Link":
        """From what `as_json` made. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        since = datetime.fromisoformat(document["created_at"]) - EPOCH
        return cls(
            id=int(document["id"]),
            previous_hash=bytes.fromhex(document["previous_hash"]),
            upto=int(document["upto"]),
            next_transaction=int(document["next_transaction"]),
            entries=int(document["entries"]),
            parts_digest=bytes.fromhex(document["parts_digest"]),
            hash=bytes.fromhex(document["hash"]),
            key_id=str(document["key_id"]),
            signature=bytes.fromhex(document["signature"]),
            microseconds=since // timedelta(microseconds=1),
        )


def digest_of_parts(parts: list[tuple[str, UUID | None, list[UUID], bytes]]) -> bytes:
    """What `parts_digest` must be: over source, tenant, ids and leaves of each part."""
    lines = []
    for source, tenant_id, ids, leaves in sorted(parts, key=lambda part: (part[0], str(part[1] or ""))):
        content = b"".join(map(_bytes_of, ids)) + leaves
        lines.append(f"{source} {tenant_id or '-'} {hashlib.sha256(content).hexdigest()}")
    return hashlib.sha256("\n".join(lines).encode()).digest()


def _bytes_of(key: UUID) -> bytes:
    return key.bytes
