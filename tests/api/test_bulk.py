"""Writes of many rows: a list that is created, and a filtered collection that is changed or deleted."""

from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic
from tests.conftest import Running

ZERO = "00000000-0000-0000-0000-000000000000"
MIB = 1024 * 1024
RULESETS = """
INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json)
SELECT gen_random_uuid(), $1, 'Bulk', n, '{}' FROM generate_series(1, $2::int) AS n
"""


async def count(superuser: asyncpg.Connection, table: str) -> int:
    return int(await superuser.fetchval(f"SELECT count(*) FROM {table}"))


async def state_of(superuser: asyncpg.Connection, table: str, tenant: Clinic) -> str:
    """Everything that the tenant has in the table."""
    query = f"SELECT coalesce(json_agg(t ORDER BY id)::text, '') FROM {table} AS t WHERE tenant_id = $1"
    return str(await superuser.fetchval(query, tenant.id))


# -- Lists -------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 1000])
async def test_a_list_is_created(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection, length: int
) -> None:
    """A list of 1 to 1,000 answers 201 with the rows as stored, in its order; the trail has an entry for each."""
    body = [north.body("rulesets", procedure=f"p{number}") for number in range(length)]
    answer = await admin.post("/api/rulesets/", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json().keys() == {"rows"}
    rows = answer.json()["rows"]
    assert [row["procedure"] for row in rows] == [row["procedure"] for row in body]
    found = await admin.get("/api/rulesets/?__page_size=1000&payer=Aetna")
    assert sorted(found.json()["rows"], key=lambda row: str(row["id"])) == sorted(rows, key=lambda row: str(row["id"]))
    # One statement: all rows have its time, and one request's id in the trail.
    entries = await superuser.fetch("SELECT * FROM audit_logs WHERE entity_id = ANY($1)", [row["id"] for row in rows])
    assert len(entries) == length
    assert {entry["action"] for entry in entries} == {"create"}
    assert {entry["user_id"] for entry in entries} == {north.users[Role.admin]}
    assert len({row["created_at"] for row in rows}) == 1


@pytest.mark.parametrize("length", [0, 1001])
async def test_length_of_a_list(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection, length: int
) -> None:
    """An empty list, and one of more than 1,000, is a 422, and nothing is stored."""
    before = await count(superuser, "rulesets")
    answer = await admin.post("/api/rulesets/", json=[north.body("rulesets")] * length)
    assert str(length) in assert_problem(answer, 422)["detail"]
    assert await count(superuser, "rulesets") == before


async def test_errors_name_the_row(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Each fault in each row is named by its index and field, and no row is stored."""
    before = await count(superuser, "cases"), await count(superuser, "audit_logs")
    good = north.body("cases")
    bad: list[Any] = [good, {**good, "nothing": 1}, {**good, "payer": ""}, 7, {**good, "status": "approved"}, good]
    bad += [{**good, "id": ZERO, "diagnosis_codes": ["M79.3", 1]}, {**good, "extracted_data": {"a": ["\x00"]}}, None]
    answer = await admin.post("/api/cases/", json=bad)
    expected = ["1.nothing", "2.payer", "3", "4.status", "6.diagnosis_codes.1", "6.id", "7.extracted_data.a.0", "8"]
    assert fields(answer) == expected
    pointers = {error["field"]: error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {field: f"/{field.replace('.', '/')}" for field in expected}
    assert (await count(superuser, "cases"), await count(superuser, "audit_logs")) == before


async def test_all_or_none(
    admin: httpx.AsyncClient, north: Clinic, south: Clinic, superuser: asyncpg.Connection
) -> None:
    """One row with a foreign reference, an absent one or a key that is taken refuses all rows of the list."""
    for other in (str(south.rows["cases"]), ZERO):
        rows = [north.body("tasks"), north.body("tasks", case_id=other), north.body("tasks")]
        assert fields(await admin.post("/api/tasks/", json=rows)) == ["case_id"]
    users = [north.body("users"), north.body("users", email="staff@north.com")]
    assert_problem(await admin.post("/api/users/", json=users), 409)
    assert_problem(await admin.post("/api/users/", json=[north.body("users")] * 2), 409)
    assert await count(superuser, "tasks") == 2
    assert await count(superuser, "users") == 8


async def test_roles_and_rules_of_a_list(staff: httpx.AsyncClient, north: Clinic) -> None:
    """Who may not create may not create many; staff deciding in one row of many is a 403 before any 422."""
    assert_problem(await staff.post("/api/rulesets/", json=[north.body("rulesets")]), 403)
    cases = [north.body("cases", payer=""), north.body("cases", status="denied")]
    assert_problem(await staff.post("/api/cases/", json=cases), 403)
    assert (await staff.post("/api/cases/", json=[north.body("cases")])).status_code == 201


async def test_limits_of_a_body(admin: httpx.AsyncClient, north: Clinic) -> None:
    """One row may have 1 MiB, a list or a CSV 16 MiB; a byte more is a 413."""
    json_type = {"Content-Type": "application/json"}
    row = b'{"payer":"Aetna","procedure":"p","rules_json":{}}'
    for content, limit in ((row, MIB), (b" [" + row + b"]", 16 * MIB)):
        filled = content.ljust(limit)
        assert (await admin.post("/api/rulesets/", content=filled, headers=json_type)).status_code == 201
        too_much = await admin.post("/api/rulesets/", content=filled + b" ", headers=json_type)
        assert str(limit) in assert_problem(too_much, 413)["detail"]
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    for method, target in (("PATCH", path), ("PUT", path), ("PATCH", "/api/rulesets/?payer=Cigna")):
        answer = await admin.request(method, target, content=b"[".ljust(MIB + 1), headers=json_type)
        assert_problem(answer, 413)
    csv_type = {"Content-Type": "Text/CSV; charset=utf-8"}
    csv = b"payer,procedure,rules_json\r\nAetna,p,{}\r\nAetna,q,"
    filled = csv + b'"{' + b" " * (16 * MIB - len(csv) - 4) + b'}"'
    assert (await admin.post("/api/rulesets/", content=filled, headers=csv_type)).status_code == 201
    assert_problem(await admin.post("/api/rulesets/", content=filled + b"\n", headers=csv_type), 413)


# -- Filtered collections ----------------------------------------------------


async def test_a_filter_is_needed(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Without a filter a change or deletion of many rows is a 400, and so is a parameter that only reads know."""
    before = await state_of(superuser, "rulesets", north)
    readers = ("__page=1", "__order=id", "__cursor=", "__visible_fields=id", "__total=true", "__page_size=5")
    for query in ("", "?", "?__max_affected=5", *(f"?payer=Cigna&{reader}" for reader in readers)):
        assert_problem(await admin.patch(f"/api/rulesets/{query}", json={"payer": "x"}), 400)
        assert_problem(await admin.delete(f"/api/rulesets/{query}"), 400)
    for bad in ("0", "1001", "x", ""):
        assert_problem(await admin.delete(f"/api/rulesets/?payer=x&__max_affected={bad}"), 400)
    assert await state_of(superuser, "rulesets", north) == before


async def test_change_of_many(
    admin: httpx.AsyncClient, north: Clinic, south: Clinic, superuser: asyncpg.Connection
) -> None:
    """PATCH of a filtered collection changes what the filter finds in the own clinic, and answers those rows."""
    foreign = await state_of(superuser, "rulesets", south)
    rows = [north.body("rulesets", payer=payer) for payer in ("a", "b", "b")]
    created = (await admin.post("/api/rulesets/", json=rows)).json()["rows"]
    answer = await admin.patch("/api/rulesets/?payer__in=b,Cigna", json={"is_active": False, "procedure": "new"})
    assert answer.status_code == 200, answer.text
    found = answer.json()["rows"]
    expected = {str(north.rows["rulesets"]), created[1]["id"], created[2]["id"]}
    assert {row["id"] for row in found} == expected
    for row in found:
        assert (row["is_active"], row["procedure"], row["payer"] != "a") == (False, "new", True)
        assert (await admin.get(f"/api/rulesets/{row['id']}/")).json() == row
    untouched = await admin.get(f"/api/rulesets/{created[0]['id']}/")
    assert untouched.json() == created[0]
    trail = "SELECT count(*) FROM audit_logs WHERE entity_id = ANY($1) AND action = 'update'"
    assert await superuser.fetchval(trail, list(expected)) == 3
    nothing = await admin.patch("/api/rulesets/?payer=nobody", json={"is_active": False})
    assert (nothing.status_code, nothing.json()) == (200, {"rows": []})
    assert await state_of(superuser, "rulesets", south) == foreign


async def test_content_of_a_change_of_many(admin: httpx.AsyncClient, north: Clinic, south: Clinic) -> None:
    """A change of many is checked like a change of one, found or not: types, unknown fields, the server's columns."""
    for query in ("payer=Cigna", "payer=nobody"):
        for bad in ({"payer": ""}, {"nothing": 1}, {"created_at": "2020-01-01T00:00:00Z"}, {"is_active": None}):
            assert fields(await admin.patch(f"/api/rulesets/?{query}", json=bad)) == list(bad)
        assert_problem(await admin.patch(f"/api/rulesets/?{query}", json=[]), 422)
    assert fields(await admin.patch("/api/tasks/?title=Review", json={"case_id": str(south.rows["cases"])})) == [
        "case_id"
    ]
    row = (await admin.get(f"/api/rulesets/{north.rows['rulesets']}/")).json()
    for same in ({}, {"tenant_id": row["tenant_id"]}, row):
        answer = await admin.patch(f"/api/rulesets/?id={row['id']}", json=same)
        assert (answer.status_code, answer.json()) == (200, {"rows": [row]})


async def test_limit_of_a_change(
    admin: httpx.AsyncClient, north: Clinic, south: Clinic, superuser: asyncpg.Connection
) -> None:
    """More rows than `__max_affected`, 100 unless said otherwise, is a 409, and nothing is changed or deleted."""
    await superuser.execute(RULESETS, north.id, 101)
    await superuser.execute(RULESETS, south.id, 5)
    before = await state_of(superuser, "rulesets", north)
    foreign = await state_of(superuser, "rulesets", south)
    for query in ("payer=Bulk", "payer=Bulk&__max_affected=100", "procedure__in=1,2,3&__max_affected=2"):
        problem = assert_problem(await admin.patch(f"/api/rulesets/?{query}", json={"payer": "x"}), 409)
        assert "__max_affected" in problem["detail"]
        assert_problem(await admin.delete(f"/api/rulesets/?{query}"), 409)
    assert await state_of(superuser, "rulesets", north) == before
    changed = await admin.patch("/api/rulesets/?payer=Bulk&__max_affected=101", json={"payer": "Bulk 2"})
    assert len(changed.json()["rows"]) == 101
    deleted = await admin.delete("/api/rulesets/?payer=Bulk&procedure__in=1,2,3&__max_affected=3")
    assert (deleted.status_code, deleted.content, deleted.headers["content-range"]) == (204, b"", "rulesets */3")
    assert (await admin.delete("/api/rulesets/?payer=nobody")).headers["content-range"] == "rulesets */0"
    rest = await admin.delete("/api/rulesets/?__or=(payer=Bulk)&__max_affected=1000")
    assert rest.headers["content-range"] == "rulesets */98"
    assert await state_of(superuser, "rulesets", south) == foreign


async def test_roles_of_a_change(
    staff: httpx.AsyncClient, clinician: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """Roles hold for many rows as for one: staff decide no case among them, and delete none."""
    before = await state_of(superuser, "cases", north)
    assert_problem(await staff.patch("/api/cases/?status=pending", json={"status": "approved"}), 403)
    assert_problem(await staff.patch("/api/cases/?status=pending", json={"status": "denied", "nothing": 1}), 403)
    assert_problem(await staff.patch("/api/cases/?payer=nobody", json={"status": "denied"}), 403)
    assert_problem(await staff.delete("/api/cases/?status=pending"), 403)
    assert_problem(await staff.patch("/api/rulesets/?payer=Cigna", json={"is_active": False}), 403)
    assert_problem(await clinician.delete("/api/tasks/?title=Review"), 403)
    assert await state_of(superuser, "cases", north) == before
    decided = await clinician.patch("/api/cases/?status=pending", json={"status": "approved"})
    assert [row["status"] for row in decided.json()["rows"]] == ["approved"]


@pytest.mark.parametrize("path", ["/api/users/", "/api/users"])
async def test_many_users_are_deactivated_at_once(
    running: Running, admin: httpx.AsyncClient, north: Clinic, path: str
) -> None:
    """A user who is deactivated among many is refused from the next request on, with and without the last slash."""
    signed_in = north.headers(Role.staff)
    assert (await running.client.get("/api/me/", headers=signed_in)).status_code == 200
    answer = await admin.patch(f"{path}?role=staff", json={"is_active": False})
    assert {row["email"] for row in answer.json()["rows"]} == {"staff@north.com", "spare@north.com"}
    assert_problem(await running.client.get("/api/me/", headers=signed_in), 403)
