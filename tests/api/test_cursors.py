"""Cursors: lists that are walked page by page while others write, and what a cursor is good for."""

import asyncio
import json
import random
import string
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from api.crud.statements import select_keyed_page
from api.query.parse import parse_query
from cases.tables import CaseCode
from tenancy.context import DatabaseRole, Scope
from tenancy.tables import Role
from tests.api.lists import PAYERS, refused
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import Running

MANY = 100_000
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
# Seven rows share a time, so that the key has ties to break. Codes have no search column, which takes long to fill.
INSERT_CODES = """
INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, created_at)
SELECT gen_random_uuid(), $1, $2, 'CPT', n % 1009, timestamptz '2026-01-01' - (n / 7) * interval '1 second'
  FROM generate_series(1, $3::int) AS n
RETURNING id
"""
INSERT_RULESETS = """
INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json, is_active, created_at, updated_at)
SELECT gen_random_uuid(), $1, 'Payer ' || n % 97, 'P' || n % 1009, '{}', n % 3 = 0, moment, moment
  FROM generate_series(1, $2::int) AS n,
       LATERAL (SELECT timestamptz '2026-01-01' - (n / 7) * interval '1 second') AS at(moment)
"""
ORDERS = {
    "rulesets": ("", "payer", "-payer,procedure", "is_active,-payer", "-is_active", "id", "-id", "updated_at"),
    "tasks": (
        *("due_date", "-due_date", "due_date.nullsfirst", "-due_date.nullslast", "-due_date.nullsfirst"),
        *("assigned_to", "-assigned_to.nullslast,-title", "assigned_to.nullsfirst,due_date", "case_id,status"),
        *("description", "-description", "description.nullsfirst,-id", "completed_at,-completed_at,title"),
    ),
    "case_codes": ("confidence", "-confidence", "-confidence.nullslast,code", "confidence.nullsfirst,-id"),
    "cases": ("diagnosis_codes", "-diagnosis_codes,payer", "metadata_json_is_no_order", "member_id_hash,-created_at"),
}


@pytest_asyncio.fixture
async def loader(superuser: asyncpg.Connection) -> asyncpg.Connection:
    """A connection whose writes no trigger sees."""
    await superuser.execute("SET session_replication_role = replica")
    return superuser


@pytest_asyncio.fixture
async def many(loader: asyncpg.Connection, clinics: tuple[Clinic, Clinic]) -> list[UUID]:
    """The keys of north's 100,000 codes, in any order; south has a thousand."""
    north, south = clinics
    await loader.execute("DELETE FROM case_codes")
    rows = await loader.fetch(INSERT_CODES, north.id, north.rows["cases"], MANY)
    await loader.execute(INSERT_CODES, south.id, south.rows["cases"], 1000)
    await loader.execute("ANALYZE case_codes")
    return [row["id"] for row in rows]


