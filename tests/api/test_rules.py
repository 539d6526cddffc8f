"""What the API refuses though it is well-formed: status rules, references, roles, deletions."""

from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic

ZERO = "00000000-0000-0000-0000-000000000000"
DECISIONS = ("approved", "denied")
# What each is sent with.
DECIDE: dict[str, dict[str, str]] = {
    "approved": {"status": "approved"},
    "denied": {"status": "denied", "denial_reason": "Not covered."},
}


async def status_of(client: httpx.AsyncClient, clinic: Clinic) -> str:
    return str((await client.get(f"/api/cases/{clinic.rows['cases']}")).json()["status"])


@pytest.mark.parametrize("role", list(Role))
async def test_case_opens_as_pending(client: httpx.AsyncClient, north: Clinic, role: Role) -> None:
    """A case is created as pending, said or not, by every role; any other status is a 422, a decision too."""
    headers = north.headers(role)
    for status in ("more_info_needed", "unknown", None, *(DECISIONS if role is not Role.staff else ())):
        answer = await client.post("/api/cases/", headers=headers, json=north.body("cases", status=status))
        assert fields(answer) == ["status"]
    body = north.body("cases")
    del body["status"]
    for accepted in (body, north.body("cases", status="pending")):
        answer = await client.post("/api/cases/", headers=headers, json=accepted)
        assert (answer.status_code, answer.json()["status"]) == (201, "pending")
        assert answer.json()["created_by"] == str(north.users[role])


@pytest.mark.parametrize("decision", DECISIONS)
async def test_staff_may_not_decide(
    staff: httpx.AsyncClient, clinician: httpx.AsyncClient, north: Clinic, decision: str
) -> None:
    """Staff set a case neither to approved nor to denied, by PATCH, PUT or POST; clinicians may."""
    path = f"/api/cases/{north.rows['cases']}/"
    assert_problem(await staff.patch(path, json={"status": decision}), 403)
    assert_problem(await staff.put(path, json=north.body("cases", status=decision)), 403)
    assert_problem(await staff.post("/api/cases/", json=north.body("cases", status=decision)), 403)
    assert await status_of(staff, north) == "pending"
    assert (await staff.patch(path, json={"status": "more_info_needed"})).status_code == 200
    assert (await clinician.patch(path, json=DECIDE[decision])).json()["status"] == decision


async def test_staff_may_edit_a_decided_case(staff: httpx.AsyncClient, admin: httpx.AsyncClient, north: Clinic) -> None:
    """A decided case stays editable for staff as long as they do not decide: its status may be sent back."""
    path = f"/api/cases/{north.rows['cases']}/"
    assert (await admin.patch(path, json=DECIDE["denied"])).status_code == 200
    row = (await staff.get(path)).json()
    assert (await staff.put(path, json=row | {"priority": "low"})).json()["priority"] == "low"
    assert_problem(await staff.patch(path, json={"status": "approved"}), 403)
    assert await status_of(staff, north) == "denied"


async def test_refused_change_changes_nothing(staff: httpx.AsyncClient, north: Clinic) -> None:
    """Of a request that is refused for one field no other field is stored."""
    path = f"/api/cases/{north.rows['cases']}/"
    before = (await staff.get(path)).json()
    refused: list[dict[str, Any]] = [{"status": "approved"}, {"nothing": 1}, {"ingestion_id": ZERO}, {"payer": ""}]
    for spoil in refused:
        assert (await staff.patch(path, json={"priority": "urgent", **spoil})).status_code in (403, 422)
    assert (await staff.get(path)).json() == before


