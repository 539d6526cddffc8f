"""What the stock CRUD endpoints get wrong, and ours do not: one test for each fault.

Faults that other tests are about as well stand here only where a test of the fault itself says more.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo_api.crud.endpoints import PiccoloCRUD
from pydantic import BaseModel

from cases.tables import Ruleset
from tenancy.tables import Role
from tests.api.odd_requests import CASE, CASES, Odd, deep, get, send
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic
from tests.conftest import Running

ZERO = "00000000-0000-0000-0000-000000000000"
RULESETS = "/api/rulesets/"
MERGE = {"Prefer": "resolution=merge-duplicates"}


async def counts(superuser: asyncpg.Connection, *tables: str) -> list[int]:
    changes = "audit_logs WHERE action <> 'view'"
    return [await superuser.fetchval(f"SELECT count(*) FROM {table}") for table in (*tables, changes, "events")]


# -- Models and queries of a request -----------------------------------------


@contextmanager
def models_built() -> Iterator[list[str]]:
    """Collects the name of every Pydantic model that this thread, which is the server's too, builds meanwhile."""
    built: list[str] = []
    code = type(BaseModel).__new__.__code__

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code:
            built.append(frame.f_locals["cls_name"])

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield built
    finally:
        sys.setprofile(before)


async def test_models_are_not_built_for_a_request(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Stock builds its Pydantic models anew for every request; here no request, of whatever kind, builds one."""
    row, body = f"{RULESETS}{north.rows['rulesets']}/", north.body("rulesets")
    with models_built() as built:
        _ = PiccoloCRUD(Ruleset).pydantic_model  # The instrument sees what stock does for each body.
    assert built == ["RulesetIn"]
    paths = ("", "?payer=Cigna&__visible_fields=id,payer&__readable=true", "schema/", "new/", "ids/", "count/")
    with models_built() as built:
        answers = [
            *[await admin.get(RULESETS + path) for path in (*paths, "references/", "?payer=Cigna&__total=true")],
            *[await admin.get(path) for path in (row, "/api/cases/?__include=codes,tasks")],
            *[await admin.request(method, row, json=body) for method in ("PUT", "PATCH")],
            await admin.post(RULESETS, json=body),
            await admin.post(RULESETS, json=[body, body]),
            await admin.post("/api/users/", json=[north.body("users")], headers=MERGE),
            await admin.patch(f"{RULESETS}?payer=Cigna", json=body),
            await admin.post(RULESETS, json={"payer": 1}),
            await admin.delete(row),
            await admin.delete(f"{RULESETS}?payer=Aetna"),
        ]
    assert sorted({answer.status_code for answer in answers}) == [200, 201, 204, 422]
    assert built == []


async def test_one_query_for_a_read(admin: httpx.AsyncClient, running: Running, north: Clinic) -> None:
    """Stock asks whether a row exists before it reads it; here a read is one statement, with its total."""
    statements: list[str] = []
    pool = running.engine.pool
    assert pool is not None

    def note(record: Any) -> None:
        if '"recorded"' not in record.query:  # That it was read is one more, for many reads.
            statements.append(record.query)

    connections = [await running.engine.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(note)
        await running.engine.release(connection)
    row, missing = f"{RULESETS}{north.rows['rulesets']}/", f"{RULESETS}{ZERO}/"
    expected = {
        row: 1,
        missing: 1,
        f"{row}?__readable=true": 1,
        RULESETS: 1,
        f"{RULESETS}?payer=Cigna&__order=payer": 1,
        f"{RULESETS}?__total=true": 1,
        f"{RULESETS}?__range_header=true&__total=true": 1,
        f"{RULESETS}ids/": 1,
        f"{RULESETS}count/": 1,
        "/api/rulesets/schema/": 0,
    }
    for path, number in expected.items():
        for _ in range(2 * len(connections)):  # A connection prepares what it has not run before.
            statements.clear()
            assert (await admin.get(path)).status_code == (404 if path == missing else 200)
        assert len(statements) == number, (path, statements)


# -- What was a 500 ----------------------------------------------------------

FORMER_500S: list[Odd] = [
    *(send(method, b"{", 400) for method in ("POST", "PUT", "PATCH")),
    *(send(method, [1], 422) for method in ("POST", "PUT", "PATCH")),
    *(Odd("GET", f"/api/tasks/{path}case_id=x") for path in ("?", "count/?")),
    *(Odd("GET", f"{CASES}{path}status=x") for path in ("?", "count/?")),
    get("__order=nothing"),
    get("status=pending&status=denied", 200),
    get("status=pending&payer=Cigna&status=denied", 200),
    *(get(f"{name}=-1") for name in ("__page_size", "__page")),
    get("__page_size=1&__page_size=2"),
    get("__range_header=true&__range_header_name=a%0d%0ab"),
    send("PUT", {"nothing": 1}),
    send("PATCH", b"{}", 200),
    send("PATCH", b'{"payer": "\xff"}', 400),
    send("PATCH", {"payer": "\x00"}),
    send("PATCH", {"metadata_json": {"a": ["\x00"]}}),
    send("PATCH", b'{"confidence": 1e400}', 400, path="/api/case_codes/{case_codes}/"),
    send("PATCH", {"confidence": 10**40}, path="/api/case_codes/{case_codes}/"),
    *(send("PATCH", deep(levels)) for levels in (150, 900)),
    send("PATCH", deep(100_000), 400),
    *(Odd("HEAD", path, statuses=(200,)) for path in (CASES, CASE, "/api/cases", f"{CASES}ids", f"{CASES}new")),
]


async def test_what_stock_fails_at(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """What stock answers with a 500, a 405 for HEAD or a redirect for a slash has its right answer, and changes
    nothing."""
    before, wrong = await counts(superuser, "cases", "case_codes"), {}
    for odd in FORMER_500S:
        path = odd.path.format(**{table: str(row) for table, row in north.rows.items()})
        headers = {"Content-Type": odd.content_type} if odd.body is not None else {}
        answer = await admin.request(odd.method, path, content=odd.body, headers=headers, follow_redirects=False)
        if answer.status_code not in odd.statuses:
            wrong[odd.method, odd.path, (odd.body or b"")[:60]] = (answer.status_code, answer.text[:200])
        elif answer.status_code >= 400:
            assert_problem(answer)
    assert wrong == {}
    assert await counts(superuser, "cases", "case_codes") == before


# -- Rules, trail, constraints -----------------------------------------------


async def test_put_and_bulk_delete_are_like_the_rest(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """Stock calls no hook for PUT and for the deletion of many; here both obey the rules and are on the trail."""
    case, body = f"{CASES}{north.rows['cases']}/", north.body("cases")
    before = await counts(superuser, "cases", "users")
    assert_problem(await staff.put(case, json=body | {"status": "approved"}), 403)
    assert_problem(await staff.delete(f"{CASES}?status=pending"), 403)
    creator = f"{north.users[Role.admin]}&id={north.rows['users']}"
    assert "is_active" in assert_problem(await admin.delete(f"/api/users/?id={creator}"), 409)["detail"]
    assert await counts(superuser, "cases", "users") == before
    assert (await staff.put(case, json=body)).status_code == 200
    created = (await admin.post(RULESETS, json=[north.body("rulesets", payer="Gone")] * 3)).json()["rows"]
    assert (await admin.delete(f"{RULESETS}?payer=Gone")).headers["content-range"] == "rulesets */3"
    trail = "SELECT action || ' by ' || actor FROM audit_logs WHERE entity_id = $1 ORDER BY created_at, action"
    for row in created:
        entries = [entry[0] for entry in await superuser.fetch(trail, row["id"])]
        assert entries == [f"{verb} by user:{north.users[Role.admin]}" for verb in ("create", "delete")]
    entries = [entry[0] for entry in await superuser.fetch(trail, north.rows["cases"])]
    assert entries[1:] == [f"update by user:{north.users[Role.staff]}"]


REFUSED: list[tuple[str, str, dict[str, Any], int, list[str]]] = [
    ("rulesets", "ALTER TABLE rulesets ADD CHECK (payer <> 'Refused')", {"payer": "Refused"}, 422, ["payer"]),
    ("rulesets", "ALTER TABLE rulesets ADD UNIQUE (payer, tenant_id)", {"payer": "Cigna"}, 409, ["payer"]),
    ("tasks", "SELECT 1", {"case_id": ZERO}, 422, ["case_id"]),
    (
        "rulesets",
        "CREATE POLICY refused ON rulesets AS RESTRICTIVE TO fastlane_tenant USING (true) "
        "WITH CHECK (payer <> 'Refused')",
        {"payer": "Refused"},
        403,
        [],
    ),
]


@pytest.mark.parametrize("refused", REFUSED, ids=["check", "unique", "foreign key", "row-level security"])
async def test_what_the_database_refuses(
    admin: httpx.AsyncClient,
    running: Running,
    north: Clinic,
    superuser: asyncpg.Connection,
    refused: tuple[str, str, dict[str, Any], int, list[str]],
) -> None:
    """Stock answers a violation inside a broken transaction, and fails at row-level security; here each has its
    answer, nothing of the request stays, and the connection serves the next one."""
    table, statement, spoiled, status, blamed = refused
    await superuser.execute(statement)
    body = north.body(table)
    fine = body | ({"payer": "Fine"} if table == "rulesets" else {})
    row = (await admin.post(f"/api/{table}/", json=body)).json()
    path, before = f"/api/{table}/{row['id']}/", await counts(superuser, table)
    for _ in range(2):
        for answer in (
            await admin.post(f"/api/{table}/", json=body | spoiled),
            await admin.post(f"/api/{table}/", json=[fine, body | spoiled]),
            await admin.put(path, json=body | spoiled),
            await admin.patch(path, json=spoiled),
            await admin.patch(f"/api/{table}/?id={row['id']}", json=spoiled),
        ):
            assert fields(answer, status) == blamed
    assert await counts(superuser, table) == before
    assert (await admin.get(path)).json() == row
    pool = running.engine.pool
    assert pool is not None
    assert pool.get_idle_size() == pool.get_size()
    assert (await admin.delete(path)).status_code == 204
