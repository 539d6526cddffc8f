"""Listeners that do not read, or vanish, or are there when the service stops."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from api.event_stream import feed
from tenancy.tables import Role
from tests.api.event_streams import FIRST_ID, PATH, is_at_rest, listen, pollers, writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.tenancy.pool import eventually
from tests.test_serve import free_port, ready, start

# 10 MB, more than the buffers of two sockets hold.
EVENTS = 1_000
LARGE = """
INSERT INTO events (id, tenant_id, event_type, metadata)
SELECT gen_random_uuid(), $1, 'large', jsonb_build_object('number', n, 'filling', repeat('x', 10000))
  FROM generate_series(1, $2::int) AS n
"""


@asynccontextmanager
async def stalled(
    url: str, headers: dict[str, str]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A stream whose client has read the first line of the answer, and reads no more for now."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2048)
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{given}\r\n".encode())
    await writer.drain()
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    yield reader, writer
    writer.transport.abort()


async def numbers_until(reader: asyncio.StreamReader, last: int) -> list[int]:
    """The numbers of the large events, in the order in which they come."""
    found = bytearray()
    while f'"number": {last},'.encode() not in found[-20_000:] and (part := await reader.read(1_000_000)):
        found += part
    # A chunk of the transfer ends where an event does.
    return [int(number) for number in re.findall(rb'"number": ([0-9]+)', found)]


async def tell_large(superuser: asyncpg.Connection, clinic: Clinic, number: int) -> None:
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(LARGE, clinic.id, number)


async def test_a_slow_listener(
    running: Running,
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    superuser: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener that does not read holds up nobody and no connection, and little is kept for it; when it goes on,
    it has every event once. One that has vanished is forgotten."""
    north = clinics[0]
    monkeypatch.setattr(feed, "KEPT_EVENTS", 20)
    async with (
        stalled(running.url, north.headers()) as (reader, _),
        stalled(running.url, north.headers(Role.staff)) as (_, vanishing),
        listen(running.client, north.headers(Role.clinician)) as other,
    ):
        await tell_large(superuser, north, EVENTS)
        rows = await other.some(EVENTS)
        expected = [row["metadata"]["number"] for row in rows]
        assert sorted(expected) == list(range(1, EVENTS + 1))
        await eventually(lambda: is_at_rest(running))
        answer = await running.client.get("/api/events/count/", headers=north.headers())
        assert answer.json()["count"] > EVENTS
        vanishing.transport.abort()
        assert await numbers_until(reader, expected[-1]) == expected
        async with writers(database, north) as (writer,):
            await writer.begin()
            await writer.create_case("last of all")
            await writer.end()
        told = b""
        while b"last of all" not in told:
            told += await reader.read(1_000)
            assert told
    await eventually(_nobody_is_left)


async def _nobody_is_left() -> bool:
    return pollers() == 0


async def test_streams_end_when_the_service_stops(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """A service that is told to stop ends its streams, be their clients quick, idle or stalled, and does not wait
    until its patience with answers under way is at an end."""
    north = clinics[0]
    await tell_large(superuser, north, EVENTS)
    port = free_port()
    urls = {"DATABASE_URL": database.app, "DIRECT_DATABASE_URL": database.owner}
    process = await start(tmp_path, DATA_DIR=str(tmp_path), PORT=str(port), SEED="0", **urls)
    await ready(process, port)
    url = f"http://127.0.0.1:{port}"
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as client,
        listen(client, north.headers()) as idle,
        listen(client, north.headers(), FIRST_ID) as reading,
        stalled(url, north.headers() | {"Last-Event-ID": FIRST_ID}),
    ):
        assert len(await reading.some(EVENTS)) == EVENTS
        process.send_signal(signal.SIGTERM)
        assert await idle.next() is None
        while await reading.next() is not None:
            pass
        _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    # What is said of a stop that had to wait, and of an answer that was not ended.
    assert not re.search(r"exceeded|ERROR|Traceback|without completing", errors.decode()), errors.decode()
