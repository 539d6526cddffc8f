"""Each table, each way of changing it: exactly one entry for each changed row, and none after a rollback."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.test_admin_tenants import CHANGES
from tests.audit.differences import ENTITIES, Entry, exactly_recorded
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import fill_form, operator

WRITABLE = ("users", "ingestions", "cases", "case_codes", "tasks", "rulesets")
Clinics = tuple[Clinic, Clinic]


def counted(entries: list[Entry]) -> dict[tuple[str, str], int]:
    """How many entries there are of each action and entity."""
    found: dict[tuple[str, str], int] = {}
    for action, entity, _, _ in entries:
        found[action, entity] = found.get((action, entity), 0) + 1
    return found


def named(table: str, body: dict[str, Any]) -> dict[str, Any]:
    """A body of which there can be many: users have an email of their own."""
    return body | {"email": f"{uuid4()}@example.com"} if table == "users" else body


async def test_api(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Over the API: one, many, and none where the answer is a refusal or nothing changes."""
    north = clinics[0]

    async def send(method: str, path: str, status: int, json: Any = None) -> tuple[Any, list[Entry]]:
        async with exactly_recorded(superuser) as entries:
            answer = await client.request(method, f"/api/{path}", headers=north.headers(), json=json)
            assert answer.status_code == status, (method, path, answer.text)
        return answer.json() if answer.content else None, entries

    for table in WRITABLE:
        entity, body, change = ENTITIES[table], north.body(table), CHANGES[table]
        row, entries = await send("POST", f"{table}/", 201, named(table, body))
        assert counted(entries)["create", entity] == 1
        many, entries = await send("POST", f"{table}/", 201, [named(table, body) for _ in range(40)])
        assert counted(entries)["create", entity] == 40
        path, some = f"{table}/{row['id']}/", ",".join(row["id"] for row in many["rows"])
        assert counted((await send("PATCH", path, 200, change))[1])["update", entity] == 1
        assert (await send("PATCH", path, 200, change))[1] == []
        assert (await send("PATCH", path, 422, change | {"nothing": 1}))[1] == []
        assert (await send("DELETE", f"{table}/{uuid4()}/", 404))[1] == []
        assert counted((await send("PATCH", f"{table}/?id__in={some}", 200, change))[1])["update", entity] == 40
        assert counted((await send("DELETE", path, 204))[1])["delete", entity] == 1
        assert counted((await send("DELETE", f"{table}/?id__in={some}", 204))[1])["delete", entity] == 40
    assert (await send("POST", "cases/", 422, [north.body("cases"), {"payer": 1}]))[1] == []
    assert counted((await send("PATCH", f"tenants/{north.id}/", 200, {"name": "New"}))[1]) == {("update", "tenant"): 1}


