"""What one tenant learns of another by estimates, and what one reads on after losing the right to."""

import asyncio
import socket
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest_asyncio

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import Running, serve

OWN, FOREIGN = 1_500, 3_000
CODES = """
INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, description)
SELECT gen_random_uuid(), $1, $2, 'CPT', $3 || n % 3, $3 FROM generate_series(1, $4::int) AS n
"""
# Each pair finds the same rows of north's. The second names a value that nobody has, the first one that south has.
PAIRS = (
    ("code__in=north0,north1,north2,south0", "code__in=north0,north1,north2,nobody"),
    ("code__ne=south0", "code__ne=nobody"),
    ("code__not_in=south0,south1", "code__not_in=nobody,nowhere"),
    ("description__ne=south", "description__ne=nobody"),
    ("__or=(description=north,description=south)", "__or=(description=north,description=nobody)"),
    ("__not=(code=south)", "__not=(code=nobody)"),
    ("code__e=south0", "code__e=nobody"),
    ("code__starts=south", "code__starts=nobody"),
    ("description__in=south,nobody", "description__in=nobody,nowhere"),
)
# 30 MB, more than the buffers of two sockets hold: the rest is read when the right is gone.
ENTRIES = 30_000
LARGE = """
INSERT INTO audit_logs (id, tenant_id, action, entity_type, entity_id, user_agent)
SELECT gen_random_uuid(), $1, 'view', 'case', gen_random_uuid(), repeat('x', 1000)
  FROM generate_series(1, $2::int) AS n
"""
END = b"\r\n0\r\n\r\n"


# -- Estimates ---------------------------------------------------------------


async def fill(superuser: asyncpg.Connection, clinics: tuple[Clinic, Clinic], *parts: tuple[int, int]) -> None:
    """The table of codes, of so many of north's and of south's in turn, and what the planner knows of it."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute("DELETE FROM case_codes")
        for part in parts:
            for clinic, number in zip(clinics, part, strict=True):
                await superuser.execute(CODES, clinic.id, clinic.rows["cases"], clinic.slug, number)
    await superuser.execute("ANALYZE case_codes")


async def totals(client: httpx.AsyncClient, query: str) -> list[int]:
    """The estimate, as a page and as the count tell it."""
    page = await client.get(f"/api/case_codes/?{query}&__count=estimated&__visible_fields=id")
    count = await client.get(f"/api/case_codes/count/?{query}&__count=estimated")
    assert (page.status_code, count.status_code) == (200, 200)
    return [page.json()["total"], count.json()["count"]]


async def test_estimates_tell_nothing_of_others(
    admin: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A filter that names a value of another tenant's is estimated as one that names a value nobody has."""
    await fill(superuser, clinics, (OWN, FOREIGN))
    for foreign, nobody in PAIRS:
        told = await totals(admin, foreign)
        assert told == await totals(admin, nobody), foreign
        assert set(told) in ({0}, {OWN}), foreign


async def test_large_estimates_tell_nothing_of_others(
    admin: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Nor do they where a part of the table is looked at; they come near the truth, wherever one's rows lie."""
    await fill(superuser, clinics, (10_000, 50_000), (0, 30_000), (20_000, 10_000))
    for foreign, nobody in PAIRS:
        assert await totals(admin, foreign) == await totals(admin, nobody), foreign
    for query, truth in (("", 30_000), ("code__ne=north0", 20_000), ("code__e=north1", 10_000), ("code=nor", 30_000)):
        for told in await totals(admin, query):
            assert truth / 2 < told < truth * 2, (query, told)


async def test_an_estimate_is_no_less_than_what_was_counted(
    admin: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """One's rows that a sample hardly meets, all in one corner of a large table, are still more than a thousand."""
    await fill(superuser, clinics, (0, 150_000), (1001, 0))
    for told in (*await totals(admin, ""), *await totals(admin, "code__ne=nobody")):
        assert 1001 <= told < 8 * 1001
    exact = await totals(admin, "code__ne=north0")
    assert exact == [1001 - 333] * 2


# -- Rights that end ---------------------------------------------------------


@pytest_asyncio.fixture
async def app(
    settings: Settings, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> AsyncIterator[Running]:
    """The app over a long audit trail of north's, whose clinician is a second admin."""
    north = clinics[0]
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(LARGE, north.id, ENTRIES)
        await superuser.execute("UPDATE users SET role = 'admin' WHERE id = $1", north.users[Role.clinician])
    async for running in serve(settings):
        yield running


async def begin(app: Running, headers: dict[str, str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An export of the audit trail whose client has read the first bytes only, and reads no more for now."""
    host, _, port = app.url.removeprefix("http://").partition(":")
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=2048)
    head = "".join(
        f"{name}: {value}\r\n" for name, value in {"Host": "localhost", "Accept": "text/csv", **headers}.items()
    )
    writer.write(f"GET /api/audit_logs/ HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
    await writer.drain()
    assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> tuple[bytes, int]:
    """The last bytes that come until the connection ends, neatly or not, and how many rows came."""
    found = bytearray()
    try:
        while part := await reader.read(1_000_000):
            found += part
    except ConnectionResetError:
        pass
    return bytes(found[-len(END) :]), found.count(b"x" * 1000)


async def test_who_is_demoted_is_cut_off(app: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """An export of the trail whose admin is made staff midway breaks off; that of another admin comes whole."""
    north = clinics[0]
    demoted, remaining = north.headers(Role.clinician), north.headers(Role.admin)
    cut, kept = await begin(app, demoted), await begin(app, remaining)
    path = f"/api/users/{north.users[Role.clinician]}/"
    changed = await app.client.patch(path, json={"role": "staff"}, headers=remaining)
    assert (changed.status_code, changed.json()["role"]) == (200, "staff")
    (cut_end, cut_rows), (kept_end, kept_rows) = await asyncio.gather(rest(cut[0]), rest(kept[0]))
    assert 0 < cut_rows < ENTRIES
    assert cut_end != END
    assert (kept_end, kept_rows) == (END, ENTRIES)
    assert (await app.client.get("/api/audit_logs/", headers=demoted)).status_code == 403
    for _, writer in (cut, kept):
        writer.close()
