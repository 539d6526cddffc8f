"""Exports while their reader is slow: no connection is held, and who may no longer read is cut off."""

import asyncio
import socket
from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import Running, serve
from tests.tenancy.pool import eventually

# 30 MB: more than the buffers of two sockets hold.
ROWS = 30_000
LARGE = """
INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, description)
SELECT gen_random_uuid(), $1, $2, 'CPT', n, repeat('x', 1000) FROM generate_series(1, $3::int) AS n
"""
END = b"\r\n0\r\n\r\n"


@pytest_asyncio.fixture
async def app(
    settings: Settings, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> AsyncIterator[Running]:
    """The app with one connection, over a large table of north's."""
    north = clinics[0]
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute("DELETE FROM case_codes")
    await superuser.execute(LARGE, north.id, north.rows["cases"], ROWS)
    await superuser.execute("ANALYZE case_codes")
    small = Settings.model_validate({**settings.model_dump(), "pool_max_size": 1})
    async for running in serve(small):
        yield running


async def begin(app: Running, clinic: Clinic, role: Role) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An export whose client has read the first bytes only, and reads no more for now."""
    host, _, port = app.url.removeprefix("http://").partition(":")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2048)
    authorization = clinic.headers(role)["Authorization"]
    head = f"GET /api/case_codes/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\nAuthorization: {authorization}"
    writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, neatly or not."""
    found = bytearray()
    try:
        while part := await reader.read(1_000_000):
            found += part
    except ConnectionResetError:
        pass
    return bytes(found)


async def idle(app: Running) -> tuple[int, int]:
    """How many connections the pool has, and how many of them nobody holds."""
    pool = app.engine.pool
    assert pool is not None
    return pool.get_size(), pool.get_idle_size()


async def test_a_slow_reader_holds_no_connection(app: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """While two exports wait for their readers the only connection serves others; then both come whole."""
    north = clinics[0]
    exports = [await begin(app, north, Role.admin), await begin(app, north, Role.staff)]
    for role in Role:
        answer = await app.client.get("/api/case_codes/count/", headers=north.headers(role))
        assert (answer.status_code, answer.json()["count"]) == (200, ROWS)
        made = await app.client.post("/api/tasks/", json=north.body("tasks"), headers=north.headers(role))
        assert made.status_code == 201
    assert await idle(app) == (1, 1)
    for content in await asyncio.gather(*(rest(reader) for reader, _ in exports)):
        assert content.endswith(END)
        assert content.count(b"x" * 1000) == ROWS
    for _, writer in exports:
        writer.close()


async def test_who_is_deactivated_is_cut_off(app: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """An export whose reader is deactivated midway ends with a broken connection; a colleague's goes on."""
    north = clinics[0]
    cut, kept = await begin(app, north, Role.staff), await begin(app, north, Role.admin)
    path = f"/api/users/{north.users[Role.staff]}/"
    changed = await app.client.patch(path, json={"is_active": False}, headers=north.headers())
    assert changed.status_code == 200
    content, whole = await asyncio.gather(rest(cut[0]), rest(kept[0]))
    assert 0 < content.count(b"x" * 1000) < ROWS
    assert not content.endswith(END)
    assert (whole.endswith(END), whole.count(b"x" * 1000)) == (True, ROWS)
    assert await idle(app) == (1, 1)
    for _, writer in (cut, kept):
        writer.close()


async def test_a_reader_who_leaves(app: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """Readers who hang up in the middle keep nobody from the only connection, and leave it in the pool."""
    north = clinics[0]
    for _ in range(5):
        _, writer = await begin(app, north, Role.admin)
        writer.transport.abort()
    async with http_client(app.url, north.headers()) as client:
        for _ in range(5):
            assert (await client.get("/api/tasks/")).status_code == 200

    async def is_idle() -> bool:
        return await idle(app) == (1, 1)

    await eventually(is_idle)
