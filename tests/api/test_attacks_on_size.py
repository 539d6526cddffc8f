"""Requests that are small and ask for much: errors without end, long texts to match, answers of many megabytes."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tests.api.lists import refused
from tests.api.problems import assert_problem
from tests.clinics import Clinic

MANY = 100_000
SHORT_ANSWER = 64 * 1024
MEGABYTE = 1_000_000
ROWS = 40
LARGE = """
INSERT INTO ingestions (id, tenant_id, source_type, source_metadata, status, storage_path, created_at, updated_at)
SELECT gen_random_uuid(), $1, 'pdf', jsonb_build_object('text', repeat('x', $3::int)), 'pending',
       lpad(n::text, 4, '0'), now(), now()
  FROM generate_series($2::int, $2::int + $4::int - 1) AS n
"""
CHANGED = "SELECT count(*) FROM ingestions WHERE status <> 'pending' AND source_type = 'pdf'"

# -- Errors ------------------------------------------------------------------


def assert_short(answer: httpx.Response) -> dict[str, Any]:
    """A 422 of at most 100 errors, whose detail names at most ten of them."""
    problem = assert_problem(answer, 422)
    assert len(problem.get("errors", [])) <= 100
    assert len(problem["detail"].split(",")) <= 10
    assert len(answer.content) < SHORT_ANSWER
    return problem


FAULTY: dict[str, dict[str, Any]] = {
    "unknown keys": {f"{n:x}": 1 for n in range(MANY)},
    "items of a wrong type": {"diagnosis_codes": [1] * MANY},
    "too many items": {"diagnosis_codes": [""] * MANY},
    "NULs in a list": {"metadata_json": {"a": ["\0"] * MANY}},
    "NULs in an object": {"metadata_json": {f"{n:x}": "\0" for n in range(60_000)}},
    "NULs in names": {"metadata_json": {f"\0{n:x}": 1 for n in range(60_000)}},
    "a list where an object is needed": {"metadata_json": [[]] * MANY},
}


@pytest.mark.parametrize("name", FAULTY)
async def test_an_object_full_of_errors(admin: httpx.AsyncClient, north: Clinic, name: str) -> None:
    """A row with 100,000 faults is told of a hundred at most, as it is made and as it is changed."""
    whole = {**north.body("cases"), **FAULTY[name]}
    for method, path, body in (
        ("POST", "/api/cases/", whole),
        ("PUT", f"/api/cases/{north.rows['cases']}/", whole),
        ("PATCH", "/api/cases/?payer=Cigna", FAULTY[name]),
        ("PATCH", "/api/cases/?payer=nobody", FAULTY[name]),
    ):
        content = json.dumps(body, separators=(",", ":"))
        assert len(content) < 1024 * 1024
        headers = {"Content-Type": "application/json"}
        assert_short(await admin.request(method, path, content=content, headers=headers))


async def test_a_list_full_of_errors(admin: httpx.AsyncClient) -> None:
    """A list of rows with 100,000 faults and more is told of a hundred at most."""
    unknown, items = FAULTY["unknown keys"], FAULTY["NULs in a list"]
    bodies: list[list[Any]] = [[1] * MANY, [1] * 1000, [{}] * 1000, [unknown] * 10, [items] * 10]
    bodies += [[dict.fromkeys(list(unknown)[:100])] * 1000, [{"diagnosis_codes": [1] * 1000}] * 1000]
    for body in bodies:
        content = json.dumps(body, separators=(",", ":"))
        assert len(content) < 16 * 1024 * 1024
        assert_short(await admin.post("/api/cases/", content=content, headers={"Content-Type": "application/json"}))


async def test_a_csv_full_of_errors(admin: httpx.AsyncClient) -> None:
    """A CSV of 1,000 faulty rows, or with 100,000 unknown columns, is told of a hundred faults at most."""
    faulty = "payer,priority\n" + "Aetna,none\n" * 1000
    wide = ",".join(f"{n:x}" for n in range(MANY)) + "\n" + "," * (MANY - 1) + "\n"
    for content in (faulty, wide):
        answer = await admin.post("/api/cases/", content=content, headers={"Content-Type": "text/csv"})
        assert 400 <= answer.status_code <= 422
        assert len(assert_problem(answer).get("errors", [])) <= 100
        assert len(answer.content) < SHORT_ANSWER


async def test_errors_with_long_names(admin: httpx.AsyncClient, north: Clinic) -> None:
    """The answer is short although each fault has a long name, or a long way leads to it."""
    for faulty in (
        {f"{n:02}" + "k" * 9000: 1 for n in range(100)},
        {"metadata_json": {"k" * 500_000: ["\0"] * 100}},
        {"metadata_json": {"~" * 900: ["\0" * 900] * 100}},
    ):
        assert_short(await admin.post("/api/cases/", json={**north.body("cases"), **faulty}))


async def test_diagnosis_codes_are_a_thousand_at_most(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A case may have 1,000 diagnosis codes and not one more."""
    path = f"/api/cases/{north.rows['cases']}/"
    codes = [f"A{n // 10:02}.{n % 10}" for n in range(1000)]
    answer = await admin.patch(path, json={"diagnosis_codes": codes})
    assert (answer.status_code, answer.json()["diagnosis_codes"]) == (200, codes)
    whole = north.body("cases", diagnosis_codes=[*codes, "A00"])
    for refusal in (
        await admin.patch(path, json={"diagnosis_codes": [*codes, "A00"]}),
        await admin.put(path, json=whole),
        await admin.post("/api/cases/", json=whole),
        await admin.post("/api/cases/", json=[whole]),
    ):
        problem = assert_short(refusal)
        assert ["diagnosis_codes" in error["field"] for error in problem["errors"]] == [True]


