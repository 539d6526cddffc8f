"""Compares the rows of a few checkpoints with what was sealed: each is there, as it was, and there are no others.

The hash of a row is computed from its content, never read.
"""

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from audit.chain import Fault, Link, digest_of_parts
from audit.records import Records
from tenancy.transaction import BoundTransaction

ROWS_AT_ONCE = 5_000
TOLERANCE_SECONDS = 60.0  # Of clocks: what is backdated by less is not found.
LOWEST = -(2**63)
HIGHEST = 2**63 - 1

_PARTS = "SELECT checkpoint, source, tenant_id, ids, leaves FROM checkpoint_parts WHERE checkpoint BETWEEN $1 AND $2"
_ROWS = """
SELECT source, tenant_id, id, transaction_id, extract(epoch FROM created_at)::float8 AS seconds, header, body
  FROM audit.sealable_1 WHERE transaction_id >= $1 AND transaction_id < $2
"""
_CONTRADICTION = """
SELECT tenant_id, id, transaction_id FROM audit_logs
 WHERE transaction_id >= $1 AND transaction_id < $2
   AND user_id IS NOT NULL AND actor LIKE 'user:%' AND actor <> 'user:' || user_id
   AND ($3::uuid IS NULL OR tenant_id = $3) ORDER BY transaction_id LIMIT 1
"""


class Sealed(NamedTuple):
    """What a checkpoint says of a row."""

    leaf: bytes
    link: Link
    tenant_id: UUID | None


