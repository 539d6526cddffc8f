"""A tenant keeps an active admin, whoever takes the others away, and however many at once."""

import asyncio

import asyncpg
import httpx
import pytest

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.operators import operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
LOST = (
    "UPDATE users SET is_active = false WHERE id = $1",
    "UPDATE users SET role = 'staff' WHERE id = $1",
    "UPDATE users SET role = 'staff', is_active = false WHERE id = $1",
    "DELETE FROM users WHERE id = $1",
)
BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
ADMINS = "SELECT count(*) FROM users WHERE tenant_id = $1 AND role = 'admin' AND is_active"


def scope_of(clinic: Clinic, role: DatabaseRole) -> Scope:
    tenant_id = clinic.id if role is DatabaseRole.tenant else None
    return Scope(role=role, actor="test", tenant_id=tenant_id)


async def state_of(engine: FastlaneEngine, scope: Scope, statement: str, *arguments: object) -> str:
    """The SQLSTATE that the statement ends with, in a transaction of its own."""
    try:
        async with engine.transaction(allow_nested=False, scope=scope) as transaction:
            await transaction.connection.execute(statement, *arguments)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    return ""


@pytest.mark.parametrize("role", [DatabaseRole.tenant, DatabaseRole.platform])
async def test_by_sql(
    engine: FastlaneEngine, clinics: Clinics, superuser: asyncpg.Connection, role: DatabaseRole
) -> None:
    """The last one is not deactivated, demoted or deleted, alone or with everybody else; one of two is."""
    north, south = clinics
    scope, admin = scope_of(north, role), north.users[Role.admin]
    for statement in LOST:
        assert await state_of(engine, scope, statement, admin) == "FL409", statement
    everybody = "UPDATE users SET is_active = false WHERE tenant_id = $1"
    assert await state_of(engine, scope, everybody, north.id) == "FL409"
    # They change places in one statement.
    places = "UPDATE users SET role = CASE id WHEN $1 THEN 'staff' ELSE 'admin' END WHERE id IN ($1, $2)"
    assert await state_of(engine, scope, places, admin, north.users[Role.staff]) == ""
    assert await state_of(engine, scope, LOST[0], north.users[Role.staff]) == "FL409"
    # Nobody asks how many there are of who is none.
    assert await state_of(engine, scope, LOST[0], admin) == ""
    assert await superuser.fetchval(ADMINS, south.id) == 1


async def test_over_http(running: Running, clinics: Clinics) -> None:
    """API and admin answer a 409 that says what to do; where somebody else is an admin, the first one may go."""
    north = clinics[0]
    admin, staff = north.users[Role.admin], north.users[Role.staff]
    path, headers = f"/api/users/{admin}/", north.headers()
    for change in ({"is_active": False}, {"role": "staff"}):
        answer = await running.client.patch(path, json=change, headers=headers)
        assert (answer.status_code, "make somebody else one" in answer.text) == (409, True)
        assert answer.json()["errors"][0]["field"] == next(iter(change))
    for bulk in (f"/api/users/?id={admin}", "/api/users/?role=admin"):
        assert (await running.client.patch(bulk, json={"is_active": False}, headers=headers)).status_code == 409
    for role in (Role.admin, None):
        async with operator(running.url, role) as client:
            for change in ({"is_active": False}, {"role": "staff"}):
                answer = await client.patch(f"/api/tables/users/{admin}/", json=change)
                assert (answer.status_code, "make somebody else one" in answer.text) == (409, True)
    assert (await running.client.delete(path, headers=headers)).status_code == 409
    promoted = await running.client.patch(f"/api/users/{staff}/", json={"role": "admin"}, headers=headers)
    assert promoted.status_code == 200
    assert (await running.client.patch(path, json={"role": "staff"}, headers=headers)).status_code == 200


async def acting(database: TestDatabase, clinic: Clinic) -> asyncpg.Connection:
    """A connection that acts for the clinic's people."""
    connection = await asyncpg.connect(database.superuser)
    await connection.execute(f"SET app.tenant_id = '{clinic.id}'; SET ROLE fastlane_tenant")
    return connection


@pytest.mark.parametrize("mode", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("second", LOST)
async def test_at_once(
    database: TestDatabase, clinics: Clinics, superuser: asyncpg.Connection, mode: str, second: str
) -> None:
    """Of two admins who are taken away at the same moment, each from a state with both, one stays."""
    north = clinics[0]
    first_admin, second_admin = north.users[Role.admin], north.rows["users"]
    await superuser.execute("UPDATE users SET role = 'admin' WHERE id = $1", second_admin)
    connections = [await acting(database, north) for _ in range(2)]
    for connection in connections:
        await connection.execute(f"BEGIN ISOLATION LEVEL {mode}")
    await connections[0].execute(LOST[1], first_admin)
    waiting = asyncio.create_task(connections[1].execute(second, second_admin))
    async with asyncio.timeout(20):
        while not (await superuser.fetchval(BLOCKED) or waiting.done()):  # noqa: ASYNC110  # The server's event.
            await asyncio.sleep(0.01)
    assert not waiting.done()
    await connections[0].execute("COMMIT")
    with pytest.raises(asyncpg.PostgresError) as refused:
        await waiting
    assert refused.value.sqlstate in ("FL409", "40001")
    for connection in connections:
        await connection.close()
    assert await superuser.fetchval(ADMINS, north.id) == 1


async def test_a_tenant_goes_with_its_admins(
    engine: FastlaneEngine, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """The deletion of a whole tenant takes its last admin along."""
    north = clinics[0]
    scope = scope_of(north, DatabaseRole.platform)
    assert await state_of(engine, scope, "DELETE FROM tenants WHERE id = $1", north.id) == ""
    assert await superuser.fetchval("SELECT count(*) FROM users WHERE tenant_id = $1", north.id) == 0


async def test_deactivation_ends_access(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """A second admin who is deactivated by the first is refused from the next request on."""
    north = clinics[0]
    staff = north.users[Role.staff]
    for change, status in (({"role": "admin"}, 200), ({"is_active": False}, 403)):
        answer = await client.patch(f"/api/users/{staff}/", json=change, headers=north.headers())
        assert answer.status_code == 200
        assert (await client.get("/api/audit_logs/", headers=north.headers(Role.staff))).status_code == status
