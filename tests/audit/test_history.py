"""The history of a row: what a read answered at each step, from the trail alone, for whoever may read the row."""

import json
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.audit.test_trail import CHANGES, ENTITIES
from tests.clinics import Clinic

# After the change of test_trail, one more, of another type where the table has one.
AGAIN: dict[str, dict[str, Any]] = {
    "users": {"is_active": False, "name": 'Ünal "Q" O\'Neil'},
    "ingestions": {"source_metadata": {"email": {"n": 1.50, "big": 12345678901234567, "deep": [{}, None, True]}}},
    "cases": {
        "diagnosis_codes": ["M79.3", "S72.001A", "M79.3"],
        "extracted_data": {"x": "\\ é 漢"},
        "metadata_json": None,
    },
    "case_codes": {"confidence": 1e-7, "description": "line\nbreak"},
    "tasks": {"due_date": "2030-01-31T12:00:00.123456Z", "description": "", "assigned_to": None},
    "rulesets": {"rules_json": {"requirements": ["3"], "more": [1, 2.5, "3"]}, "is_active": True},
}


class Life:
    """Takes one row through its life over HTTP, and notes what a read answered at each step, and when."""

    def __init__(self, client: httpx.AsyncClient, superuser: asyncpg.Connection, clinic: Clinic) -> None:
        self._client = client
        self._superuser = superuser
        self.headers = clinic.headers()
        self.reads: list[httpx.Response] = []
        self.times: list[str] = []
        self.requests: list[str] = []

    async def step(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        """Writes, reads, and looks at the clock; the row's path."""
        answer = await self._client.request(method, path, headers=self.headers, json=body)
        assert answer.is_success, answer.text
        self.requests.append(answer.headers["x-request-id"])
        path = answer.headers.get("location", path)
        self.reads.append(await self._client.get(path, headers=self.headers))
        moment = await self._superuser.fetchval("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF')")
        self.times.append(f"{moment}:00")
        return path

    async def at(self, path: str, moment: str) -> httpx.Response:
        return await self._client.get(f"{path}history/", headers=self.headers, params={"at": moment})


@pytest_asyncio.fixture
async def life(client: httpx.AsyncClient, superuser: asyncpg.Connection, clinics: tuple[Clinic, Clinic]) -> Life:
    await superuser.execute("SET timezone = 'UTC'")
    return Life(client, superuser, clinics[0])


@pytest.mark.parametrize("table", ENTITIES)
async def test_versions_are_what_reads_answered(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], life: Life, table: str
) -> None:
    """Create, two updates and the delete of a row are four versions with who and why, each byte for byte the row that
    a read answered then, its tag too; between them `at` answers that row; a look is no version."""
    north = clinics[0]
    before = "2001-01-31T12:00:00Z"
    path = await life.step("POST", f"/api/{table}/", north.body(table))
    await life.step("PATCH", path, CHANGES[table][1])
    await life.step("PATCH", path, AGAIN[table])
    present = await client.get(f"{path}history/", headers=life.headers)
    await life.step("DELETE", path)
    *reads, gone = life.reads
    assert gone.status_code == 404

    answer = await client.get(f"{path}history", headers=north.headers(Role.staff))
    rows = answer.json()["rows"]
    assert answer.status_code == 200
    assert rows[:3] == present.json()["rows"]
    assert [(row["version"], row["action"]) for row in rows] == [
        *((1, "create"), (2, "update"), (3, "update"), (4, "delete"))
    ]
    for row, read in zip(rows, reads, strict=False):
        assert f'"row":{read.text}}}' in answer.text
        assert row["row"] == read.json()
    assert rows[3]["row"] is None
    assert [row["request_id"] for row in rows] == life.requests
    assert {(row["user_id"], row["actor"]) for row in rows} == {
        (str(north.users[Role.admin]), f"user:{north.users[Role.admin]}")
    }
    trail = await client.get(
        "/api/audit_logs/", headers=life.headers, params={"entity_id": rows[0]["row"]["id"], "__order": "created_at"}
    )
    told = [entry for entry in trail.json()["rows"] if entry["action"] != "view"]
    assert [(row["at"], row["changes"]) for row in rows] == [(e["created_at"], e["changes"]) for e in told]

    for moment, read in zip(life.times, reads, strict=False):
        then = await life.at(path, moment)
        assert (then.status_code, then.content, then.headers["etag"]) == (200, read.content, read.headers["etag"])
    assert (await life.at(path, rows[1]["at"])).content == reads[1].content
    for moment in (before, life.times[-1]):
        assert_problem(await life.at(path, moment), 404)


