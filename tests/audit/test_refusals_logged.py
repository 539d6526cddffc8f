"""Every 403 and 404 is recorded alike, survives its rollback, and says nothing of what exists elsewhere."""

from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tenancy.tokens import DevelopmentKeys
from tests.audit.looks import Log
from tests.clinics import TABLES, Clinic
from tests.conftest import Running
from tests.operators import operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
OF_THE_REQUEST = ("id", "path", "created_at", "transaction_id", "request_id")


def without_request(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_THE_REQUEST}


async def test_no_oracle(client: httpx.AsyncClient, clinics: Clinics, looks: Log) -> None:
    """What is recorded of another tenant's row and of no row differs in nothing but the request itself, on each verb
    and table."""
    north, south = clinics
    for table in TABLES:
        missing = str(uuid4())
        for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE"):
            rows = []
            for row_id in (missing, str(south.rows[table])):
                path = f"/api/{table}/{row_id}/?__visible_fields=id" if method == "GET" else f"/api/{table}/{row_id}/"
                body = None if method in ("GET", "HEAD", "DELETE") else north.body(table)
                answer = await client.request(method, path, json=body, headers=north.headers())
                found = await looks.accesses()
                if answer.status_code not in (403, 404):
                    assert (answer.status_code, found) == (405, []), (method, table)
                    continue
                (row,) = found
                assert row["path"] == f"/api/{table}/{row_id}/"
                assert row["request_id"] == answer.headers["x-request-id"]
                assert (row["access"], row["status"], row["tenant_id"]) == ("refusal", answer.status_code, north.id)
                assert (row["user_id"], row["row_count"]) == (north.users[Role.admin], None)
                rows.append(without_request(row))
            assert rows[:1] == rows[1:], (method, table)
    assert await looks.views() == []


async def test_rollback_and_rest(
    client: httpx.AsyncClient, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """A refusal outlives the transaction that it rolled back; what is wrong in other ways is none."""
    north = clinics[0]
    case = f"/api/cases/{north.rows['cases']}/"
    staff = north.headers(Role.staff)
    conditional = staff | {"If-Match": "*"}
    refused = [
        await client.patch(case, json={"status": "approved"}, headers=conditional),
        await client.patch(f"/api/cases/{uuid4()}/", json={"payer": "x"}, headers=conditional),
        await client.post("/api/users/", json=north.body("users"), headers=staff),
        await client.get("/api/audit_logs/", headers=staff),
        await client.get("/api/cases/not-an-id/", headers=staff),
    ]
    assert [answer.status_code for answer in refused] == [403, 404, 403, 403, 404]
    assert [(row["status"], row["request_id"]) for row in await looks.accesses()] == [
        (answer.status_code, answer.headers["x-request-id"]) for answer in refused
    ]
    assert await superuser.fetchval("SELECT status FROM cases WHERE id = $1", north.rows["cases"]) == "pending"
    others = [
        await client.get(case),
        await client.get("/api/cases/?nothing=1", headers=staff),
        await client.post("/api/cases/ids/", headers=staff),
        await client.patch(case, json={"payer": "x"}, headers=staff | {"If-Match": '"x"'}),
        await client.patch(case, json={"payer": 1}, headers=staff),
    ]
    assert [answer.status_code for answer in others] == [401, 400, 405, 412, 422]
    assert (await looks.accesses(), await looks.views()) == ([], [])


async def test_who_is_no_user(client: httpx.AsyncClient, clinics: Clinics, looks: Log, settings: Settings) -> None:
    """A valid token of nobody's is recorded under its subject and no tenant, one of a deactivated user in the
    user's tenant."""
    north = clinics[0]
    keys = DevelopmentKeys(settings.data_dir)
    for subject in ("nobody", "x" * 3000, "🏥"):
        headers = {"Authorization": f"Bearer {keys.sign(subject, settings, minutes=5)}", "User-Agent": "Looks/1.0"}
        assert (await client.get(f"/api/cases/{north.rows['cases']}/", headers=headers)).status_code == 403
        (row,) = await looks.accesses()
        assert (row["tenant_id"], row["user_id"], row["status"]) == (None, None, 403)
        assert row["actor"].startswith(f"subject:{subject[:1]}")
        assert (row["ip_address"], row["user_agent"]) == ("127.0.0.1", "Looks/1.0")
    path = f"/api/users/{north.users[Role.staff]}/"
    assert (await client.patch(path, json={"is_active": False}, headers=north.headers())).status_code == 200
    assert (await client.get("/api/cases/", headers=north.headers(Role.staff))).status_code == 403
    (row,) = await looks.accesses()
    assert (row["tenant_id"], row["actor"]) == (north.id, f"user:{north.users[Role.staff]}")


@pytest.mark.parametrize("role", [Role.admin, None])
async def test_refused_in_the_admin(running: Running, clinics: Clinics, looks: Log, role: Role | None) -> None:
    """What an operator is refused is recorded alike, of a platform operator in no tenant; what is no refusal of an
    operator is not."""
    north, south = clinics
    async with operator(running.url, role) as client:
        refused = [
            await client.get(f"/api/tables/cases/{uuid4()}/"),
            *([await client.get(f"/api/tables/cases/{south.rows['cases']}/")] if role else []),
            await client.patch(f"/api/tables/audit_logs/{north.rows['audit_logs']}/", json={"user_id": None}),
            await client.get("/api/nothing/Doe-Jane/"),
            await client.get("/api/docs/"),
        ]
        assert {answer.status_code for answer in refused} == {403, 404}
        rows = await looks.accesses()
        assert [row["status"] for row in rows] == [answer.status_code for answer in refused]
        tenant, user = (north.id, north.users[role]) if role else (None, None)
        assert {(row["access"], row["tenant_id"], row["user_id"]) for row in rows} == {("refusal", tenant, user)}
        assert rows[-2]["path"] == "/admin/api/*/*/"
        if role:
            assert without_request(rows[0]) == without_request(rows[1])
        for path in (f"/api/tables/tasks/{north.rows['tasks']}/", "/api/tables/cases/new/", "/api/user/", "/"):
            assert (await client.get(path)).status_code == 200
        # The first of them is a look across tenants when the platform's operator has it.
        assert [row["access"] for row in await looks.accesses()] == ([] if role else ["list"])
        assert (await client.get("/api/tables/cases/?nothing=1")).status_code == 400
    await running.client.get("/admin/api/tables/cases/")
    await running.client.get("/admin/nothing")
    assert (await looks.accesses(), await looks.views()) == ([], [])