async def test_cascades_over_the_api(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """What goes along with a deleted row, and what loses its reference, has an entry each."""
    north = clinics[0]
    for table, expected in (
        ("ingestions", {("delete", "ingestion"): 1, ("update", "case"): 1}),
        ("users", {("delete", "user"): 1, ("update", "task"): 1}),
        ("cases", {("delete", "case"): 1, ("delete", "case_code"): 1, ("delete", "task"): 1}),
    ):
        async with exactly_recorded(superuser) as entries:
            answer = await client.delete(f"/api/{table}/{north.rows[table]}/", headers=north.headers())
            assert answer.status_code == 204, answer.text
        assert counted(entries) == expected


@pytest.mark.filterwarnings("ignore:If running sessions in production")
@pytest.mark.parametrize("role", [Role.admin, None], ids=["tenant operator", "platform operator"])
async def test_admin(running: Running, clinics: Clinics, superuser: asyncpg.Connection, role: Role | None) -> None:
    """In the admin, as an operator of the tenant and of the platform."""
    north = clinics[0]
    async with operator(running.url, role) as browser:
        for table in WRITABLE:
            collection, entity = f"/api/tables/{table}/", ENTITIES[table]
            form = await fill_form(browser, table, named(table, north.body(table)))
            if role is None:
                form |= {"tenant_id": str(north.id)}
                form |= {"created_by": str(north.users[Role.admin])} if table == "cases" else {}
            async with exactly_recorded(superuser) as entries:
                created = await browser.post(collection, json=form)
                assert created.status_code == 201, (table, created.text)
            assert counted(entries)["create", entity] == 1
            row = str(created.json()[0]["id"])
            async with exactly_recorded(superuser) as entries:
                assert (await browser.patch(f"{collection}{row}/", json=CHANGES[table])).status_code == 200
            assert counted(entries)["update", entity] == 1
            async with exactly_recorded(superuser) as entries:
                assert (await browser.delete(f"{collection}{row}/")).status_code == 204
            assert counted(entries)["delete", entity] == 1
            async with exactly_recorded(superuser) as entries:
                assert (await browser.patch(f"{collection}{row}/", json=CHANGES[table])).status_code == 404
            assert entries == []


# -- In SQL ------------------------------------------------------------------

BULK = 1000
INSERTS = {
    "users": "INSERT INTO users (id, tenant_id, email, role) SELECT gen_random_uuid(), $1, 'bulk' || n, 'staff'",
    "ingestions": "INSERT INTO ingestions (id, tenant_id, source_type, source_metadata, status) "
    "SELECT gen_random_uuid(), $1, 'pdf', '{}', 'processing'",
    "cases": "INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes, "
    "confidence_json, extracted_data) SELECT gen_random_uuid(), $1, $2, 'hash_bulk', 'Cigna', 'pending', 'low', '{}', "
    """'{"overall": 1}', '{}'""",
    "case_codes": "INSERT INTO case_codes (id, tenant_id, case_id, code_type, code) "
    "SELECT gen_random_uuid(), $1, $2, 'CPT', '72148'",
    "tasks": "INSERT INTO tasks (id, tenant_id, case_id, title) SELECT gen_random_uuid(), $1, $2, 'T'",
    "rulesets": "INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json) "
    "SELECT gen_random_uuid(), $1, 'Cigna', '72148', '{}'",
    "events": "INSERT INTO events (id, tenant_id, event_type) SELECT gen_random_uuid(), $1, 'told_by_hand'",
}
UPDATES = {
    "users": "name = 'B'",
    "ingestions": "status = 'completed'",
    "cases": "status = 'denied', denial_reason = 'Not covered.', priority = 'urgent'",
    "case_codes": "code = '97110'",
    "tasks": "status = 'completed'",
    "rulesets": "payer = 'Aetna'",
    "events": "event_type = 'edited'",
}


def second(clinic: Clinic, table: str) -> list[UUID]:
    """What a row of the table refers to besides its tenant."""
    parents: dict[str, Callable[[], UUID]] = {
        "cases": lambda: clinic.users[Role.admin],
        "case_codes": lambda: clinic.rows["cases"],
        "tasks": lambda: clinic.rows["cases"],
    }
    return [parents[table]()] if table in parents else []


@pytest.mark.parametrize("table", INSERTS)
async def test_sql(clinics: Clinics, superuser: asyncpg.Connection, table: str) -> None:
    """In plain SQL: a thousand rows at once, an update that changes some of them, a rollback, a deletion."""
    north, entity = clinics[0], ENTITIES[table]
    values = [north.id, *second(north, table)]
    insert = f"{INSERTS[table]} FROM generate_series(1, {BULK}) AS n"
    where = "WHERE tenant_id = $1 AND id <> $2"
    mine = [north.id, north.rows[table]]
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(insert, *values)
    assert counted(entries)["create", entity] == BULK
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(f"UPDATE {table} SET {UPDATES[table]} {where}", *mine)
    changed = counted(entries)["update", entity]
    assert changed >= BULK
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(f"UPDATE {table} SET {UPDATES[table]} {where}", *mine)
    assert entries == []
    async with exactly_recorded(superuser) as entries:
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute(f"DELETE FROM {table} {where} AND id <> ALL ($3)", *mine, list(north.users.values()))
        await transaction.rollback()
    assert entries == []
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(f"DELETE FROM {table} {where} AND id <> ALL ($3)", *mine, list(north.users.values()))
    assert counted(entries)["delete", entity] >= BULK
    with pytest.raises(asyncpg.PostgresError, match="not truncated"):
        await superuser.execute(f"TRUNCATE {table} CASCADE")


async def test_sql_that_is_more_than_one_change(clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """An upsert, a merge, a statement in a statement, a copy, and two changes of one row in one transaction."""
    north = clinics[0]
    upsert = """INSERT INTO users (id, tenant_id, email, role) VALUES (gen_random_uuid(), $1, 'new@north.com', 'staff'),
                (gen_random_uuid(), $1, 'spare@north.com', 'staff')
                ON CONFLICT (email, tenant_id) DO UPDATE SET name = 'Merged'"""
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(upsert, north.id)
    assert counted(entries) == {("create", "user"): 1, ("update", "user"): 1}
    merge = """MERGE INTO rulesets r USING (VALUES ('Cigna'), ('Humana')) AS wanted (payer)
               ON r.payer = wanted.payer AND r.tenant_id = '{0}'
               WHEN MATCHED THEN DELETE
               WHEN NOT MATCHED THEN INSERT (id, tenant_id, payer, procedure, rules_json)
               VALUES (gen_random_uuid(), '{0}', wanted.payer, '72148', '{{}}')"""
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(merge.format(north.id))
    assert counted(entries) == {("delete", "ruleset"): 1, ("create", "ruleset"): 1}
    nested = """WITH moved AS (DELETE FROM case_codes WHERE tenant_id = $1 RETURNING *)
                INSERT INTO case_codes (id, tenant_id, case_id, code_type, code)
                SELECT gen_random_uuid(), tenant_id, case_id, code_type, code FROM moved"""
    async with exactly_recorded(superuser) as entries:
        await superuser.execute(nested, north.id)
    assert counted(entries) == {("delete", "case_code"): 1, ("create", "case_code"): 1}
    rows = [(uuid4(), north.id, "Cigna", str(n), "{}") for n in range(10)]
    async with exactly_recorded(superuser) as entries:
        names = ["id", "tenant_id", "payer", "procedure", "rules_json"]
        await superuser.copy_records_to_table("rulesets", records=rows, columns=names)
    assert counted(entries) == {("create", "ruleset"): 10}
    case = north.rows["cases"]
    before = await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE entity_id = $1", case)
    async with superuser.transaction():
        for payer in ("first", "second"):
            await superuser.execute("UPDATE cases SET payer = $1 WHERE id = $2", payer, case)
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE entity_id = $1", case) == before + 2


async def test_sql_cascades(clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Deleting a user takes cases and their children along; deleting a tenant leaves no entry, and nothing of it."""
    north, south = clinics
    await superuser.execute("UPDATE users SET role = 'admin' WHERE id = $1", north.rows["users"])  # One stays.
    async with exactly_recorded(superuser) as entries:
        await superuser.execute("DELETE FROM users WHERE id = $1", north.users[Role.admin])
    assert counted(entries) == {
        ("delete", "user"): 1,
        ("delete", "case"): 1,
        ("delete", "case_code"): 1,
        ("delete", "task"): 1,
        ("update", "event"): counted(entries)["update", "event"],
    }
    await superuser.execute("DELETE FROM tenants WHERE id = $1", north.id)
    for table in (*ENTITIES, "audit_logs"):
        key = "id" if table == "tenants" else "tenant_id"
        counts = await superuser.fetch(f"SELECT {key} AS tenant, count(*) FROM {table} GROUP BY 1")
        assert [row["tenant"] for row in counts] == [south.id], table
