"""Seals the trail of a test's database, and computes anew what was sealed."""

import asyncio
import hashlib
from uuid import UUID

import asyncpg

_BEHIND = """
SELECT coalesce((SELECT max(upto) FROM checkpoints), 0)
       <= greatest((SELECT max(transaction_id) FROM audit_logs), (SELECT max(transaction_id) FROM platform_logs))
"""
_PARTS = "SELECT source, tenant_id, ids, leaves FROM checkpoint_parts ORDER BY checkpoint"
_REDACTED = """
SELECT e.source, e.id, e.was, e."is" AS now FROM platform_logs l,
       jsonb_to_recordset(l.details -> 'entries') AS e (source text, id uuid, was text, "is" text)
 WHERE l.action = 'redacted' ORDER BY l.created_at
"""
_MADE_LONG_AGO = """
SET session_replication_role = replica;
DO $$
DECLARE
    link checkpoints;
    last bytea := '';
BEGIN
    FOR link IN SELECT * FROM checkpoints ORDER BY id LOOP
        link.created_at := link.created_at - interval '400 days';
        link.previous_hash := last;
        link.hash := sha256(convert_to(concat_ws(' ', link.id, encode(link.previous_hash, 'hex'), link.upto,
            link.next_transaction, link.entries, encode(link.parts_digest, 'hex'),
            trunc(extract(epoch FROM link.created_at) * 1000000)), 'UTF8'));
        UPDATE checkpoints SET created_at = link.created_at, previous_hash = link.previous_hash, hash = link.hash
         WHERE id = link.id;
        last := link.hash;
    END LOOP;
END
$$;
SET session_replication_role = origin;
"""


async def seal(superuser: asyncpg.Connection) -> None:
    """Until everything that was written is sealed: other tests' transactions hold the numbers up."""
    while await superuser.fetchval(_BEHIND):
        async with superuser.transaction():
            for number in await superuser.fetch("SELECT id FROM audit.fold_1()"):
                await superuser.execute("SELECT audit.sign_1($1, 'test', 'signed')", number["id"])
        await asyncio.sleep(0.01)


async def make_older(superuser: asyncpg.Connection) -> None:
    """Lets every checkpoint have been made more than a year ago, in a chain that holds."""
    await superuser.execute(_MADE_LONG_AGO)


async def broken_rows(superuser: asyncpg.Connection) -> list[tuple[str, UUID]]:
    """The sealed rows that are not there, or neither as they were sealed nor as a redaction says that they were."""
    bodies: dict[tuple[str, UUID], list[str]] = {}
    for row in await superuser.fetch(_REDACTED):
        known = bodies.setdefault((row["source"], row["id"]), [row["was"]])
        assert known[-1] == row["was"]
        known.append(row["now"])
    rows = {(row["source"], row["id"]): row for row in await superuser.fetch("SELECT * FROM audit.sealable_1")}
    broken = []
    for part in await superuser.fetch(_PARTS):
        for index, key in enumerate(part["ids"]):
            row = rows.get((part["source"], key))
            body = hashlib.sha256(row["body"].encode()).hexdigest() if row else ""
            was = bodies.get((part["source"], key), [body])
            leaves = [hashlib.sha256(f"{row['header']}\n{one}".encode()).digest() for one in was] if row else []
            if was[-1] != body or part["leaves"][32 * index : 32 * index + 32] not in leaves:
                broken.append((part["source"], key))
    return broken
