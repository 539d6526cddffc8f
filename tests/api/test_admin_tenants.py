"""What the admin shows and changes: of one clinic, of all, and what the trail says about it."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from tenancy.permissions import Operation, is_allowed
from tenancy.tables import Role
from tests.clinics import RECORDED_LOOKS, TABLES, Clinic
from tests.conftest import Running
from tests.operators import fill_form, operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]
CREATED = [table for table in TABLES if is_allowed(Role.admin, table, Operation.create)]
# A column of each table that an admin may change, with another value.
CHANGES: dict[str, dict[str, str]] = {
    "tenants": {"name": "Renamed"},
    "users": {"name": "Renamed"},
    "ingestions": {"storage_path": "r2://other"},
    "cases": {"payer": "Renamed"},
    "case_codes": {"code": "99999"},
    "tasks": {"title": "Renamed"},
    "rulesets": {"payer": "Renamed"},
}


def path_of(table: str, row: UUID | str) -> str:
    return f"/api/tables/{table}/{row}/"


async def count_of(superuser: asyncpg.Connection, table: str, clinic: Clinic) -> int:
    key = "id" if table == "tenants" else "tenant_id"
    found: int = await superuser.fetchval(f"SELECT count(*) FROM {table} WHERE {key} = $1", clinic.id)
    return found


async def snapshot(superuser: asyncpg.Connection, clinic: Clinic) -> list[str]:
    """Every row of the clinic, as text, but for those that come by looking."""
    rows: list[str] = []
    for table in TABLES:
        key = "id" if table == "tenants" else "tenant_id"
        where = f"{key} = $1 AND NOT ({RECORDED_LOOKS.get(table, 'false')})"
        found = await superuser.fetch(f"SELECT t::text FROM {table} t WHERE {where} ORDER BY id", clinic.id)
        rows += [row["t"] for row in found]
    return rows


async def trail(superuser: asyncpg.Connection, entity: UUID | str) -> list[dict[str, Any]]:
    """What the admin's operators did to a row, oldest first."""
    rows = await superuser.fetch(
        "SELECT * FROM audit_logs WHERE entity_id = $1 AND actor LIKE 'operator:%' AND action <> 'view' "
        "ORDER BY created_at",
        UUID(str(entity)),
    )
    return [dict(row) for row in rows]