async def test_rows_that_tenants_do_not_create(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """The tenant's own row and an event have a history like any other; the trail itself has none, for nobody."""
    north = clinics[0]
    path = f"/api/tenants/{north.id}/"
    await client.patch(path, headers=north.headers(), json={"name": "Renamed"})
    renamed = (await client.get(f"{path}history/", headers=north.headers(Role.staff))).json()["rows"]
    assert [row["row"]["name"] for row in renamed] == ["North", "Renamed"]
    path = f"/api/events/{north.rows['events']}/"
    told = (await client.get(f"{path}history/", headers=north.headers())).json()["rows"]
    assert [row["action"] for row in told] == ["create"]
    assert told[0]["row"] == (await client.get(path, headers=north.headers())).json()
    for table in ("audit_logs", "access_logs"):
        for role in Role:
            answer = await client.get(f"/api/{table}/{north.rows[table]}/history/", headers=north.headers(role))
            assert_problem(answer, 404)


async def test_another_tenants_history(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], life: Life) -> None:
    """Another tenant's row, there or deleted, and a row that never was are the same 404, with `at` and without."""
    north, south = clinics
    ruleset = f"/api/rulesets/{south.rows['rulesets']}/"
    assert (await client.delete(ruleset, headers=south.headers())).status_code == 204
    assert len((await client.get(f"{ruleset}history/", headers=south.headers())).json()["rows"]) == 2
    for table in ENTITIES:
        said = []
        for row in (south.rows[table], uuid4()):
            for query in ({}, {"at": "2100-01-01T00:00:00Z"}):
                answer = await client.get(f"/api/{table}/{row}/history/", headers=north.headers(), params=query)
                said.append(
                    {k: v for k, v in assert_problem(answer, 404).items() if k not in ("instance", "request_id")}
                )
        assert all(problem == said[0] for problem in said)
    for path in ("ids", "x", "no-uuid"):
        assert_problem(await client.get(f"/api/cases/{path}/history/", headers=life.headers), 404)
    for path in ("nothing", "history/1", "history/history"):
        assert_problem(await client.get(f"/api/cases/{north.rows['cases']}/{path}/", headers=life.headers), 404)


async def test_protocol(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Pages, links and totals as of other lists; HEAD; 304; 405 with what is possible; 400 for odd parameters."""
    north = clinics[0]
    path, headers = f"/api/rulesets/{north.rows['rulesets']}/history/", north.headers()
    change = "UPDATE rulesets SET payer = $1 WHERE id = $2"
    for number in range(120):  # In one transaction of one second or less: several updates are several versions.
        await superuser.execute(change, f"payer {number}", north.rows["rulesets"])
    whole = await client.get(path, headers=headers)
    assert [row["version"] for row in whole.json()["rows"]] == list(range(1, 101))
    page = await client.get(path, headers=headers, params={"__page": 3, "__page_size": 50, "__total": "true"})
    body = page.json()
    assert [row["row"]["payer"] for row in body["rows"]] == [f"payer {number}" for number in range(99, 120)]
    assert (body["page"], body["page_size"], body["total"], body["total_pages"]) == (3, 50, 121, 3)
    assert sorted(map(str, page.links)) == ["first", "last", "prev"]
    before = await client.get(page.links["prev"]["url"], headers=headers)
    assert [row["version"] for row in before.json()["rows"]] == list(range(51, 101))
    beyond = await client.get(path, headers=headers, params={"__page": 9})
    assert (beyond.status_code, beyond.json()) == (200, {"rows": []})

    head = await client.head(path, headers=headers)
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", whole.headers["etag"])
    same = await client.get(path, headers=headers | {"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    odd = (
        *("__page=0", "__page=x", "__page_size=0", "__page_size=1001", "__page=1&__page=2", "x=1", "payer=a"),
        *("__order=payer", "__cursor=", "at=", "at=2026-01-31", "at=2026-01-31T12:00:00", "at=20260131T120000Z"),
        *("at=2026-13-31T12:00:00Z", "at=0001-01-01T00:00:00%2B14:00", "at=now", "at=2026-01-31T12:00:00Z%00"),
        *("at=2026-01-31T12:00:00Z&at=2026-01-31T12:00:00Z", "at=2026-01-31T12:00:00Z&__page=1", "at[]=1"),
    )
    for query in odd:
        assert_problem(await client.get(f"{path}?{query}", headers=headers), 400)
    for spelled in ("2100-01-31T12:00:00z", "2100-01-31t12:00:00.123456789+01:00", "9999-12-31T23:59:59-00:00"):
        assert (await client.get(f"{path}?at={spelled}", headers=headers)).json() == body["rows"][-1]["row"]


async def test_several_changes_in_a_transaction(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Several updates in one transaction are several versions, in their order; what another actor did names that."""
    north = clinics[0]
    async with superuser.transaction():
        for title in ("b", "a", "c"):
            await superuser.execute("UPDATE tasks SET title = $1 WHERE id = $2", title, north.rows["tasks"])
    answer = await client.get(f"/api/tasks/{north.rows['tasks']}/history/", headers=north.headers())
    rows = answer.json()["rows"]
    assert [row["row"]["title"] for row in rows] == ["Review", "b", "a", "c"]
    assert {(row["actor"], row["user_id"], row["request_id"]) for row in rows[1:]} == {("sql:postgres", None, None)}


async def test_archived_beginning(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], life: Life, superuser: asyncpg.Connection
) -> None:
    """Where the oldest entries are gone, the rest has the same rows, numbered from 1; the row before the oldest entry
    is known from the time on that it names itself; without any entry a row that is there has an empty history."""
    path = await life.step("POST", "/api/rulesets/", clinics[0].body("rulesets"))
    row_id = life.reads[0].json()["id"]
    for payer in ("one", "two", "three"):
        await life.step("PATCH", path, {"payer": payer})
    whole = (await client.get(f"{path}history/", headers=life.headers)).json()["rows"]
    await superuser.execute("ALTER TABLE audit_logs DISABLE TRIGGER USER")
    oldest = (
        "DELETE FROM audit_logs WHERE id = (SELECT id FROM audit_logs WHERE entity_id = $1 ORDER BY created_at LIMIT 1)"
    )
    for _ in range(2):
        await superuser.execute(oldest, row_id)
    rest = (await client.get(f"{path}history/", headers=life.headers)).json()["rows"]
    assert rest == [row | {"version": row["version"] - 2} for row in whole[2:]]
    assert (await life.at(path, life.times[1])).content == life.reads[1].content
    assert_problem(await life.at(path, life.times[0]), 404)
    for _ in range(2):
        await superuser.execute(oldest, row_id)
    answer = await client.get(f"{path}history/", headers=life.headers)
    assert (answer.status_code, answer.json()) == (200, {"rows": []})
    assert (await life.at(path, life.times[3])).content == life.reads[3].content


