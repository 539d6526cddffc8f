"""Records looks before their answers leave, many at a time.

A look that comes while a write is under way waits for the next one, which takes all that have gathered: so one
round trip, and one commit, is shared by whoever asks at the moment.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any, NamedTuple

import orjson
import structlog

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import DatabaseUnavailable, FastlaneEngine

MOST_AT_ONCE = 500
WRITE_SECONDS = 20.0
_STATEMENT = "SELECT true AS recorded FROM audit.record_looks_1($1, $2)"
_SCOPE = Scope(role=DatabaseRole.service, actor="recorder")

Rows = Sequence[Mapping[str, Any]]
log = structlog.get_logger()


class _Waiting(NamedTuple):
    views: Rows
    accesses: Rows
    written: "asyncio.Future[None]"


class LookRecorder:
    """Writes from `start` until `close`. The rows are those of `audit.record_looks_1`."""

    def __init__(self, engine: FastlaneEngine) -> None:
        self._engine = engine
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._is_closed = True

    def start(self) -> None:
        """From here on there is a connection to be had."""
        self._is_closed = False
        self._writing = asyncio.create_task(self._write_on(), context=Context())

    async def close(self) -> None:
        """Takes no more, and returns when all that was waiting is written."""
        self._is_closed = True
        self._rouse()
        if self._writing is not None:
            await self._writing

    async def record(self, views: Rows, accesses: Rows) -> None:
        """Returns when they are committed. Raises `DatabaseUnavailable`: what was looked at must not be told then.

        Who is cancelled meanwhile hinders nobody else, and what they looked at is written all the same.
        """
        if self._is_closed:
            raise _unrecorded()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(views, accesses, written))
        self._rouse()
        await written

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake.set_result(None)
            self._wake = None

    async def _write_on(self) -> None:
        """One task for all: it sleeps while nothing is waiting."""
        while self._waiting or not self._is_closed:
            if not self._waiting:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                continue
            group, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            failure = await self._write(group)
            for item in group:
                if item.written.done():
                    continue
                if failure is None:
                    item.written.set_result(None)
                else:
                    item.written.set_exception(_unrecorded())

    async def _write(self, group: Sequence[_Waiting]) -> Exception | None:
        """What went wrong, if anything did: then nothing of the group is recorded."""
        try:
            views = _json([row for item in group for row in item.views])
            accesses = _json([row for item in group for row in item.accesses])
            # All wait for one connection: if that is dead, and nobody says so, the next gets another.
            async with asyncio.timeout(WRITE_SECONDS), self._engine.request(_SCOPE) as transaction:
                await transaction.run(_STATEMENT, views, accesses)
        except Exception as error:  # noqa: BLE001  # Whatever it is, those who wait are told, and the next are written.
            log.error("looks not recorded", looks=len(group), error=type(error).__name__)
            return error
        return None


def _json(rows: Rows) -> str | None:
    return orjson.dumps(rows, default=str).decode() if rows else None  # asyncpg has UUIDs of its own.


def _unrecorded() -> DatabaseUnavailable:
    return DatabaseUnavailable("Who looks at what is recorded here, and cannot be right now.")