async def test_lists_show_the_own_clinic(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Lists, counts and the pickers of references hold the rows of the operator's clinic, all of
    them and no other."""
    north, south = clinics
    async with operator(running.url) as client:
        for table in TABLES:
            listed = await client.get(f"/api/tables/{table}/", params={"__readable": "true", "__page_size": "100"})
            rows = listed.json()["rows"]
            counted = (await client.get(f"/api/tables/{table}/count/")).json()["count"]
            picked = (await client.get(f"/api/tables/{table}/ids/")).json()
            searched = (await client.get(f"/api/tables/{table}/ids/", params={"search": "", "limit": "50"})).json()
            last = await count_of(superuser, table, north)
            # The log has one more row after each of these looks.
            expected = [last - missing for missing in (4, 3, 2, 1)] if table == "access_logs" else [last] * 4
            assert [len(rows), counted, len(picked), len(searched)] == expected, table
            assert str(south.id) not in listed.text
            assert not {str(row) for row in south.rows.values()} & {row["id"] for row in rows}
            assert str(south.rows[table]) not in picked


async def test_filters_do_not_reach_another_clinic(running: Running, clinics: Clinics) -> None:
    """Asking for another clinic's rows by tenant, id or content finds none."""
    south = clinics[1]
    async with operator(running.url) as client:
        for table in TABLES[1:]:
            for query in ({"tenant_id": str(south.id)}, {"id": str(south.rows[table])}):
                assert (await client.get(f"/api/tables/{table}/", params=query)).json() == {"rows": []}
                assert (await client.get(f"/api/tables/{table}/count/", params=query)).json()["count"] == 0
        assert (await client.get("/api/tables/users/ids/", params={"search": "south"})).json() == {}


async def test_rows_of_another_clinic_do_not_exist(
    running: Running, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Another clinic's row and a row that does not exist are the same 404 on every verb, and
    nothing of the other clinic changes."""
    south = clinics[1]
    before = await snapshot(superuser, south)
    async with operator(running.url) as client:
        for table in TABLES:
            for verb in ("GET", "PATCH", "PUT", "DELETE"):
                body = await complete(client, table, clinics[0]) if verb in ("PATCH", "PUT") else None
                foreign = await client.request(verb, path_of(table, south.rows[table]), json=body)
                absent = await client.request(verb, path_of(table, uuid4()), json=body)
                refused = 404 if verb == "GET" or table in CHANGES else 403
                if (table, verb) == ("tenants", "DELETE"):
                    refused = 403
                assert (foreign.status_code, absent.status_code) == (refused, refused), (table, verb)
                if refused == 404:
                    assert foreign.text == absent.text
    assert await snapshot(superuser, south) == before


async def complete(client: httpx.AsyncClient, table: str, clinic: Clinic) -> dict[str, Any]:
    """A row as the page has it when somebody edits it."""
    row: dict[str, Any] = (await client.get(path_of(table, clinic.rows[table]))).json()
    del row["id"]
    return row | CHANGES.get(table, {})


@pytest.mark.parametrize(
    "reference",
    [
        ("cases", "ingestion_id", "ingestions"),
        ("case_codes", "case_id", "cases"),
        ("tasks", "case_id", "cases"),
        ("tasks", "assigned_to", "users"),
    ],
)
async def test_references_stay_in_the_clinic(
    running: Running, clinics: Clinics, superuser: asyncpg.Connection, reference: tuple[str, str, str]
) -> None:
    """A reference to another clinic's row is refused on create and on update, like one to nothing."""
    table, column, target = reference
    north, south = clinics
    async with operator(running.url) as client:
        for row in (south.rows[target], uuid4()):
            change = {column: str(row)}
            form = await fill_form(client, table, north.body(table, **change))
            assert (await client.post(f"/api/tables/{table}/", json=form)).status_code == 422
            assert (await client.patch(path_of(table, north.rows[table]), json=change)).status_code == 422
    assert await count_of(superuser, table, north) == 1


@pytest.mark.parametrize("table", CREATED)
async def test_create(running: Running, clinics: Clinics, superuser: asyncpg.Connection, table: str) -> None:
    """The form of each table creates a row of the operator's clinic, audited once, as the user
    that the operator acts for."""
    north = clinics[0]
    async with operator(running.url) as client:
        form = await fill_form(client, table, north.body(table))
        assert form["tenant_id"] == ""
        answer = await client.post(f"/api/tables/{table}/", json=form, headers={"User-Agent": "test"})
        assert answer.status_code == 201, answer.text
        created = answer.json()[0]["id"]
        row = (await client.get(path_of(table, created))).json()
    assert row["tenant_id"] == str(north.id)
    if table == "cases":
        assert row["created_by"] == str(north.users[Role.admin])
    (entry,) = await trail(superuser, created)
    assert entry["action"] == "create"
    assert (entry["tenant_id"], entry["user_id"]) == (north.id, north.users[Role.admin])
    assert (entry["actor"], entry["ip_address"], entry["user_agent"]) == ("operator:north-admin", "127.0.0.1", "test")
    assert entry["request_id"] == answer.headers["x-request-id"]


async def test_create_with_null_as_tenant(running: Running, clinics: Clinics) -> None:
    """A null in place of the tenant is filled in like the form's empty text."""
    async with operator(running.url) as client:
        form = await fill_form(client, "rulesets", clinics[0].body("rulesets", tenant_id=None))
        answer = await client.post("/api/tables/rulesets/", json=form | {"tenant_id": None})
        row = (await client.get(path_of("rulesets", answer.json()[0]["id"]))).json()
    assert row["tenant_id"] == str(clinics[0].id)


@pytest.mark.parametrize("table", CREATED)
async def test_nobody_chooses_a_tenant(
    running: Running, clinics: Clinics, superuser: asyncpg.Connection, table: str
) -> None:
    """Another clinic as the tenant of a new or an existing row is refused."""
    north, south = clinics
    before = await snapshot(superuser, south)
    async with operator(running.url) as client:
        form = await fill_form(client, table, north.body(table, tenant_id=str(south.id)))
        assert (await client.post(f"/api/tables/{table}/", json=form)).status_code == 403
        moved = await client.patch(path_of(table, north.rows[table]), json={"tenant_id": str(south.id)})
        assert moved.status_code == 422
        assert moved.json()["errors"][0]["field"] == "tenant_id"
    assert await snapshot(superuser, south) == before


@pytest.mark.parametrize("table", [table for table in CHANGES if table != "tenants"])
async def test_edit(running: Running, clinics: Clinics, superuser: asyncpg.Connection, table: str) -> None:
    """Saving a row's form as the page sends it changes the one column, and the trail has it so."""
    north = clinics[0]
    (column, value) = next(iter(CHANGES[table].items()))
    async with operator(running.url) as client:
        form = await complete(client, table, north)
        answer = await client.patch(path_of(table, north.rows[table]), json=form)
        assert answer.status_code == 200, answer.text
        assert (await client.get(path_of(table, north.rows[table]))).json()[column] == value
    (entry,) = await trail(superuser, north.rows[table])
    assert json.loads(entry["changes"])["after"].keys() - {"updated_at", "version"} == {column}
    assert entry["user_id"] == north.users[Role.admin]


async def test_rename_the_clinic(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """An admin renames the clinic, and only that: its slug is not the clinic's to change."""
    north = clinics[0]
    async with operator(running.url) as client:
        assert (await client.patch(path_of("tenants", north.id), json={"name": "Renamed"})).status_code == 200
        assert (await client.patch(path_of("tenants", north.id), json={"slug": "renamed"})).status_code in (403, 422)
    assert (
        await superuser.fetchval("SELECT name || ' ' || slug FROM tenants WHERE id = $1", north.id) == "Renamed north"
    )


@pytest.mark.parametrize("table", CREATED)
async def test_delete(running: Running, clinics: Clinics, superuser: asyncpg.Connection, table: str) -> None:
    """An admin deletes rows of the clinic, which the trail tells."""
    north = clinics[0]
    async with operator(running.url) as client:
        assert (await client.delete(path_of(table, north.rows[table]))).status_code == 204
        assert (await client.get(path_of(table, north.rows[table]))).status_code == 404
    (entry,) = await trail(superuser, north.rows[table])
    assert (entry["action"], entry["user_id"]) == ("delete", north.users[Role.admin])


async def test_who_created_cases_is_not_deleted(running: Running, clinics: Clinics) -> None:
    """A user who created cases is not deleted, by an operator of the clinic or of the platform."""
    creator = path_of("users", clinics[0].users[Role.admin])
    for role in (Role.admin, None):
        async with operator(running.url, role) as client:
            assert (await client.delete(creator)).status_code == 409
            assert (await client.get(creator)).status_code == 200


async def test_subjects_are_not_written(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Nobody's sign-in is taken over in the admin: auth_id cannot be set, changed or cleared."""
    north = clinics[0]
    before = await superuser.fetch("SELECT id, auth_id FROM users ORDER BY id")
    async with operator(running.url) as client:
        form = await fill_form(client, "users", north.body("users", auth_id="thief"))
        assert (await client.post("/api/tables/users/", json=form)).status_code == 422
        for user in (north.rows["users"], north.users[Role.clinician]):
            for value in ("thief", None if user == north.users[Role.clinician] else "other", "south-admin"):
                answer = await client.patch(path_of("users", user), json={"auth_id": value})
                assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "auth_id")
    assert await superuser.fetch("SELECT id, auth_id FROM users ORDER BY id") == before


async def test_operators_are_not_shown(running: Running) -> None:
    """Operators and sessions are no tables of the admin, for the platform's operator neither."""
    for role in (Role.admin, None):
        async with operator(running.url, role) as client:
            assert set((await client.get("/api/tables/")).json()) == set(TABLES)
            for table in ("operators", "operator_sessions", "migration", "piccolo_user"):
                assert (await client.get(f"/api/tables/{table}/")).status_code == 404
            hidden = await client.get("/api/tables/users/", params={"__visible_fields": "tenant_id.operators"})
            assert hidden.status_code == 400


async def test_platform_sees_both_clinics(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """An operator of the platform sees the rows of every clinic."""
    async with operator(running.url, None) as client:
        for table in TABLES:
            expected = await superuser.fetchval(f"SELECT count(*) FROM {table}")
            assert (await client.get(f"/api/tables/{table}/count/")).json()["count"] == expected
            for clinic in clinics:
                assert (await client.get(path_of(table, clinic.rows[table]))).status_code == 200
