"""Verifies the trail from its content: rows, parts, checkpoints, signatures, and the ledger beside the database.

The ledger is compared before anything is sealed, so that a cut-off end is not sealed over. All else is read from one
snapshot of the database that is taken after: others may write and seal meanwhile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from audit.authority import require_authority
from audit.chain import SELECT_LINK, Fault, Link
from audit.ledger import LINKS_AT_ONCE, READER, Ledger, LedgerConflict, ledger_of, name_of
from audit.records import read_records
from audit.row_proof import RowProof
from audit.sealer import RestoredDatabase, Sealer
from audit.signing import KeyRing
from tenancy.engine import FastlaneEngine
from tenancy.transaction import BoundTransaction, SnapshotTransaction

ENTRIES_AT_ONCE = 20_000

Progress = Callable[[int], None]


@dataclass(slots=True)
class Verified:
    """What was found to be in order, and what is to be said beside."""

    rows: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    redacted: int = 0
    archived: int = 0
    warnings: list[str] = field(default_factory=list)


async def verify(engine: FastlaneEngine, tenant_id: UUID | None = None, progress: Progress | None = None) -> Verified:
    """Seals, and verifies everything, or of the rows those of one tenant. Raises `Fault` for the first thing that is
    wrong, and what a transaction raises."""
    verified = Verified()
    ring = KeyRing.from_settings(engine.databases.settings)
    try:
        ledger = await ledger_of(engine)
        await _check_end(engine, ledger, verified)
        await _seal(engine, verified)
        length = ledger.length()  # Before the snapshot: what stands here was committed before.
        async with SnapshotTransaction(engine, READER) as transaction:
            await _Chain(transaction, ring, ledger.links(length), verified).check(
                tenant_id, progress or (lambda _: None)
            )
    except LedgerConflict as error:
        raise Fault(str(error)) from None
    return verified


async def _check_end(engine: FastlaneEngine, ledger: Ledger, verified: Verified) -> None:
    if known := ledger.stranger(name_of(engine)):
        told = (
            f"this database had the trail {known} before, whose ledger is {ledger.path.parent / known}.jsonl: it was "
            f"replaced whole, or made anew; if that is known, remove {name_of(engine)}.trail beside the ledger"
        )
        if engine.databases.settings.is_production:
            raise Fault(told)
        verified.warnings.append(told)
    last = ledger.last()
    others = any(ledger.path.parent.glob("*.jsonl"))
    async with SnapshotTransaction(engine, READER) as transaction:
        (end,) = await transaction.fetch("SELECT coalesce(max(id), 0) AS id FROM checkpoints")
    if last is not None and last.id > end["id"]:
        raise Fault(_cut_off(end["id"] + 1, last))
    if not ledger.exists() and (end["id"] or others):
        told = f"there is no ledger {ledger.path}: whether the end of the chain was cut off cannot be told"
        verified.warnings.append(told + ("; the directory has those of other databases" if others else ""))


def _cut_off(number: int, last: Link) -> str:
    return f"checkpoint {number}: is in the ledger and not in the database; the end was cut off, up to {last.id}"


async def _seal(engine: FastlaneEngine, verified: Verified) -> None:
    try:
        await Sealer(engine).seal_all(wait=True)
    except RestoredDatabase as error:
        verified.warnings.append(f"nothing can be sealed: {error}")
    except asyncpg.UniqueViolationError:
        pass  # There is something of the next checkpoint already: it will be named.
    except OSError as error:
        verified.warnings.append(f"the ledger cannot be written: {error.strerror}")


class _Chain:
    """The checkpoints in their order, with the lines of the ledger beside."""

    def __init__(self, transaction: BoundTransaction, ring: KeyRing, lines: Iterator[Link], verified: Verified) -> None:
        self._transaction = transaction
        self._ring = ring
        self._lines = lines
        self._verified = verified
        self._line = next(lines, None)
        self._last: Link | None = None

    async def check(self, tenant_id: UUID | None, progress: Progress) -> None:
        """Raises `Fault`, `LedgerConflict`."""
        verified = self._verified
        await require_authority(self._transaction, self._ring)
        records = await read_records(self._transaction)
        proof = RowProof(self._transaction, records, tenant_id)
        pending: list[Link] = []
        fault: Fault | LedgerConflict | None = None
        number = 0
        while fault is None and (rows := await self._read(number)):
            for link in rows:
                try:
                    self._check_link(link)
                except (Fault, LedgerConflict) as error:
                    fault = error  # What is wrong with a row of an earlier checkpoint goes before.
                    break
                pending.append(link)
                if sum(waiting.entries for waiting in pending) >= ENTRIES_AT_ONCE or len(pending) >= LINKS_AT_ONCE:
                    await proof.check(pending)
                    pending = []
                    progress(proof.rows)
            number = rows[-1].id
        if pending:
            await proof.check(pending)
        if fault is not None:
            raise fault
        if self._line is not None:
            *_, last = self._line, *self._lines
            raise Fault(_cut_off(self._line.id, last))
        await self._require_no_parts_after(number)
        await proof.check_unsealed()
        verified.rows, verified.redacted, verified.unsealed = proof.rows, proof.redacted, proof.unsealed
        verified.archived = records.archived

    async def _require_no_parts_after(self, number: int) -> None:
        query = "SELECT checkpoint FROM checkpoint_parts WHERE checkpoint > $1 ORDER BY checkpoint LIMIT 1"
        for row in await self._transaction.fetch(query, number):
            raise Fault(f"checkpoint {row['checkpoint']}: is missing, and parts of it are there")

    async def _read(self, number: int) -> list[Link]:
        query = f"{SELECT_LINK} FROM checkpoints WHERE id > $1 ORDER BY id LIMIT {LINKS_AT_ONCE}"
        return [Link.of(row) for row in await self._transaction.fetch(query, number)]

    def _check_link(self, link: Link) -> None:
        last = self._last
        number = last.id + 1 if last else 1
        if link.id != number:
            raise Fault(f"checkpoint {number}: is missing")
        if link.previous_hash != (last.hash if last else b""):
            raise Fault(f"checkpoint {number}: does not follow the one before it")
        if link.computed_hash() != link.hash:
            raise Fault(f"checkpoint {number}: was edited")
        if fault := self._ring.fault_of(link):
            raise Fault(f"checkpoint {number}: {fault}")
        if last and (link.upto <= last.upto or link.next_transaction <= last.next_transaction):
            raise Fault(f"checkpoint {number}: its transactions are not after those of the one before it")
        if self._line is not None:
            if self._line.id != number:
                raise Fault(f"checkpoint {number}: its line in the ledger is missing")
            if self._line != link:
                raise Fault(f"checkpoint {number}: is not the one that the ledger has")
            self._line = next(self._lines, None)
        self._last = link
        self._verified.checkpoints += 1
