"""The trail: one row in audit_logs for each change of a tenant's row, whatever made it."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from cases.tables import Case, CaseCode, Ingestion, Ruleset, Task
from tenancy.scoping import platform, tenant
from tenancy.tables import Role, Tenant, User
from tests.clinics import Clinic

ENTITIES = {
    "users": "user",
    "ingestions": "ingestion",
    "cases": "case",
    "case_codes": "case_code",
    "tasks": "task",
    "rulesets": "ruleset",
}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "users": ({"name": None}, {"name": "Zoë"}),
    "ingestions": ({"storage_path": None}, {"storage_path": "r2://other"}),
    "cases": ({"metadata_json": None, "priority": "normal"}, {"metadata_json": {"a": [1]}, "priority": "high"}),
    "case_codes": ({"confidence": None}, {"confidence": 0.25}),
    "tasks": ({"title": "Review"}, {"title": "Done"}),
    "rulesets": ({"is_active": True}, {"is_active": False}),
}
AGENT = "Agent/1.0 ('; DROP TABLE audit_logs; --)"


class Trail:
    """Reads what was written of changes since the last time, oldest first."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._seen: set[UUID] = set()

    async def news(self) -> list[dict[str, Any]]:
        rows = await self._connection.fetch("SELECT * FROM audit_logs WHERE action <> 'view' ORDER BY created_at, id")
        found = [dict(row) for row in rows if row["id"] not in self._seen]
        self._seen |= {row["id"] for row in rows}
        for row in found:
            row["changes"] = json.loads(row["changes"])
        return found

    async def summary(self) -> list[tuple[str, str]]:
        """Action and entity of each new row, sorted: a transaction's rows have one time."""
        return sorted((row["action"], row["entity_type"]) for row in await self.news())


@pytest_asyncio.fixture
async def trail(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> AsyncIterator[Trail]:
    """The trail from here on; that of the clinics' creation has been seen."""
    trail = Trail(superuser)
    assert await trail.news()
    yield trail


def as_json(row: asyncpg.Record | None) -> dict[str, Any]:
    assert row is not None
    value: dict[str, Any] = json.loads(row["document"])
    return value


async def document_of(superuser: asyncpg.Connection, table: str, row_id: str) -> dict[str, Any]:
    """A whole row as the trail would write it: without what the database computes from the other columns."""
    await superuser.execute("SET timezone = 'UTC'")
    query = f"SELECT (to_jsonb(t) - 'search')::text AS document FROM {table} t WHERE id = $1"
    return as_json(await superuser.fetchrow(query, UUID(row_id)))


# -- Through the API ---------------------------------------------------------


@pytest.mark.parametrize("table", ENTITIES)
async def test_life_over_http(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, trail: Trail, table: str
) -> None:
    """Create, update and delete over HTTP leave one row each, with who, where from, and what changed."""
    north = clinics[0]
    headers = north.headers() | {"User-Agent": AGENT}
    answers = [await client.post(f"/api/{table}/", headers=headers, json=north.body(table))]
    row = answers[0].json()
    path = f"/api/{table}/{row['id']}/"
    created = await document_of(superuser, table, row["id"])
    entries = [entry for entry in await trail.news() if entry["entity_type"] != "event"]

    before, after = ({name: row[name] for name in CHANGES[table][1]}, CHANGES[table][1])
    answers.append(await client.patch(path, headers=headers, json=after))
    updated = await document_of(superuser, table, row["id"])
    entries += [entry for entry in await trail.news() if entry["entity_type"] != "event"]
    answers.append(await client.delete(path, headers=headers))
    entries += await trail.news()

    assert [entry["action"] for entry in entries] == ["create", "update", "delete"]
    stamps = {name: (created[name], updated[name]) for name in ("updated_at", "version") if name in created}
    assert entries[0]["changes"] == {"before": {}, "after": created}
    assert entries[1]["changes"] == {
        "before": before | {name: old for name, (old, _) in stamps.items()},
        "after": after | {name: new for name, (_, new) in stamps.items()},
    }
    assert entries[2]["changes"] == {"before": updated, "after": {}}
    for entry, answer in zip(entries, answers, strict=True):
        assert (entry["entity_type"], str(entry["entity_id"])) == (ENTITIES[table], row["id"])
        assert (entry["tenant_id"], entry["user_id"]) == (north.id, north.users[Role.admin])
        assert entry["actor"] == f"user:{north.users[Role.admin]}"
        assert (entry["ip_address"], entry["user_agent"]) == ("127.0.0.1", AGENT)
        assert entry["request_id"] == answer.headers["x-request-id"]


async def test_renamed_tenant(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], trail: Trail) -> None:
    """The tenant's own row is tracked as well."""
    north = clinics[0]
    await client.patch(f"/api/tenants/{north.id}/", headers=north.headers(), json={"name": "Renamed"})
    (entry,) = await trail.news()
    assert (entry["action"], entry["entity_type"], entry["entity_id"]) == ("update", "tenant", north.id)
    assert (entry["changes"]["before"]["name"], entry["changes"]["after"]["name"]) == ("North", "Renamed")


