"""Streams of events: every one once and in order, to whoever may read them, and nothing held meanwhile."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from api.event_stream import endpoint, reading
from api.event_stream.positions import Position
from api.event_stream.reading import EventReader, Page
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.event_streams import (
    FIRST_ID,
    PATH,
    Listening,
    commit_case,
    is_at_rest,
    listen,
    payers,
    pollers,
    write_many,
    writers,
)
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running, serve
from tests.pgbouncer import pgbouncer
from tests.tenancy.pool import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
IN_ORDER = "SELECT id::text FROM events WHERE tenant_id = $1 ORDER BY transaction_id, created_at, id"
CASES, RECONNECTS = 1_000, 50


@pytest_asyncio.fixture(params=["directly", pytest.param("pooled", marks=pytest.mark.needs("pgbouncer"))])
async def reached(
    request: pytest.FixtureRequest, settings: Settings, database: TestDatabase
) -> AsyncIterator[Settings]:
    """The settings of an app that reaches its database directly, or through a pooler."""
    if request.param == "directly":
        yield settings
        return
    async with pgbouncer(database, settings.data_dir, pool_size=3) as url:
        yield Settings.model_validate({**settings.model_dump(), "database_url": url})


async def told(connection: asyncpg.Connection, clinic: Clinic) -> list[str]:
    """The ids of all events of a clinic, in the order of a stream."""
    return [row["id"] for row in await connection.fetch(IN_ORDER, clinic.id)]


# -- Nothing lost, nothing twice ---------------------------------------------


async def test_reconnects_during_writes(
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    reached: Settings,
    superuser: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that reconnects 50 times during 2,000 writes of two tenants, whose transactions overlap and end in
    another order than they began, has every event of its own once, in order, and none of the other's."""
    north, south = clinics
    monkeypatch.setattr(reading, "PAGE_ROWS", 7)  # Who comes back reads several pages.
    before = await told(superuser, north)
    async with writers(database, *clinics * 4) as made:
        async for app in serve(reached):
            choice = random.Random(6)
            headers = north.headers(Role.staff)
            found: list[dict[str, Any]] = []
            async with listen(app.client, headers) as stream:
                tasks = [asyncio.create_task(write_many(writer, CASES // 4, n)) for n, writer in enumerate(made)]
                found += await stream.some(1)
                last_id = stream.last_id
            for left in range(RECONNECTS, 0, -1):
                async with listen(app.client, headers, last_id) as stream:
                    wanted = choice.randint(1, max(1, 2 * (CASES - len(found)) // left)) if left > 1 else CASES
                    found += await stream.some(min(wanted, CASES - len(found)))
                    last_id = stream.last_id or last_id
            await asyncio.gather(*tasks)
            expected = [event for event in await told(superuser, north) if event not in before]
            assert [row["id"] for row in found] == expected
            assert len(expected) == CASES == len(await told(superuser, south)) - len(before)
            assert {row["tenant_id"] for row in found} == {str(north.id)}
            numbers = [row["transaction_id"] for row in found]
            assert numbers == sorted(numbers)
            one = await app.client.get(f"/api/events/{found[0]['id']}/", headers=headers)
            assert one.json() == found[0]


async def test_where_a_stream_begins(
    client: httpx.AsyncClient, database: TestDatabase, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """It begins with what is not over yet, and whenever it is resumed goes on with just that; what begins first is
    told first, even if it is over last; an id from before everything replays all that there is."""
    north = clinics[0]
    async with writers(database, north, north, north) as (early, late, other):
        await early.begin()
        await early.create_case("open at first")
        await commit_case(other, "over before")
        async with listen(client, north.headers()) as stream:
            await late.begin()
            await late.create_case("begun second")
            await commit_case(other, "over first")
            await early.create_case("second of its transaction")
            await late.end()
            await early.end()
            rows = await stream.some(4)
        expected = ["open at first", "second of its transaction", "begun second", "over first"]
        assert payers(rows) == expected
        assert stream.retry == endpoint.RECONNECT_MILLISECONDS
        # Wherever it breaks off, before its first event and after each, what follows is the rest of the same stream.
        for number, last_id in enumerate(stream.ids):
            async with listen(client, north.headers(), last_id) as stream:
                assert payers(await stream.some(4 - number)) == expected[number:]
        everything = await told(superuser, north)
        async with client.stream("GET", f"{PATH}?last_event_id={FIRST_ID}", headers=north.headers()) as response:
            rows = await Listening(response).some(len(everything))
        assert [row["id"] for row in rows] == everything


async def test_a_new_epoch_goes_on_after_the_old_one(
    client: httpx.AsyncClient, database: TestDatabase, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """When numbers begin anew further up, as after a restore into another cluster, who resumes misses nothing."""
    north = clinics[0]
    async with writers(database, north) as (writer,):
        async with listen(client, north.headers()) as stream:
            await commit_case(writer, "old epoch")
            assert payers(await stream.some(1)) == ["old epoch"]
            last_id = stream.last_id
        base = 2**48
        await superuser.execute(
            f"""
            CREATE OR REPLACE FUNCTION audit.epoch_base_1() RETURNS bigint LANGUAGE sql STABLE RETURN {base}::bigint;
            ALTER TABLE events ALTER COLUMN transaction_id SET DEFAULT {base} + pg_current_xact_id()::text::bigint;
            """
        )
        async with listen(client, north.headers()) as now, listen(client, north.headers(), last_id) as resumed:
            await commit_case(writer, "new epoch")
            for stream in (now, resumed):
                (row,) = await stream.some(1)
                assert (row["metadata"]["payer"], row["transaction_id"] > base) == ("new epoch", True)


async def test_an_id_from_the_future(
    client: httpx.AsyncClient,
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who comes first with an id that is yet to come keeps nothing from the others: each listener reads once for
    itself, and is told from then on."""
    north = clinics[0]
    read, by_listeners = EventReader.page, []

    async def counted(self: EventReader, after: Position) -> Page:
        task = asyncio.current_task()
        assert task is not None
        by_listeners.extend([task] if not task.get_name().startswith("events of ") else [])
        return await read(self, after)

    monkeypatch.setattr(EventReader, "page", counted)
    async with (
        writers(database, north) as (writer,),
        listen(client, north.headers(), f"{2**62}-0-{0:032}"),
        listen(client, north.headers()) as stream,
    ):
        for payer in ("one", "two"):
            await commit_case(writer, payer)
            assert payers(await stream.some(1)) == [payer]
        assert len(by_listeners) == 2


# -- Requests ----------------------------------------------------------------


async def test_requests(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """What asks for no stream that there can be is refused as everywhere; HEAD tells the headers of one."""
    headers = clinics[0].headers(Role.staff)
    assert (await client.get(PATH)).status_code == 401
    malformed = ["1", "x-y-z", FIRST_ID + "0", f"{2**63}-0-{0:032}", f"0-{10**18 - 1}-{0:032}", FIRST_ID + "~1"]
    malformed += [FIRST_ID + "~5.x", f"{FIRST_ID}~1" + ".1" * 4_000]
    for last_id in malformed:
        answer = await client.get(PATH, headers=headers | {"Last-Event-ID": last_id})
        assert answer.status_code == 400, last_id
        assert answer.headers["content-type"] == "application/problem+json"
    for query in (
        "last_event_id=x",
        f"last_event_id=\u0663{FIRST_ID}",
        "other=1",
        f"last_event_id={FIRST_ID}&last_event_id={FIRST_ID}",
    ):
        assert (await client.get(f"{PATH}?{query}", headers=headers)).status_code == 400, query
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, PATH, headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await client.get(f"{PATH}more/", headers=headers)).status_code == 404
    head = await client.head(PATH.rstrip("/"), headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    expected = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}
    assert expected.items() <= head.headers.items()
    # The header wins, and a parameter without a value is none.
    async with client.stream("GET", f"{PATH}?last_event_id=x", headers=headers | {"Last-Event-ID": FIRST_ID}) as both:
        assert (both.status_code, len(await Listening(both).some(1))) == (200, 1)
    async with client.stream("GET", f"{PATH}?last_event_id=", headers=headers) as none:
        assert none.status_code == 200
        assert expected.items() <= none.headers.items()
    metrics = (await client.get("/metrics")).text
    assert 'route="/api/events/stream/"' in metrics


@pytest.mark.needs("node")
async def test_the_documented_client(running: Running, database: TestDatabase, clinics: tuple[Clinic, Clinic]) -> None:
    """The JavaScript in docs/api.md tells the events."""
    north = clinics[0]
    (example,) = re.findall(r"```js\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    script = example.replace('fetch("', f'fetch("{running.url}').replace("2000", "10")
    script += f"\nasync function getToken() {{ return '{north.tokens[Role.staff]}'; }}"
    program = f"(async () => {{ {script} }})()"
    process = await asyncio.create_subprocess_exec("node", "-e", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with writers(database, north) as (writer,):
        await eventually(lambda: _is(pollers, 1))
        for payer in ("one", "two"):
            await commit_case(writer, payer)
            async with asyncio.timeout(20):
                while f"payer: '{payer}'".encode() not in (line := await process.stdout.readline()):
                    assert line
    process.kill()
    await process.wait()


# -- What a stream holds -----------------------------------------------------


async def test_many_listeners(
    running: Running,
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hundred listeners of a tenant have one reader and hold no connection; when they are gone nothing is left.
    A user may have so many and not one more."""
    north, south = clinics
    monkeypatch.setattr(endpoint, "STREAMS_OF_A_USER", 200)
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=running.url, timeout=30, limits=limits) as client,
        writers(database, north, south) as (writer, other),
    ):
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(listen(client, north.headers())) for _ in range(200)]
            await stack.enter_async_context(listen(client, south.headers()))
            refused = await client.get(PATH, headers=north.headers())
            assert (refused.status_code, refused.headers["retry-after"]) == (429, str(endpoint.BUSY_SECONDS))
            async with listen(client, north.headers(Role.staff)):
                assert (await client.head(PATH, headers=north.headers())).status_code == 200
            for turn in ("one", "two"):
                await commit_case(other, "foreign")
                await commit_case(writer, turn)
                rows = await asyncio.gather(*(stream.next() for stream in opened))
                assert payers([row or {} for row in rows]) == [turn] * 200
            assert pollers() == 2
            await eventually(lambda: is_at_rest(running))
        await eventually(lambda: _is(pollers, 0))
        async with listen(client, north.headers()) as again:  # All seats are free.
            await commit_case(writer, "three")
            assert payers(await again.some(1)) == ["three"]


async def _is(count: Any, number: int) -> bool:
    return bool(count() == number)
