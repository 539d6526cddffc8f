"""What the records of the platform, which are sealed like everything, say of what was done to the trail itself."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from audit.chain import Fault
from tenancy.transaction import BoundTransaction

_TENANTS = "SELECT id, slug FROM tenants"
_DELETED = """
SELECT tenant_id, max(transaction_id) AS number FROM platform_logs WHERE action = 'tenant_deleted' GROUP BY tenant_id
"""
_REDACTED = """
SELECT e.source, e.id, e.was, e."is" AS now
  FROM platform_logs l, jsonb_to_recordset(l.details -> 'entries') AS e (source text, id uuid, was text, "is" text)
 WHERE l.action = 'redacted' ORDER BY l.transaction_id, l.created_at, l.id
"""
_ARCHIVED = "SELECT max((details ->> 'upto_checkpoint')::bigint) AS number FROM platform_logs WHERE action = 'archived'"
_EPOCHS = """
SELECT transaction_id AS number, extract(epoch FROM created_at)::float8 AS seconds, (details ->> 'base')::bigint AS base
  FROM platform_logs WHERE action = 'epoch_started' ORDER BY transaction_id, created_at, id
"""
_NUMBERS = """
SELECT audit.epoch_base_1() AS base, audit.next_transaction_1() AS unheard_of,
       (SELECT max(next_transaction) FROM checkpoints) AS next_transaction
"""


@dataclass(frozen=True, slots=True)
class Records:
    """Tenants by id, and those that were deleted, with the number of the transaction that did it; by source and row
    the hashes that a redacted body had at first and after each redaction; the last checkpoint whose rows are in an
    archive; when epochs began; and from which transaction number on there can be no row."""

    slugs: dict[UUID, str]
    deleted: dict[UUID, int]
    redactions: dict[tuple[str, UUID], list[str]]
    archived: int
    epoch_numbers: Sequence[int]
    epoch_seconds: Sequence[float]
    unheard_of: int
    is_restored: bool

    def tenant(self, tenant_id: UUID | None) -> str:
        """Which tenant, to be read after the name of a row."""
        return f" of tenant {self.slugs.get(tenant_id, tenant_id)}" if tenant_id else ""

    def epoch_began(self, number: int) -> float:
        """When the epoch began that a transaction is of; long ago where nothing says so."""
        index = bisect_left(self.epoch_numbers, number)
        return self.epoch_seconds[index - 1] if index else float("-inf")


async def read_records(transaction: BoundTransaction) -> Records:
    """All of them. Raises `Fault` where two contradict each other."""
    redactions: dict[tuple[str, UUID], list[str]] = {}
    for row in await transaction.fetch(_REDACTED):
        bodies = redactions.setdefault((row["source"], row["id"]), [])
        if bodies and bodies[-1] != row["was"]:
            raise Fault(f"{row['source']} row {row['id']}: its redactions do not follow each other")
        bodies.extend([row["now"]] if bodies else [row["was"], row["now"]])
    epochs = await transaction.fetch(_EPOCHS)
    (numbers,) = await transaction.fetch(_NUMBERS)
    if not epochs or epochs[-1]["base"] != numbers["base"]:
        raise Fault(f"platform_logs: no record says that transaction numbers start at {numbers['base']}")
    return Records(
        slugs={row["id"]: row["slug"] for row in await transaction.fetch(_TENANTS)},
        deleted={row["tenant_id"]: row["number"] for row in await transaction.fetch(_DELETED)},
        redactions=redactions,
        archived=(await transaction.fetch(_ARCHIVED))[0]["number"] or 0,
        epoch_numbers=[row["number"] for row in epochs],
        epoch_seconds=[row["seconds"] for row in epochs],
        unheard_of=numbers["unheard_of"],
        is_restored=(numbers["next_transaction"] or 0) > numbers["unheard_of"],
    )