async def page_of(client: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def walk(client: httpx.AsyncClient, table: str, query: str) -> list[str]:
    """The keys of all pages, by their cursors."""
    found: list[str] = []
    seen: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        assert cursor not in seen, "the walk goes round"
        seen.add(cursor)
        page = await page_of(client, f"/api/{table}/?{query}&__cursor={cursor}")
        found += [row["id"] for row in page["rows"]]
        cursor = page["next_cursor"]
    return found


# -- Walks -------------------------------------------------------------------


async def churn(
    loader: asyncpg.Connection, clinic: Clinic, keys: list[UUID], walked: asyncio.Event
) -> tuple[set[str], set[str]]:
    """Deletes some of the rows and inserts others among them, over and over, until the walk is done."""
    deleted: set[str] = set()
    inserted: set[str] = set()
    while not walked.is_set():
        gone, keys = keys[:40], keys[40:]
        await loader.execute("DELETE FROM case_codes WHERE id = ANY($1)", gone)
        deleted |= set(map(str, gone))
        scattered = INSERT_CODES.replace("(n / 7)", "(random() * 14000)")
        rows = await loader.fetch(scattered, clinic.id, clinic.rows["cases"], 40)
        inserted |= {str(row["id"]) for row in rows}
    return deleted, inserted


async def test_a_walk_among_writers(
    admin: httpx.AsyncClient, north: Clinic, loader: asyncpg.Connection, many: list[UUID]
) -> None:
    """A walk over 100,000 rows, while others come and go, meets each row that stays exactly once, and none twice."""
    keys = random.Random(7).sample(many, MANY)
    walked = asyncio.Event()
    writing = asyncio.create_task(churn(loader, north, keys, walked))
    found = await walk(admin, "case_codes", "__visible_fields=id&__page_size=1000")
    walked.set()
    deleted, inserted = await writing
    assert len(deleted) > 1000
    assert inserted & set(found)
    assert set(map(str, many)) - deleted <= set(found) <= set(map(str, many)) | inserted
    assert len(found) == len(set(found))


async def fill(loader: asyncpg.Connection, clinic: Clinic) -> None:
    """A hundred rows in each table, with ties and NULLs in every column that can have them."""
    case, user, tenant = clinic.rows["cases"], clinic.users[Role.admin], clinic.id
    times = "nullif(n % 4, 0) * interval '1.000001 hour' + timestamptz '2026-01-01'"
    await loader.execute(INSERT_RULESETS, tenant, 99)
    await loader.execute(
        "INSERT INTO tasks (id, tenant_id, case_id, assigned_to, title, description, due_date, completed_at) "
        "SELECT gen_random_uuid(), $1, $2, CASE n % 3 WHEN 0 THEN $3::uuid WHEN 1 THEN $4 END, 'Zoë ' || n % 5, "
        f"nullif(left('b\"\\,é', n % 6), 'b'), {times}, NULL FROM generate_series(1, 99) AS n",
        *(tenant, case, user, clinic.users[Role.staff]),
    )
    await loader.execute(
        "INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, confidence) "
        "SELECT gen_random_uuid(), $1, $2, 'CPT', n % 9, CASE n % 6 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' "
        "WHEN 2 THEN '-Infinity' WHEN 3 THEN 1e-300 ELSE n / 7.0::float8 END FROM generate_series(1, 99) AS n",
        *(tenant, case),
    )
    await loader.execute(
        "INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, status, diagnosis_codes, "
        "confidence_json, extracted_data) SELECT gen_random_uuid(), $1, $2, 'hash_' || n % 8, 'Payer', 'pending', "
        "array_fill('a,\"' || n % 5, ARRAY[n % 4])::varchar[], '{}', '{}' FROM generate_series(1, 99) AS n",
        *(tenant, user),
    )


async def test_every_order(admin: httpx.AsyncClient, north: Clinic, loader: asyncpg.Connection) -> None:
    """In any order, of any type, with NULLs first or last and with ties, cursors give the pages that offsets give."""
    await fill(loader, north)
    for table, orders in ORDERS.items():
        for order in orders:
            query = f"__order={order}" if order else "is_active=true"
            if order == "metadata_json_is_no_order":
                await refused(admin, f"/api/{table}/?__cursor=&{query}")
                continue
            whole = [row["id"] for row in (await page_of(admin, f"/api/{table}/?{query}&__page_size=1000"))["rows"]]
            assert (table, order, await walk(admin, table, f"{query}&__page_size=9")) == (table, order, whole)
            second = [row["id"] for row in (await page_of(admin, f"/api/{table}/?{query}&__page=2"))["rows"]]
            assert second == whole[20:40]


async def test_search_and_shape(admin: httpx.AsyncClient, north: Clinic, loader: asyncpg.Connection) -> None:
    """Cursors go through a search by its rank, and through rows that show no column of the order."""
    await loader.execute("ALTER TABLE rulesets ENABLE ALWAYS TRIGGER c_search")
    await fill(loader, north)
    await loader.execute("UPDATE rulesets SET payer = 'Aetna Aetna' WHERE procedure = 'P3'")
    search = "__search=payer%20or%20aetna&__visible_fields=id"
    whole = [row["id"] for row in (await page_of(admin, f"/api/rulesets/?{search}&__page_size=1000"))["rows"]]
    assert len(whole) > 90
    assert await walk(admin, "rulesets", f"{search}&__page_size=9") == whole
    included = await walk(admin, "tasks", "__include=case&__order=due_date&__page_size=9")
    assert included == await walk(admin, "tasks", "__visible_fields=id&__order=due_date&__page_size=1000")


# -- Work --------------------------------------------------------------------


async def buffers(running: Running, clinic: Clinic, query: str, after: list[Any] | None) -> int:
    """The buffers that the statement of a page touches, run as a request of the clinic would."""
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))]
    sql, values = select_keyed_page(parse_query(CaseCode, pairs), after, 21).compile_string()
    user = clinic.users[Role.admin]
    scope = Scope(DatabaseRole.tenant, f"user:{user}", tenant_id=clinic.id, user_id=user, user_role=Role.admin)
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"
    async with running.engine.transaction(scope=scope) as transaction:
        await transaction.connection.fetchval(explain, *values)  # The catalog's pages are read now.
        plan = json.loads(await transaction.connection.fetchval(explain, *values))[0]["Plan"]
    assert plan["Actual Rows"] in (20, 21)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.usefixtures("many")
