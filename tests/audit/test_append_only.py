"""Nobody edits the trail; what the schema itself does to it keeps who it was. And the events beside it."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tenancy.scoping import platform, tenant
from tenancy.settings import Settings
from tenancy.tables import Role
from tenancy.tokens import DevelopmentKeys
from tests.clinics import Clinic

FORGERIES = [
    "DELETE FROM audit_logs",
    "DELETE FROM audit_logs WHERE action = 'create'",
    "UPDATE audit_logs SET user_id = NULL",
    "UPDATE audit_logs SET user_id = (SELECT id FROM users LIMIT 1)",
    "UPDATE audit_logs SET actor = 'user:somebody else'",
    "UPDATE audit_logs SET changes = '{}'",
    "UPDATE audit_logs SET created_at = now()",
    "UPDATE audit_logs SET id = gen_random_uuid()",
    "TRUNCATE audit_logs",
    "TRUNCATE audit_logs CASCADE",
    "TRUNCATE tenants CASCADE",
    "INSERT INTO audit_logs (tenant_id, action, entity_type, entity_id) "
    "SELECT id, 'view', 'case', gen_random_uuid() FROM tenants",
]
# No privilege, no policy, no writable column, or the trigger's own refusal.
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.PostgresError)


async def whole_trail(superuser: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await superuser.fetch("SELECT * FROM audit_logs ORDER BY id")]


@pytest.mark.usefixtures("clinics")
@pytest.mark.parametrize("who", ["tenant", "platform"])
async def test_roles_of_the_app(superuser: asyncpg.Connection, who: str) -> None:
    """Neither a tenant nor the platform can write, change, delete or truncate the trail."""
    before = await whole_trail(superuser)
    for statement in FORGERIES:
        with pytest.raises(REFUSED):
            async with tenant("north", "admin@north.com") if who == "tenant" else platform() as transaction:
                await transaction.connection.execute(statement)
        assert (statement, await whole_trail(superuser)) == (statement, before)


@pytest.mark.usefixtures("clinics")
async def test_owner(superuser: asyncpg.Connection, owner: asyncpg.Connection) -> None:
    """The owner's ordinary statements change nothing either: refused, or blind to every row."""
    before = await whole_trail(superuser)
    for statement in FORGERIES:
        with suppress(*REFUSED):
            await owner.execute(statement)
        assert (statement, await whole_trail(superuser)) == (statement, before)


@pytest.mark.usefixtures("clinics")
async def test_trigger_holds_without_policies(superuser: asyncpg.Connection) -> None:
    """Who sees every row, as a superuser does, is still refused by the trigger."""
    before = await whole_trail(superuser)
    for statement in FORGERIES[:9]:
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await superuser.execute(statement)
        assert (statement, await whole_trail(superuser)) == (statement, before)


@pytest.mark.parametrize("role", list(Role))
async def test_over_http(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], role: Role) -> None:
    """Over HTTP nobody writes the trail or the events, and only admins read the trail."""
    north = clinics[0]
    for table in ("audit_logs", "events"):
        path = f"/api/{table}/{north.rows[table]}/"
        for method, target in (("POST", f"/api/{table}/"), ("PUT", path), ("PATCH", path), ("DELETE", path)):
            answer = await client.request(method, target, headers=north.headers(role), json=north.body(table))
            assert answer.status_code == 403
    status = (await client.get("/api/audit_logs/", headers=north.headers(role))).status_code
    assert status == (200 if role is Role.admin else 403)


