"""Moves what was sealed before a month to a file, and deletes it in the database when the file is found to hold it.

All in one transaction, in which nothing is redacted: what is deleted is what was written. Checkpoints, their parts and
platform_logs stay, so that the chain can be followed from its beginning.
"""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from audit.archive_file import KEPT_SOURCE, ArchiveReader, ArchiveWriter, digest_of
from audit.authority import authority_for
from audit.chain import SELECT_LINK, Fault, Link
from audit.records import Records, read_records
from audit.redaction import LOCK, TAKES_LONG, Refused
from tenancy.scoping import database, platform
from tenancy.transaction import BoundTransaction

ROWS_AT_ONCE = 5_000
LINKS_AT_ONCE = 500

Progress = Callable[[int], None]

_SPAN = """
SELECT (SELECT 1 + coalesce(max((details ->> 'upto_checkpoint')::bigint), 0) FROM platform_logs
         WHERE action = 'archived') AS first,
       (SELECT max(id) FROM checkpoints WHERE created_at < $1) AS last
"""
_PARTS = """
SELECT checkpoint, source, tenant_id, ids, leaves FROM checkpoint_parts WHERE checkpoint BETWEEN $1 AND $2
 ORDER BY checkpoint, source COLLATE "C", tenant_id NULLS FIRST
"""
_ROWS = (Path(__file__).parent / "sql" / "archive_rows.sql").read_text(encoding="utf-8")
_RECORDED = """
SELECT details ->> 'sha256' AS digest FROM platform_logs
 WHERE action = 'archived' AND (details ->> 'upto_checkpoint')::bigint = $1
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """Where the rows are, and how many there were by table."""

    path: Path
    upto_checkpoint: int
    rows: dict[str, int]


def month(text: str) -> datetime:
    """When a month such as 2026-01 begins. Raises `Refused`, also for one that is not there yet."""
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text) or text < "1970":
        raise Refused("--before is a month, such as 2026-01")
    begins = datetime(int(text[:4]), int(text[5:]), 1, tzinfo=UTC)
    if begins > datetime.now(UTC):
        raise Refused(f"{text} has not begun yet")
    return begins


async def archive(begins: datetime, directory: Path, progress: Progress) -> Archived | None:
    """What was sealed before a month `begins`; None: nothing was. Raises `Fault` for what is not as it was sealed,
    `Refused`, `OSError`."""
    before = f"{begins:%Y-%m}"
    async with platform() as transaction:
        await transaction.connection.execute(TAKES_LONG)
        if not (await transaction.fetch("SELECT pg_try_advisory_xact_lock($1) AS held", LOCK))[0]["held"]:
            raise Refused("a redaction, or another archive, is being made")
        (span,) = await transaction.fetch(_SPAN, begins)
        first, last = span["first"], span["last"] or 0
        if last < first:
            return None
        writer = ArchiveWriter(directory / f"trail-{first:08}-{last:08}.jsonl.gz", before)
        try:
            with writer:
                await _Source(transaction, await read_records(transaction), writer, progress).write(first, last)
            await _require_same(transaction, ArchiveReader(writer.partial))
            digest = digest_of(writer.partial)
            writer.keep()
        finally:
            writer.partial.unlink(missing_ok=True)
        rows = dict(writer.rows)
        delete = "SELECT audit.archive_1($1, $2, $3, $4, $5, $6)"
        authority = authority_for(database().databases.settings, "archived", f"{last} {digest}")
        try:
            await transaction.fetch(delete, last, begins, writer.path.name, digest, json.dumps(rows), authority)
        except asyncpg.PostgresError as error:
            raise Refused(f"nothing was deleted: {error.args[0]}") from None
    return Archived(writer.path, last, rows)


async def check(path: Path, *, alone: bool) -> ArchiveReader:
    """What a file has, when it is in order; `alone`: without a database. Raises `Fault`."""
    reader = ArchiveReader(path)
    if alone:
        for _ in reader.links():
            pass
        return reader
    async with platform() as transaction:
        await transaction.connection.execute(TAKES_LONG)
        last = await _require_same(transaction, reader)
        recorded = [row["digest"] for row in await transaction.fetch(_RECORDED, last)]
        if recorded != [digest_of(path)]:
            raise Fault(f"{path.name} is not the file that was archived up to checkpoint {last}")
    return reader


async def _require_same(transaction: BoundTransaction, reader: ArchiveReader) -> int:
    """The last checkpoint of the file, if the database has all that are in it. Raises `Fault`."""
    last = 0
    pending: dict[int, bytes] = {}

    async def compare() -> None:
        query = "SELECT id, hash FROM checkpoints WHERE id = ANY ($1::bigint[])"
        known = {row["id"]: row["hash"] for row in await transaction.fetch(query, list(pending))}
        for number, its_hash in pending.items():
            if known.get(number) != its_hash:
                raise Fault(f"checkpoint {number}: is not the one that the database has")
        pending.clear()

    for link in reader.links():
        pending[link.id] = link.hash
        last = link.id
        if len(pending) >= LINKS_AT_ONCE:
            await compare()
    await compare()
    redactions = (await read_records(transaction)).redactions
    for (source, key), bodies in reader.redacted.items():
        if redactions.get((source, key)) != bodies:
            raise Fault(f"{source} row {key}: is not as the redactions of it say")
    return last


class _Source:
    """Reads what checkpoints seal, a few thousand rows at a time, and writes it."""

    def __init__(
        self, transaction: BoundTransaction, records: Records, writer: ArchiveWriter, progress: Progress
    ) -> None:
        self._transaction = transaction
        self._records = records
        self._writer = writer
        self._progress = progress

    async def write(self, first: int, last: int) -> None:
        """Raises `Fault` for a row that is missing."""
        while first <= last:
            query = f"{SELECT_LINK} FROM checkpoints WHERE id BETWEEN $1 AND $2 ORDER BY id"
            links: list[Link] = []
            for row in await self._transaction.fetch(query, first, min(last, first + LINKS_AT_ONCE - 1)):
                if row["id"] != first + len(links):
                    break
                links.append(Link.of(row))
                if sum(link.entries for link in links) >= ROWS_AT_ONCE:
                    break
            if not links:
                raise Fault(f"checkpoint {first}: is missing")
            await self._write(links)
            first = links[-1].id + 1
            self._progress(self._writer.rows.total())

    async def _write(self, links: list[Link]) -> None:
        parts = await self._transaction.fetch(_PARTS, links[0].id, links[-1].id)
        keys = [key for part in parts if part["source"] != KEPT_SOURCE for key in part["ids"]]
        rows = self._rows(keys)
        for link in links:
            self._writer.checkpoint(link)
            for part in parts:
                if part["checkpoint"] == link.id:
                    await self._write_part(part, rows)

    async def _write_part(self, part: Any, rows: AsyncIterator[dict[tuple[str, UUID], Any]]) -> None:
        source, tenant_id, ids, leaves = part["source"], part["tenant_id"], part["ids"], part["leaves"]
        records = self._records
        is_deleted = tenant_id in records.deleted and tenant_id not in records.slugs
        self._writer.part(source, tenant_id, len(ids), is_deleted=is_deleted)
        for index, key in enumerate(ids):
            leaf = leaves[32 * index : 32 * index + 32]
            row = None if source == KEPT_SOURCE else (await anext(rows)).get((source, key))
            self._writer.row(source, key, leaf, self._content(row) if row else None)
            if row is None and source != KEPT_SOURCE and not is_deleted:
                raise Fault(f"{source} row {key}, checkpoint {part['checkpoint']}: is missing")

    async def _rows(self, keys: list[UUID]) -> AsyncIterator[dict[tuple[str, UUID], Any]]:
        """For each key in turn, the rows among which it is."""
        for start in range(0, len(keys), ROWS_AT_ONCE):
            some = keys[start : start + ROWS_AT_ONCE]
            rows = {(row["source"], row["id"]): row for row in await self._transaction.fetch(_ROWS, some)}
            for _ in some:
                yield rows

    def _content(self, row: Any) -> dict[str, Any]:
        content = {"header": row["header"], "body": row["body"], "columns": json.loads(row["columns"])}
        if bodies := self._records.redactions.get((row["source"], row["id"])):
            content["bodies"] = bodies
        return content