# -- Texts to match ----------------------------------------------------------

MATCHES = (
    *("payer={}", "payer__contains={}", "payer__starts={}", "payer__ends={}", "member_id_hash={}"),
    *("payer={}&payer__match=contains", "payer={}&payer__match=starts", "payer={}&payer__match=ends"),
    *("payer=a&payer={}", "extracted_data.source__contains={}", "extracted_data.a.b__starts={}"),
    *("confidence_json.overall__ends={}", "__or=(payer={},status=denied)", "__not=(payer__ends={})"),
    *("__and=(or(status=denied,extracted_data.source__contains={}))", "__or=(and(not(payer__starts={})))"),
)


async def test_a_text_to_match_is_short(admin: httpx.AsyncClient) -> None:
    """A text of 256 characters to match is a 400 wherever it stands, one of 255 is looked for."""
    for query in MATCHES:
        for character in ("x", "%25", "é"):
            for path in ("/api/cases/", "/api/cases/count/"):
                assert (await admin.get(f"{path}?{query.format(character * 255)}")).status_code == 200
                assert "255" in await refused(admin, f"{path}?{query.format(character * 256)}")
        change = await admin.patch(f"/api/cases/?{query.format('x' * 256)}", json={"priority": "low"})
        assert_problem(change, 400)
        assert_problem(await admin.delete(f"/api/cases/?{query.format('x' * 256)}"), 400)


async def test_a_text_to_equal_may_be_long(admin: httpx.AsyncClient) -> None:
    """A text that is compared as a whole has no such limit."""
    for operator in ("e", "exact", "ne", "in", "lt"):
        answer = await admin.get(f"/api/cases/?payer__{operator}={'x' * 2000}")
        assert answer.status_code == 200, answer.text


# -- Large answers -----------------------------------------------------------