@pytest.mark.parametrize("table", ENTITIES)
async def test_no_change_no_row(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, trail: Trail, table: str
) -> None:
    """A write that changes nothing leaves no row, over HTTP or in SQL, and no new updated_at."""
    north = clinics[0]
    path = f"/api/{table}/{north.rows[table]}/"
    row = (await client.get(path, headers=north.headers())).json()
    for method, body in (("PATCH", {}), ("PATCH", row), ("PUT", row)):
        assert (await client.request(method, path, headers=north.headers(), json=body)).json() == row
    await superuser.execute(f"UPDATE {table} SET created_at = created_at")
    assert await trail.news() == []
    assert (await client.get(path, headers=north.headers())).json() == row


async def test_refused_request_leaves_nothing(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, trail: Trail
) -> None:
    """A request that is refused, at whatever stage, leaves neither a row in the trail nor an event."""
    north, south = clinics
    events = await superuser.fetchval("SELECT count(*) FROM events")
    staff, admin = north.headers(Role.staff), north.headers()
    case = f"/api/cases/{north.rows['cases']}/"
    refused = [
        await client.patch(case, headers=staff, json={"status": "approved"}),
        await client.patch(case, headers=admin, json={"payer": "x", "ingestion_id": str(south.rows["ingestions"])}),
        await client.patch(case, headers=admin, json={"payer": ""}),
        await client.post("/api/cases/", headers=admin, json=north.body("cases", ingestion_id=str(south.id))),
        await client.post("/api/users/", headers=admin, json=north.body("users", email="admin@north.com")),
        await client.delete(f"/api/users/{north.users[Role.admin]}/", headers=admin),
        await client.delete(f"/api/cases/{south.rows['cases']}/", headers=admin),
        await client.delete(case, headers=staff),
    ]
    assert [answer.status_code for answer in refused] == [403, 422, 422, 422, 409, 409, 404, 403]
    assert await trail.news() == []
    assert await superuser.fetchval("SELECT count(*) FROM events") == events


async def test_hostile_user_agents(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], trail: Trail) -> None:
    """Whatever a client calls itself is text in the trail, cut to a length, and breaks nothing."""
    north = clinics[0]
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    agents = [b"'; SET ROLE fastlane_platform; --", b"\\'\"$$", "Zoë".encode("latin-1"), b"A" * 10_000, b""]
    for number, agent in enumerate(agents):
        headers = {b"Authorization": north.headers()["Authorization"].encode(), b"User-Agent": agent}
        answer = await client.patch(path, headers=headers, json={"payer": f"payer {number}"})
        assert answer.status_code == 200
        (entry,) = await trail.news()
        text = agent.decode("latin-1")
        assert text.startswith(entry["user_agent"] or "")
        assert entry["user_agent"] == (text if 0 < len(text) < 500 else entry["user_agent"])
        assert entry["tenant_id"] == north.id


# -- Through SQL, scripts and cascades ---------------------------------------