async def test_column_that_came_later(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], life: Life, superuser: asyncpg.Connection
) -> None:
    """An entry from before a column was added shows it with the value that the rows had got: of a row that is there
    its own, of a deleted one the default; a column that is gone is left out."""
    path = await life.step("POST", "/api/rulesets/", clinics[0].body("rulesets"))
    await superuser.execute("ALTER TABLE audit_logs DISABLE TRIGGER USER")
    older = "jsonb_build_object('dropped', 1) || (changes -> '{0}') - 'is_active'"
    strip = f"""UPDATE audit_logs SET changes = jsonb_build_object(
            'before', {older.format("before")}, 'after', {older.format("after")})
        WHERE entity_id = $1 AND action = $2"""
    row = life.reads[0].json()
    await superuser.execute(strip, row["id"], "create")
    assert (await client.get(f"{path}history/", headers=life.headers)).json()["rows"][0]["row"] == row
    await life.step("DELETE", path)
    await superuser.execute(strip, row["id"], "delete")
    rows = (await client.get(f"{path}history/", headers=life.headers)).json()["rows"]
    assert "is_active" not in json.dumps(rows[1]["changes"])
    assert rows[0]["row"] == row
    restored = await client.post(f"{path}restore/", headers=life.headers)
    assert (restored.status_code, restored.json()) == (200, row)


async def test_redacted_trail(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], life: Life, superuser: asyncpg.Connection
) -> None:
    """Where a redaction left what no longer fits its column, the history is told all the same; nothing of that kind is
    restored: 409, with the row there and without it."""
    path = await life.step("POST", "/api/case_codes/", clinics[0].body("case_codes", confidence=0.5, description="a"))
    await life.step("PATCH", path, {"code": "97110", "confidence": None, "description": "b"})
    row_id = life.reads[0].json()["id"]
    await superuser.execute("ALTER TABLE audit_logs DISABLE TRIGGER USER")
    redacted = json.dumps({"code": "A-[redacted]-[redacted]", "confidence": "[redacted]", "description": "[redacted]"})
    redact = """UPDATE audit_logs SET changes = jsonb_set(changes, '{before}', (changes -> 'before') || $1::text::jsonb)
        WHERE entity_id = $2 AND action = $3"""
    await superuser.execute(redact, redacted, row_id, "update")
    expected = {"code": "[redacted]", "confidence": None, "description": "[redacted]"}
    rows = (await client.get(f"{path}history/", headers=life.headers)).json()["rows"]
    assert rows[0]["row"] == life.reads[0].json() | expected
    assert (await life.at(path, life.times[0])).json() == rows[0]["row"]
    assert_problem(await client.post(f"{path}restore/", headers=life.headers, json={"version": 1}), 409)
    await life.step("DELETE", path)
    for choice in ({"version": 1}, {}):
        assert_problem(await client.post(f"{path}restore/", headers=life.headers, json=choice), 409)
        await superuser.execute(redact, redacted, row_id, "delete")
    assert life.reads[-1].status_code == 404