@pytest_asyncio.fixture
async def large(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> AsyncIterator[httpx.AsyncClient]:
    """North's admin, over 40 ingestions of 1 MB each."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(LARGE, north.id, 1, MEGABYTE, ROWS)
    yield admin


async def test_a_page_has_a_limit(large: httpx.AsyncClient) -> None:
    """A page of more than 32 MiB is a 400 that says to ask for less, as CSV too; smaller pages are fine."""
    path = "/api/ingestions/?source_type=pdf&__order=storage_path"
    for query in (f"{path}&__page_size=100", f"{path}&__cursor=&__page_size=40"):
        detail = await refused(large, query)
        assert "fewer" in detail, detail
        answer = await large.get(query, headers={"Accept": "text/csv"})
        assert answer.status_code == 400
    found: list[str] = []
    for number in range(1, 5):
        page = (await large.get(f"{path}&__page={number}&__page_size=10")).json()["rows"]
        assert {len(row["source_metadata"]["text"]) for row in page} == {MEGABYTE}
        found += [row["storage_path"] for row in page]
    assert found == [f"{number:04}" for number in range(1, ROWS + 1)]
    short = await large.get(f"{path}&__page_size=100&__visible_fields=id,storage_path")
    assert [row["storage_path"] for row in short.json()["rows"]] == found


async def test_a_page_of_few_has_a_limit(
    large: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """A page of twenty rows, the one that nobody asked a size of, is no larger either."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(LARGE, north.id, ROWS + 1, 5 * MEGABYTE, 10)
    path = "/api/ingestions/?source_type=pdf&__order=-storage_path"
    for query in (path, f"{path}&__page_size=10", f"{path}&__cursor="):
        assert "fewer" in await refused(large, query)
    assert len((await large.get(f"{path}&__page_size=5")).json()["rows"]) == 5


async def test_related_rows_have_a_limit(large: httpx.AsyncClient, north: Clinic) -> None:
    """Nor is a row with its related rows, in a list or alone."""
    for path in ("/api/tenants/", f"/api/tenants/{north.id}/"):
        for query in ("__include=ingestions", "__visible_fields=ingestions.source_metadata"):
            assert "fewer" in await refused(large, f"{path}?{query}")
        short = await large.get(f"{path}?__visible_fields=id,ingestions.storage_path")
        assert short.status_code == 200


async def test_csv_has_no_limit(large: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """As CSV the same rows come whole and in order, streamed, one larger than a part among them."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(LARGE, north.id, ROWS + 1, 6 * MEGABYTE, 1)
        await superuser.execute(LARGE, north.id, ROWS + 2, 10, 1500)
    path = "/api/ingestions/?source_type=pdf&__order=storage_path&__visible_fields=storage_path,source_metadata"
    csv.field_size_limit(10 * MEGABYTE)
    answer = await large.get(path, headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    assert "content-length" not in answer.headers
    rows = [
        (path, len(json.loads(document)["text"])) for path, document in list(csv.reader(io.StringIO(answer.text)))[1:]
    ]
    sizes = [MEGABYTE] * ROWS + [6 * MEGABYTE] + [10] * 1500
    assert rows == [(f"{number:04}", size) for number, size in enumerate(sizes, 1)]


async def test_a_change_of_large_rows(large: httpx.AsyncClient, superuser: asyncpg.Connection) -> None:
    """A bulk change whose answer would be too large is a 400 and changes nothing; of fewer rows it is made."""
    path = "/api/ingestions/?source_type=pdf"
    for body in ({"status": "processing"}, {"source_type": "pdf"}, {}):
        problem = assert_problem(await large.patch(path, json=body), 400)
        assert "fewer" in problem["detail"]
    assert await superuser.fetchval(CHANGED) == 0
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE action = 'update'") == 0
    few = await large.patch(f"{path}&storage_path__starts=001", json={"status": "processing"})
    assert (few.status_code, len(few.json()["rows"])) == (200, 10)
    assert await superuser.fetchval(CHANGED) == 10
    gone = await large.delete(path)
    assert (gone.status_code, gone.headers["content-range"]) == (204, f"ingestions */{ROWS}")
