"""Seals the trail: folds finished transactions into the next checkpoint, signs it, and writes it into the ledger.

A writer never waits for it. In the service it runs beside the requests, survives errors, holds no connection between,
and asks an idle database rarely, so that it may suspend.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from audit.chain import SELECT_LINK, Link
from audit.ledger import Ledger, LedgerConflict, ledger_of, links_after, name_of
from audit.signing import KeyRing, SigningKey
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings

SEALER = Scope(role=DatabaseRole.service, actor="script:sealer")
SEAL_LOCK = 1_634_296_434  # As in fold_1.
# What was begun is over by then, and a pool of connections has closed those that are idle.
BUSY_SECONDS = 120.0
RARELY_SECONDS = 3600.0
LONGEST_PAUSE_SECONDS = 60.0
FOLD_SECONDS = 300  # For what one transaction may have written.
SHUTDOWN_SECONDS = 3.0
WRITTEN_MEANWHILE = 30  # How far others may be ahead in the ledger; its `append` compares those.
STATE_CONFLICT = "FL409"

log = structlog.get_logger()


class RestoredDatabase(Exception):
    """Numbers have gone back: nothing can be sealed before a new epoch; the message says how."""


class Sealer:
    """Makes checkpoints on one engine. `has_more`: the last one left a backlog. `is_taken`: another was at it."""

    def __init__(self, engine: FastlaneEngine) -> None:
        settings = engine.databases.settings
        self.engine = engine
        self.has_more = False
        self.is_taken = False
        self._key = SigningKey.from_settings(settings)
        self._ring = KeyRing.from_settings(settings)
        self._ledger: Ledger | None = None
        self._is_behind = False

    async def seal(self, *, wait: bool = False) -> Link | None:
        """The next checkpoint, committed and in the ledger; None where there is nothing to seal.

        `wait`: for another sealer that is at it, whom it would otherwise leave to it. Raises `RestoredDatabase`,
        `LedgerConflict` and `OSError` when the checkpoint is made and only the ledger is not, and what a
        transaction raises.
        """
        link = await self._fold(wait=wait)
        await self._write(link)
        return link

    async def seal_all(self, *, wait: bool = False) -> list[Link]:
        """Seals what was over when it began. Raises as `seal` does."""
        sealed = []
        while link := await self.seal(wait=wait):
            sealed.append(link)
            if not self.has_more:
                break
        return sealed

    async def _fold(self, *, wait: bool) -> Link | None:
        columns = f"{SELECT_LINK}, upto < audit.horizon_1() AS has_more"
        try:
            async with self.engine.transaction(allow_nested=False, scope=SEALER) as transaction:
                await transaction.fetch(f"SET LOCAL statement_timeout = '{FOLD_SECONDS}s'")
                if wait:
                    await transaction.fetch("SELECT pg_advisory_xact_lock($1)", SEAL_LOCK)
                taken = await transaction.fetch("SELECT NOT pg_try_advisory_xact_lock($1) AS taken", SEAL_LOCK)
                self.is_taken = taken[0]["taken"]
                rows = [dict(row) for row in await transaction.fetch(f"{columns} FROM audit.fold_1()")]
                if not rows:
                    return None
                self.has_more = rows[0].pop("has_more")
                signature = self._key.sign(rows[0]["hash"])
                arguments = (rows[0]["id"], self._key.key_id, signature)
                await transaction.fetch("SELECT audit.sign_1($1, $2, $3)", *arguments)
                self._is_behind = True  # From the commit on: whoever is cancelled there leaves the ledger to the next.
        except asyncpg.PostgresError as error:
            if error.sqlstate == STATE_CONFLICT:
                raise RestoredDatabase(str(error)) from None
            raise
        return Link.of({**rows[0], "key_id": self._key.key_id, "signature": signature})

    async def _write(self, link: Link | None) -> None:
        """Into the ledger, and what it lacks before it."""
        if self._ledger is None:
            self._ledger = await ledger_of(self.engine)
        elif link is None and not self._is_behind:
            return  # Whoever made the last one writes it, or whoever makes the next.
        self._is_behind = True
        last = await asyncio.to_thread(self._ledger.last)
        number = last.id if last else 0
        if link is not None and number - WRITTEN_MEANWHILE <= link.id <= number + 1:
            await asyncio.to_thread(self._ledger.append, [link], self._ring)
        else:
            await self._catch_up(self._ledger, number)
        self._is_behind = False
        if self._ledger.exists():
            self._ledger.pin(name_of(self.engine))

    async def _catch_up(self, ledger: Ledger, number: int) -> None:
        """Appends from the database, beginning with what the ledger has last: it must be the same there."""
        links = await links_after(self.engine, max(number - 1, 0))
        if number and not links:
            raise LedgerConflict(f"checkpoint {number}: is in the ledger and not in the database")
        while links:
            await asyncio.to_thread(ledger.append, links, self._ring)
            links = await links_after(self.engine, links[-1].id)


async def seal(engine: FastlaneEngine) -> Link | None:
    """Seals once, on this engine. Raises as `Sealer.seal` does."""
    return await Sealer(engine).seal(wait=True)


class SealingTask:
    """What the service runs, every so many seconds while its database is in use."""

    def __init__(self, engine: FastlaneEngine, settings: Settings, registry: CollectorRegistry) -> None:
        self._sealer = Sealer(engine)
        self._engine = engine
        self._seconds = settings.audit_seal_seconds
        self._may_suspend = settings.pool_min_size == 0
        self._uses = -1
        self._busy_until = 0.0
        self._rest_until = 0.0
        self._trouble = ""
        self._looked = Gauge(
            "audit_last_seal_timestamp_seconds", "When the trail was last sealed, or had nothing new", registry=registry
        )
        self._rows = Counter("audit_sealed_rows_total", "Rows of the trail that were sealed", registry=registry)

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            pause = self._seconds * 2 ** min(failures, 6)
            await asyncio.sleep(max(self._seconds, min(pause, LONGEST_PAUSE_SECONDS)))
            if not self.is_due():
                continue
            failures = 0 if await self.seal() else failures + 1

    def is_due(self) -> bool:
        """Whether there may be something to seal, as far as this process knows."""
        now = asyncio.get_running_loop().time()
        was_used = self._engine.uses != self._uses
        if was_used:
            self._busy_until = now + BUSY_SECONDS
        return not self._may_suspend or was_used or now < self._busy_until or now >= self._rest_until

    async def seal(self) -> bool:
        """Whether it went well. Says once what is wrong, and once that it is over."""
        try:
            for link in await self._sealer.seal_all():
                self._rows.inc(link.entries)
            if self._sealer.is_taken:  # By whoever seals for all, as a rule; whose gauge moves.
                return True
        except RestoredDatabase as error:
            self._tell("restored", str(error))
        except LedgerConflict as error:
            self._tell("ledger_conflict", str(error))
        except Exception as error:  # noqa: BLE001  # Whatever it is, the next time may be better.
            self._tell(type(error).__name__, "")
        else:
            self._tell("", "")
            self._looked.set_to_current_time()
            self._uses = self._engine.uses
            self._rest_until = asyncio.get_running_loop().time() + RARELY_SECONDS
            return True
        return False

    def _tell(self, trouble: str, detail: str) -> None:
        if trouble == self._trouble:
            return
        if trouble:
            log.error("audit_not_sealed", reason=trouble, detail=detail)
        else:
            log.info("audit_sealed_again")
        self._trouble = trouble


@asynccontextmanager
async def sealing(engine: FastlaneEngine, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Seals while the app serves, and a last time when it stops."""
    settings = engine.databases.settings
    if not settings.audit_seal_seconds:
        yield
        return
    task = SealingTask(engine, settings, registry)
    running = asyncio.create_task(task.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                if task.is_due():
                    await task.seal()
        except TimeoutError:
            pass  # The next start seals it.