class RowProof:
    """Goes through the checkpoints in their order. `tenant_id`: looks at the rows of that tenant only."""

    def __init__(self, transaction: BoundTransaction, records: Records, tenant_id: UUID | None) -> None:
        self.rows = 0
        self.redacted = 0
        self.unsealed = 0
        self._transaction = transaction
        self._records = records
        self._tenant_id = tenant_id
        self._upto = LOWEST
        # Of all checkpoints so far: from which number on transactions began after it, and when it was made.
        self._next_numbers = array("q")
        self._made = array("d")

    async def check(self, links: Sequence[Link]) -> None:
        """Raises `Fault` for the first checkpoint, or row of one, that is not as it was sealed."""
        faults: list[tuple[int, str]] = []
        expected = await self._expected(links, faults)
        for link in links:
            self._next_numbers.append(link.next_transaction)
            self._made.append(link.microseconds / 1e6)
        uptos = [link.upto for link in links]
        async for rows in self._read(_ROWS, self._upto, uptos[-1]):
            for row in rows:
                sealed = expected.pop((row["source"], row["id"]), None)
                if sealed is None:
                    number = links[bisect_right(uptos, row["transaction_id"])].id
                    faults.append((number, self._name(row, number) + self._why_added(row, number)))
                    continue
                self.rows += 1
                if fault := self._fault_of(row, sealed):
                    faults.append((sealed.link.id, self._name(row, sealed.link.id) + fault))
        for (source, key), sealed in expected.items():
            row = {"source": source, "id": key, "tenant_id": sealed.tenant_id}
            faults.append((sealed.link.id, self._name(row, sealed.link.id) + "is missing"))
        for row in await self._transaction.fetch(_CONTRADICTION, self._upto, uptos[-1], self._tenant_id):
            number = links[bisect_right(uptos, row["transaction_id"])].id
            faults.append((number, self._name({**row, "source": "audit_logs"}, number) + "user_id was edited"))
        if faults:
            raise Fault(min(faults, key=lambda fault: fault[0])[1])
        self._upto = uptos[-1]

    async def check_unsealed(self) -> None:
        """What the checkpoints do not reach yet. Raises `Fault` for a row that cannot be there."""
        async for rows in self._read(_ROWS, self._upto, HIGHEST):
            for row in rows:
                self.unsealed += 1
                fault = self._backdated(row)
                if row["transaction_id"] >= self._records.unheard_of and not self._records.is_restored:
                    fault = f"has the number {row['transaction_id']}, which no transaction had yet"
                if fault:
                    raise Fault(f"{row['source']} row {row['id']}{self._records.tenant(row['tenant_id'])}: {fault}")

    async def _expected(self, links: Sequence[Link], faults: list[tuple[int, str]]) -> dict[tuple[str, UUID], Sealed]:
        """The rows that must be there, by their keys. Appends what is wrong with the parts themselves."""
        by_checkpoint: dict[int, list[Any]] = {link.id: [] for link in links}
        for part in await self._transaction.fetch(_PARTS, links[0].id, links[-1].id):
            by_checkpoint[part["checkpoint"]].append(part)
        expected = {}
        for link in links:
            parts = by_checkpoint[link.id]
            digest = digest_of_parts([(p["source"], p["tenant_id"], p["ids"], p["leaves"]) for p in parts])
            if digest != link.parts_digest or sum(len(part["ids"]) for part in parts) != link.entries:
                faults.append((link.id, f"checkpoint {link.id}: one of its parts was changed, added or removed"))
            for part in parts:
                if not self._has_rows(part, link, faults):
                    continue
                leaves = part["leaves"]
                for index, key in enumerate(part["ids"]):
                    leaf = leaves[32 * index : 32 * index + 32]
                    expected[part["source"], key] = Sealed(leaf, link, part["tenant_id"])
        return expected

    def _has_rows(self, part: Any, link: Link, faults: list[tuple[int, str]]) -> bool:
        tenant_id = part["tenant_id"]
        if tenant_id is not None and tenant_id not in self._records.slugs:
            if self._records.deleted.get(tenant_id, LOWEST) < link.upto:
                text = f"tenant {tenant_id} is gone, and platform_logs does not say who deleted it"
                faults.append((link.id, f"checkpoint {link.id}: {text}"))
            return False
        if link.id <= self._records.archived and part["source"] != "platform_logs":
            return False
        return self._tenant_id in (None, tenant_id)

    async def _read(self, query: str, *bounds: int) -> AsyncIterator[list[Any]]:
        """By a cursor that is declared: asyncpg's own has a name that a transaction pooler lends to another session."""
        query = query.replace("$1", str(bounds[0])).replace("$2", str(bounds[1]))
        if self._tenant_id is not None:
            query += f" AND tenant_id = '{self._tenant_id}'"
        await self._transaction.connection.execute(f"DECLARE trail NO SCROLL CURSOR FOR {query}")
        while rows := await self._transaction.fetch(f"FETCH {ROWS_AT_ONCE} FROM trail"):
            yield rows
        await self._transaction.connection.execute("CLOSE trail")

    def _fault_of(self, row: Any, sealed: Sealed) -> str | None:
        body = hashlib.sha256(row["body"].encode()).hexdigest()
        bodies = self._records.redactions.get((row["source"], row["id"]))
        if bodies is None:
            if _leaf(row["header"], body) != sealed.leaf:
                return "was edited"
        else:
            self.redacted += 1
            # It may have been redacted before it was sealed: then it was sealed with a later one of its bodies.
            if bodies[-1] != body or all(_leaf(row["header"], was) != sealed.leaf for was in bodies):
                return "was edited"
        if row["seconds"] > sealed.link.microseconds / 1e6 + TOLERANCE_SECONDS:
            return "its time is later than that of the checkpoint"
        return self._backdated(row)

    def _backdated(self, row: Any) -> str | None:
        number = row["transaction_id"]
        index = bisect_right(self._next_numbers, number)
        made = self._made[index - 1] if index else float("-inf")
        if row["seconds"] < made - TOLERANCE_SECONDS:
            return f"was backdated: its transaction began after checkpoint {index} was made, and its time is before"
        if row["seconds"] < self._records.epoch_began(number) - TOLERANCE_SECONDS:
            return "was backdated: its time is before the epoch of its transaction"
        return None

    def _why_added(self, row: Any, number: int) -> str:
        if row["tenant_id"] is not None and row["tenant_id"] not in self._records.slugs:
            return "is there, and its tenant was deleted"
        if number <= self._records.archived and row["source"] != "platform_logs":
            return "is there, and was archived"
        return "was added after the checkpoint was made"

    def _name(self, row: Any, number: int) -> str:
        return f"{row['source']} row {row['id']}{self._records.tenant(row['tenant_id'])}, checkpoint {number}: "


def _leaf(header: str, body_hash: str) -> bytes:
    return hashlib.sha256(f"{header}\n{body_hash}".encode()).digest()