@pytest.mark.usefixtures("clinics")
async def test_scripts(trail: Trail) -> None:
    """What a script changes in bulk is one row for each row, with the script's account as the actor."""
    async with tenant("north"):
        rulesets = [Ruleset(payer=f"{n}", procedure="p", rules_json="{}") for n in range(5)]
        await Ruleset.insert(*rulesets)
    assert await trail.summary() == [("create", "ruleset")] * 5
    async with platform():
        await Ruleset.update({Ruleset.is_active: False}, force=True)
    entries = await trail.news()
    assert len(entries) == 7
    assert {entry["action"] for entry in entries} == {"update"}
    assert {(entry["user_id"], entry["ip_address"], entry["user_agent"]) for entry in entries} == {(None, None, None)}
    assert all(entry["actor"].startswith("script:") for entry in entries)
    assert len({entry["tenant_id"] for entry in entries}) == 2


async def test_plain_sql(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, trail: Trail) -> None:
    """SQL without any scope is on the trail too, under the login that ran it, as the tenant of the row."""
    await superuser.execute("UPDATE rulesets SET payer = 'By hand' WHERE tenant_id = $1", clinics[1].id)
    (entry,) = await trail.news()
    assert (entry["actor"], entry["tenant_id"], entry["user_id"]) == ("sql:postgres", clinics[1].id, None)
    assert entry["changes"]["after"]["payer"] == "By hand"


async def test_cascade_from_a_case(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], trail: Trail) -> None:
    """A deleted case, and each code and task that goes with it, is one row, all of one request and person."""
    north = clinics[0]
    answer = await client.delete(f"/api/cases/{north.rows['cases']}/", headers=north.headers())
    entries = await trail.news()
    assert sorted((entry["action"], entry["entity_type"]) for entry in entries) == [
        ("delete", "case"),
        ("delete", "case_code"),
        ("delete", "task"),
    ]
    assert {entry["request_id"] for entry in entries} == {answer.headers["x-request-id"]}
    assert {entry["user_id"] for entry in entries} == {north.users[Role.admin]}


async def test_cascade_that_clears(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], trail: Trail) -> None:
    """A reference that a deletion clears is an update on the trail of the row that held it."""
    north = clinics[0]
    await client.delete(f"/api/ingestions/{north.rows['ingestions']}/", headers=north.headers())
    entries = {(entry["action"], entry["entity_type"]): entry for entry in await trail.news()}
    assert entries.keys() == {("delete", "ingestion"), ("update", "case")}
    changes = entries["update", "case"]["changes"]
    assert changes["before"]["ingestion_id"] == str(north.rows["ingestions"])
    assert changes["after"]["ingestion_id"] is None
    assert changes["after"].keys() <= {"ingestion_id", "updated_at"}


@pytest.mark.usefixtures("clinics")
async def test_rolled_back_transaction(trail: Trail) -> None:
    """What is rolled back leaves no row: the trail is written in the change's own transaction."""

    async def fail_at_last() -> None:
        async with tenant("north"):
            await Ruleset.update({Ruleset.payer: "x"}, force=True)
            await Task.delete(force=True)
            await User(email="admin@north.com", role=Role.staff).save()

    with pytest.raises(asyncpg.UniqueViolationError):
        await fail_at_last()
    assert await trail.news() == []


async def test_deleted_tenant(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, trail: Trail) -> None:
    """Deleting a tenant takes its trail along, writes nothing of it, and leaves the other tenant's alone."""
    north, south = clinics
    count = "SELECT count(*) FROM audit_logs WHERE tenant_id = $1"
    kept = await superuser.fetchval(count, south.id)
    async with platform():
        await Tenant.delete().where(Tenant.id == north.id)
    assert await trail.news() == []
    assert await superuser.fetchval(count, north.id) == 0
    assert await superuser.fetchval(count, south.id) == kept > 0


async def test_every_domain_table_is_covered(superuser: asyncpg.Connection) -> None:
    """The tables of this file are all that the trail tracks, beside tenants and events."""
    query = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'z_audit_insert'"
    tracked = {row[0] for row in await superuser.fetch(query)}
    assert tracked == {*ENTITIES, "tenants", "events"}
    assert {table._meta.tablename for table in (User, Ingestion, Case, CaseCode, Task, Ruleset)} == set(ENTITIES)