async def test_deleted_user(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Deleting a user clears user_id on the trail and in the events, and nothing else; the actor stays."""
    north = clinics[0]
    staff = north.users[Role.staff]
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    await client.patch(f"/api/tasks/{north.rows['tasks']}/", headers=north.headers(Role.staff), json={"title": "x"})
    assert (await client.patch(path, headers=north.headers(), json={"payer": "x"})).status_code == 200
    query = "SELECT to_jsonb(a) - 'user_id' FROM audit_logs a WHERE actor = $1 ORDER BY id"
    before = [row[0] for row in await superuser.fetch(query, f"user:{staff}")]
    assert before
    assert (await client.delete(f"/api/users/{staff}/", headers=north.headers())).status_code == 204
    assert [row[0] for row in await superuser.fetch(query, f"user:{staff}")] == before
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE user_id = $1", staff) == 0
    gone = await superuser.fetchrow("SELECT * FROM audit_logs WHERE action = 'delete' AND entity_id = $1", staff)
    assert gone is not None
    assert gone["actor"] == f"user:{north.users[Role.admin]}"


async def test_user_who_deletes_oneself(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, settings: Settings
) -> None:
    """Who deletes the own account is on the trail as the actor, though no user_id can say so any more."""
    north = clinics[0]
    spare = north.rows["users"]
    await superuser.execute("UPDATE users SET role = 'admin', auth_id = 'spare' WHERE id = $1", spare)
    headers = {"Authorization": f"Bearer {DevelopmentKeys(settings.data_dir).sign('spare', settings, minutes=5)}"}
    answer = await client.delete(f"/api/users/{spare}/", headers=headers)
    assert answer.status_code == 204, answer.text
    query = "SELECT * FROM audit_logs WHERE request_id = $1"
    rows = await superuser.fetch(query, answer.headers["x-request-id"])
    # The task that was assigned to them is cleared by the same request.
    assert sorted((row["action"], row["entity_type"]) for row in rows) == [("delete", "user"), ("update", "task")]
    assert {(row["user_id"], row["actor"]) for row in rows} == {(None, f"user:{spare}")}


# -- Events ------------------------------------------------------------------


async def events_of(superuser: asyncpg.Connection, case: str) -> list[tuple[Any, ...]]:
    query = """SELECT event_type, entity_type, user_id, tenant_id, metadata->>'from', metadata->>'to'
                 FROM events WHERE entity_id = $1 ORDER BY created_at"""
    return [tuple(row) for row in await superuser.fetch(query, UUID(case))]


async def test_events_of_a_case(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A new case and each change of its status is one event, by whoever did it; other changes are none."""
    north = clinics[0]
    staff, clinician = north.users[Role.staff], north.users[Role.clinician]
    answer = await client.post("/api/cases/", headers=north.headers(Role.staff), json=north.body("cases"))
    case = answer.json()["id"]
    path = f"/api/cases/{case}/"
    changes: list[tuple[Role, dict[str, Any]]] = [
        (Role.staff, {"status": "pending"}),
        (Role.staff, {"priority": "high"}),
        (Role.staff, {"status": "more_info_needed", "payer": "New"}),
        (Role.staff, {"status": "more_info_needed"}),
        (Role.clinician, {"status": "approved"}),
    ]
    for role, body in changes:
        assert (await client.patch(path, headers=north.headers(role), json=body)).status_code == 200
    assert await events_of(superuser, case) == [
        ("case_created", "case", staff, north.id, None, None),
        ("case_status_changed", "case", staff, north.id, "pending", "more_info_needed"),
        ("case_status_changed", "case", clinician, north.id, "more_info_needed", "approved"),
    ]
    listed = (await client.get(f"/api/events/?entity_id={case}", headers=north.headers(Role.staff))).json()["rows"]
    assert [row["event_type"] for row in listed] == ["case_status_changed"] * 2 + ["case_created"]


async def test_events_of_sql(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """The database itself tells the events, of a change in plain SQL too, in the case's own tenant."""
    denied = "UPDATE cases SET status = 'denied', denial_reason = 'Not covered.' WHERE id = $1"
    for clinic in clinics:
        await superuser.execute(denied, clinic.rows["cases"])
        events = await events_of(superuser, str(clinic.rows["cases"]))
        assert events[-1] == ("case_status_changed", "case", None, clinic.id, "pending", "denied")
        assert [event[0] for event in events] == ["case_created", "case_assigned", "case_status_changed"]


async def test_events_are_on_the_trail(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """An event is a tenant's row like any other: its creation is one row on the trail."""
    query = "SELECT count(*) FROM audit_logs WHERE entity_type = 'event' AND action = 'create' AND entity_id = $1"
    for clinic in clinics:
        assert await superuser.fetchval(query, clinic.rows["events"]) == 1
