"""A client of a stream of events, and writers whose transactions overlap.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx

from tenancy.context import DatabaseRole, Scope
from tenancy.tables import Role
from tenancy.transaction import begin_statement
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

PATH = "/api/events/stream/"
LONGEST_SECONDS = 20
# In front of everything.
FIRST_ID = f"0-0-{0:032}"
_CASE = """
INSERT INTO cases (member_id_hash, payer, diagnosis_codes, confidence_json, extracted_data, status)
VALUES ('hash_stream', $1, '{M79.3}', '{}', '{}', 'pending')
"""


@dataclass
class Listening:
    """An open stream. `ids` are those that an EventSource would remember, one after the other."""

    response: httpx.Response
    ids: list[str] = field(default_factory=list)
    retry: int | None = None
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    @property
    def last_id(self) -> str:
        return self.ids[-1] if self.ids else ""

    async def next(self) -> dict[str, Any] | None:
        """The next event, as its row, or None when the stream has ended. Fails when it is too long in coming."""
        async with asyncio.timeout(LONGEST_SECONDS):
            return await self._next()

    async def _next(self) -> dict[str, Any] | None:
        fields: dict[str, str] = {}
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                assert name not in fields
                fields[name] = value
            elif "data" in fields:
                self.ids.append(fields["id"])
                row: dict[str, Any] = json.loads(fields["data"])
                assert row["event_type"] == fields["event"]
                assert fields.keys() == {"id", "event", "data"}
                return row
            else:
                self.ids += [fields["id"]] if "id" in fields else []
                self.retry = int(fields["retry"]) if "retry" in fields else self.retry
                fields = {}
        return None

    async def some(self, number: int) -> list[dict[str, Any]]:
        """So many events, or fewer when the stream ends."""
        found: list[dict[str, Any]] = []
        while len(found) < number and (row := await self.next()) is not None:
            found.append(row)
        return found


@asynccontextmanager
async def listen(client: httpx.AsyncClient, headers: dict[str, str], last_id: str = "") -> AsyncIterator[Listening]:
    """Opens a stream, after an event if one is named, and hangs up at the end."""
    resumed = {"Last-Event-ID": last_id} if last_id else {}
    async with client.stream("GET", PATH, headers=headers | resumed) as response:
        assert response.status_code == 200, await response.aread()
        yield Listening(response)


class Writer:
    """A connection as the tenant's role, on behalf of its admin. `begin` and `end` a transaction."""

    def __init__(self, connection: asyncpg.Connection, clinic: Clinic) -> None:
        self.connection = connection
        user_id = clinic.users[Role.admin]
        scope = Scope(DatabaseRole.tenant, "script:test", clinic.id, user_id, Role.admin)
        self._begin = begin_statement(scope, 15_000)

    async def begin(self) -> None:
        """Gets its number, so that transactions are in the order in which they began."""
        await self.connection.execute(self._begin)
        await self.connection.execute("SELECT pg_current_xact_id()")

    async def create_case(self, payer: str = "Aetna") -> None:
        """Which tells an event."""
        await self.connection.execute(_CASE, payer)

    async def end(self, how: str = "COMMIT") -> None:
        await self.connection.execute(how)


@asynccontextmanager
async def writers(database: TestDatabase, *clinics: Clinic) -> AsyncIterator[list[Writer]]:
    """One of each clinic that is named, in no transaction yet."""
    async with AsyncExitStack() as stack:
        made = []
        for clinic in clinics:
            connection = await asyncpg.connect(database.app)
            stack.push_async_callback(connection.close)
            made.append(Writer(connection, clinic))
        yield made


async def write_many(writer: Writer, cases: int, seed: int) -> None:
    """Creates so many cases in transactions of a few, which take a while, and undoes every tenth transaction."""
    choice = random.Random(seed)
    while cases > 0:
        number = min(cases, choice.randint(1, 4))
        await writer.begin()
        for _ in range(number):
            await writer.create_case(f"payer {seed}")
            await asyncio.sleep(choice.choice((0, 0, 0.002, 0.01)))
        is_undone = choice.random() < 0.1
        await writer.end("ROLLBACK" if is_undone else "COMMIT")
        cases -= 0 if is_undone else number


async def commit_case(writer: Writer, payer: str) -> None:
    await writer.begin()
    await writer.create_case(payer)
    await writer.end()


def payers(rows: list[dict[str, Any]]) -> list[str]:
    return [row["metadata"]["payer"] for row in rows]


def pollers() -> int:
    """How many tasks read events for all listeners of a tenant."""
    return sum(task.get_name().startswith("events of ") for task in asyncio.all_tasks())


async def is_at_rest(app: Running) -> bool:
    """Nobody holds a connection of the pool."""
    pool = app.engine.pool
    assert pool is not None
    return bool(pool.get_size() == pool.get_idle_size())