async def test_user_who_created_cases(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A user who created cases is not deleted: 409 that says what to do instead, and the cases stay."""
    path = f"/api/users/{north.users[Role.admin]}/"
    problem = assert_problem(await admin.delete(path), 409)
    assert "is_active" in problem["detail"]
    assert await superuser.fetchval("SELECT count(*) FROM cases WHERE tenant_id = $1", north.id) == 1
    assert (await admin.delete(f"/api/users/{north.rows['users']}/")).status_code == 204


async def test_unique_email(admin: httpx.AsyncClient, north: Clinic, south: Clinic) -> None:
    """An email is taken once in a clinic (409 naming it) and free in another."""
    taken = f"staff@{north.slug}.com"
    assert fields(await admin.post("/api/users/", json=north.body("users", email=taken)), 409) == ["email"]
    assert fields(await admin.patch(f"/api/users/{north.rows['users']}/", json={"email": taken}), 409) == ["email"]
    elsewhere = f"staff@{south.slug}.com"
    assert (await admin.post("/api/users/", json=north.body("users", email=elsewhere))).status_code == 201


REFERENCES = [
    ("cases", "ingestion_id", "ingestions"),
    ("case_codes", "case_id", "cases"),
    ("tasks", "case_id", "cases"),
    ("tasks", "assigned_to", "users"),
]


def comparable(answer: httpx.Response, status: int) -> dict[str, Any]:
    """A problem without what tells one request from another."""
    problem = assert_problem(answer, status)
    return {name: value for name, value in problem.items() if name not in ("request_id", "instance")}


@pytest.mark.parametrize("reference", REFERENCES, ids=str)
async def test_foreign_reference_is_an_unknown_one(
    admin: httpx.AsyncClient, north: Clinic, south: Clinic, reference: tuple[str, str, str]
) -> None:
    """A reference to another clinic's row gets the very 422 that a reference to nothing gets, and names the field."""
    table, column, target = reference
    path = f"/api/{table}/{north.rows[table]}/"
    for method, target_path, body in (
        ("POST", f"/api/{table}/", north.body(table)),
        ("PUT", path, north.body(table)),
        ("PATCH", path, {}),
    ):
        foreign = await admin.request(method, target_path, json={**body, column: str(south.rows[target])})
        nothing = await admin.request(method, target_path, json={**body, column: ZERO})
        assert fields(nothing) == [column]
        assert comparable(foreign, 422) == comparable(nothing, 422)


async def test_foreign_row_is_an_unknown_one(admin: httpx.AsyncClient, north: Clinic, south: Clinic) -> None:
    """Another clinic's row and a row that does not exist get the same answer on every verb."""
    for table in ("users", "ingestions", "cases", "case_codes", "tasks", "rulesets"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            foreign, nothing = [
                await admin.request(method, f"/api/{table}/{row_id}/", json=north.body(table))
                for row_id in (south.rows[table], ZERO)
            ]
            assert (foreign.status_code, nothing.status_code) == (404, 404)
            if method != "HEAD":
                assert comparable(foreign, 404) == comparable(nothing, 404)


async def test_forbidden_before_missing(staff: httpx.AsyncClient, north: Clinic) -> None:
    """What a role may not do is a 403 whether the row exists or not, and before its body is looked at."""
    for row_id in (north.rows["rulesets"], ZERO, "no-uuid"):
        for method in ("PUT", "PATCH", "DELETE"):
            answer = await staff.request(
                method, f"/api/rulesets/{row_id}/", content=b"{", headers={"Content-Type": "x"}
            )
            assert_problem(answer, 403)
    assert_problem(await staff.post("/api/rulesets/", content=b"{"), 403)
    assert_problem(await staff.get("/api/audit_logs/"), 403)
    assert_problem(await staff.get(f"/api/audit_logs/{ZERO}/"), 403)


async def test_tenant_is_renamed_by_its_admin_only(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, clinician: httpx.AsyncClient, north: Clinic
) -> None:
    """An admin renames the clinic, and changes nothing else of it."""
    path = f"/api/tenants/{north.id}/"
    for client in (staff, clinician):
        assert_problem(await client.patch(path, json={"name": "Renamed"}), 403)
    answer = await admin.patch(path, json={"name": "Renamed"})
    assert (answer.status_code, answer.json()["name"]) == (200, "Renamed")
    assert fields(await admin.patch(path, json={"slug": "renamed"})) == ["slug"]
    assert_problem(await admin.delete(path), 403)