async def test_a_late_page_costs_what_the_first_does(
    running: Running, north: Clinic, loader: asyncpg.Connection
) -> None:
    """Ten pages up to 2,500 or 5,000, of 20 rows each, touch at most twice the buffers of the first ten; a page by
    its offset, many times."""

    async def ten_pages(last: int) -> int:
        """Ten, since the ties decide how often a single page goes from one block of the table to the next and back."""
        total = 0
        for page in range(last - 9, last + 1):
            before = await loader.fetchrow(
                "SELECT created_at, id FROM case_codes WHERE tenant_id = $1 "
                "ORDER BY created_at DESC, id OFFSET $2 LIMIT 1",
                *(north.id, max(0, (page - 1) * 20 - 1)),
            )
            assert before is not None
            found = await buffers(running, north, "__cursor=x", list(before) if page > 1 else None)
            assert found > 0
            total += found
        return total

    first = await ten_pages(10)
    assert await ten_pages(2500) <= 2 * first
    assert await ten_pages(5000) <= 2 * first
    assert await buffers(running, north, "__page=4999", None) > 20 * first / 10


# -- What a cursor is --------------------------------------------------------


async def first_cursor(client: httpx.AsyncClient, query: str, table: str = "rulesets") -> str:
    return str((await page_of(client, f"/api/{table}/?{query}&__page_size=2&__cursor="))["next_cursor"])


@pytest.mark.usefixtures("rulesets")
async def test_an_altered_cursor(admin: httpx.AsyncClient) -> None:
    """A cursor of which one character is another, is missing or is one too many is a 400 that names the parameter."""
    for order in ("payer", "-procedure,payer", "created_at"):  # Of lengths that leave 0 to 2 bytes over.
        cursor = await first_cursor(admin, f"__order={order}")
        altered = [
            f"{cursor[:at]}{BASE64[(BASE64.index(old) + 1) % 64]}{cursor[at + 1 :]}" for at, old in enumerate(cursor)
        ]
        altered += [cursor[:-1] + last for last in BASE64 if last != cursor[-1]]
        altered += [cursor[:at] + cursor[at + 1 :] for at in range(0, len(cursor), 7)]
        altered += [f"{cursor}{more}" for more in ("A", "=", "==", ".", "%20", "%0A", "%C3%AB")]
        altered += [cursor.replace("-", "%2B").replace("_", "%2F")] if {"-", "_"} & set(cursor) else []
        accepted = [
            bad
            for bad in altered
            if (await admin.get(f"/api/rulesets/?__order={order}&__cursor={bad}")).status_code != 400
        ]
        assert accepted == [], cursor
    for bad in ("x", "%20", "null", "1", "A" * 22, "A" * 4000, "=", "%F0%9F%8F%A5"):
        assert "__cursor" in await refused(admin, f"/api/rulesets/?__cursor={bad}")


@pytest.mark.usefixtures("rulesets")
async def test_a_cursor_of_something_else(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, running: Running, north: Clinic, south: Clinic
) -> None:
    """A cursor of another table, order or tenant is a 400; a colleague's with other columns and filters is none."""
    cursor = await first_cursor(admin, "")
    for path in ("tasks/?", "rulesets/?__order=created_at&", "rulesets/?__order=-created_at,-id&", "events/?"):
        assert "__cursor" in await refused(admin, f"/api/{path}__cursor={cursor}")
    nulls = await first_cursor(admin, "__order=name", "users")
    await refused(admin, f"/api/users/?__order=name.nullsfirst&__cursor={nulls}")
    async with http_client(running.url, south.headers()) as foreign:
        await refused(foreign, f"/api/rulesets/?__cursor={cursor}")
    page = await page_of(staff, f"/api/rulesets/?__cursor={cursor}&__visible_fields=payer&is_active=true")
    assert [row["payer"] for row in page["rows"]] == PAYERS[6::-2]
    assert page["next_cursor"] is None
    assert str(north.id) not in cursor
    for clash in ("__page=1", "__page=2&__total=true"):
        assert "__page" in await refused(admin, f"/api/rulesets/?__cursor=&{clash}")
    await refused(admin, f"/api/rulesets/?__cursor={cursor}&__cursor={cursor}")


@pytest.mark.usefixtures("rulesets")
async def test_the_last_page(admin: httpx.AsyncClient) -> None:
    """`next_cursor` is null on the last page, be it full, short or empty, and there only."""
    for size, cursors in ((9, [None]), (20, [None]), (3, [str, str, None]), (4, [str, str, None]), (1, [str] * 8)):
        cursor: Any = ""
        for expected in cursors:
            page = await page_of(admin, f"/api/rulesets/?__page_size={size}&__cursor={cursor}")
            cursor = page["next_cursor"]
            assert isinstance(cursor, str) is (expected is str), size
    assert await page_of(admin, "/api/rulesets/?payer=nobody&__cursor=") == {"rows": [], "next_cursor": None}
    assert "next_cursor" not in await page_of(admin, "/api/rulesets/?__page=1")
