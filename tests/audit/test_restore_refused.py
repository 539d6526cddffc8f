"""What restoring refuses, over HTTP and below it: to others than admins, against rules, into another tenant."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

import main
from cases.tables import Case
from tenancy.catalog import find_isolation_faults
from tenancy.rules import Change, RuleViolation
from tenancy.scoping import platform
from tenancy.settings import Settings
from tenancy.tables import Role, User
from tests.api.problems import assert_problem, fields
from tests.audit.restoring import Clinics, history, restore_in_sql, row_path, stored
from tests.audit.test_trail import ENTITIES
from tests.cluster import TestDatabase
from tests.conftest import serve


async def test_conflicts(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """A parent that is gone, a key that is taken, a rule that came later: 409 that says so, and nothing is written."""
    north, south = clinics
    headers = north.headers()
    case, code = row_path("cases", north.rows["cases"]), row_path("case_codes", north.rows["case_codes"])
    user = row_path("users", north.rows["users"])
    async with platform():
        await User.update({User.auth_id: "north-spare"}).where(User.id == north.rows["users"])
    for path in (code, case, user):
        assert (await client.delete(path, headers=headers)).status_code == 204
    before = await stored(superuser, north.id)

    async def refused(path: str, *words: str, **body: Any) -> None:
        problem = assert_problem(await client.post(f"{path}restore/", headers=headers, json=body), 409)
        assert all(word in problem["detail"] for word in words), problem
        assert await stored(superuser, north.id) == before

    await refused(code, "case_id", "gone")
    async with platform():
        taken = User(tenant_id=south.id, email="x@south.com", role=Role.staff, auth_id="north-spare")
        await taken.save()
    await refused(user, "auth_id")
    async with platform():
        await User.delete().where(User.id == taken.id)
    again = await client.post("/api/users/", headers=headers, json=north.body("users", email="spare@north.com"))
    before = await stored(superuser, north.id)
    await refused(user, "email")
    assert (await client.delete(again.headers["location"], headers=headers)).status_code == 204
    assert (await client.post(f"{user}restore/", headers=headers)).status_code == 200
    assert (await client.post(f"{case}restore/", headers=headers)).status_code == 200
    assert (await client.post(f"{code}restore/", headers=headers)).status_code == 200

    ingestion = row_path("ingestions", north.rows["ingestions"])
    assert (await client.delete(ingestion, headers=headers)).status_code == 204
    before = await stored(superuser, north.id)
    first = (await history(client, north, case))[0]
    assert first["row"]["ingestion_id"] == str(north.rows["ingestions"])
    await refused(case, "gone", version=1)
    ruleset = row_path("rulesets", north.rows["rulesets"])
    await client.delete(ruleset, headers=headers)
    await superuser.execute("ALTER TABLE rulesets ADD CONSTRAINT later CHECK (payer <> 'Cigna') NOT VALID")
    before = await stored(superuser, north.id)
    await refused(ruleset, "rule")


async def test_refusals(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Only admins restore, and own rows only, whatever the body says; the trail and events have no such path."""
    north, south = clinics
    headers = north.headers()
    gone = row_path("rulesets", north.rows["rulesets"])
    assert (await client.delete(gone, headers=headers)).status_code == 204
    foreign = south.rows["rulesets"]
    assert (await client.delete(row_path("rulesets", foreign), headers=south.headers())).status_code == 204
    before = [await stored(superuser, clinic.id) for clinic in clinics]
    paths = {table: f"{row_path(table, north.rows[table])}restore/" for table in north.rows}

    async def post(path: str, body: Any = None, sent: Mapping[str, str] = headers) -> httpx.Response:
        return await client.post(path, headers=sent, json=body)

    for role in (Role.staff, Role.clinician):
        for table in (*ENTITIES, "tenants"):
            for body in ({}, {"version": 1}, {"x": 1}):
                assert_problem(await post(paths[table], body, north.headers(role)), 403)
    for table in ("events", "audit_logs", "access_logs"):
        assert_problem(await post(paths[table]), 404)
    for table, row in (
        ("rulesets", foreign),
        ("cases", south.rows["cases"]),
        ("tenants", south.id),
        ("tasks", uuid4()),
    ):
        for body in ({}, {"version": 1}, {"x": 1}):
            assert_problem(await post(f"{row_path(table, row)}restore/", body), 404)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = await client.request(method, paths["cases"], headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert [await stored(superuser, clinic.id) for clinic in clinics] == before


async def test_bodies(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """A version is needed where the row is there, and must be one that has a row; what is wrong names its field, after
    a stale tag and before anything is written, be the row there or not."""
    north = clinics[0]
    headers, gone = north.headers(), row_path("rulesets", north.rows["rulesets"])
    assert (await client.delete(gone, headers=headers)).status_code == 204
    before = await stored(superuser, north.id)
    paths = {"cases": f"{row_path('cases', north.rows['cases'])}restore/", "rulesets": f"{gone}restore/"}

    async def post(path: str, body: Any = None, sent: Mapping[str, str] = headers) -> httpx.Response:
        return await client.post(path, headers=sent, json=body)

    for path in (paths["cases"], paths["rulesets"]):
        assert_problem(await client.post(path, headers=headers, content=b"{"), 400)
        assert_problem(await client.post(f"{path}?x=1", headers=headers), 400)
        assert_problem(await client.post(path, headers=headers | {"Content-Type": "text/csv"}, content=b"a"), 415)
        assert_problem(await post(path, [1]), 422)
        assert_problem(await post(path, {"x": 1}, headers | {"If-Match": '"stale"'}), 412)
        for name, values in {
            "version": (0, -1, 1.5, "1", True, None, 99, 2**31, 2**62),
            "at": ("", "2026-01-31", "2026-01-31T12:00:00", 1, None, "2001-01-31T12:00:00Z"),
            "x": (1,),
        }.items():
            for value in values:
                assert fields(await post(path, {name: value})) == [name], (path, name, value)
        assert fields(await post(path, {"version": 1, "at": "2100-01-31T12:00:00Z"})) == ["at"]
    assert fields(await post(paths["cases"])) == ["version"]
    assert fields(await post(paths["rulesets"], {"version": 2})) == ["version"]
    assert await stored(superuser, north.id) == before


def stays_decided(change: Change) -> None:
    """A rule as the domain may have one."""
    if change.stored is not None and change.stored["status"] == "approved" and change.values.get("status") == "pending":
        raise RuleViolation("status", "a decided case stays decided")


async def test_rules_hold(
    clinics: Clinics, settings: Settings, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rule forbids a change restoring does not do either, be the row there or deleted in between; what the rule
    lets pass comes back, a decided case as decided."""
    monkeypatch.setattr(main, "RULES", {Case: (*main.RULES[Case], stays_decided)})
    north = clinics[0]
    headers, path = north.headers(), row_path("cases", north.rows["cases"])
    async for app in serve(settings):
        decided = await app.client.patch(path, headers=headers, json={"status": "approved", "payer": "Aetna"})
        before = await stored(superuser, north.id)
        assert fields(await app.client.post(f"{path}restore/", headers=headers, json={"version": 1})) == ["status"]
        assert await stored(superuser, north.id) == before
        await app.client.delete(path, headers=headers)
        assert fields(await app.client.post(f"{path}restore/", headers=headers, json={"version": 1})) == ["status"]
        assert (await stored(superuser, north.id))["cases"] == {}
        assert (await app.client.post(f"{path}restore/", headers=headers)).json() == decided.json()


async def test_the_function_is_confined(
    clinics: Clinics, superuser: asyncpg.Connection, database: TestDatabase
) -> None:
    """In SQL the function restores nothing of another tenant, nothing unbound, nothing for any but an admin, and
    nothing that is not on the trail; no other role may call it, and its owner sees the bound tenant's rows alone."""
    north, south = clinics
    rows = {table: north.rows[table] for table in ENTITIES}
    bound = (str(north.id), "admin", "fastlane_tenant")
    await superuser.execute("DELETE FROM rulesets WHERE id = $1", rows["rulesets"])
    login = await asyncpg.connect(database.app)
    attempts: list[tuple[tuple[str, str, str], str, UUID, str]] = [
        ((str(south.id), *bound[1:]), "rulesets", rows["rulesets"], "FL404"),
        (("", *bound[1:]), "rulesets", rows["rulesets"], "FL404"),
        ((str(north.id), "clinician", "fastlane_tenant"), "rulesets", rows["rulesets"], "FL403"),
        ((str(north.id), "", "fastlane_tenant"), "rulesets", rows["rulesets"], "FL403"),
        ((str(north.id), "admin", "fastlane_platform"), "rulesets", rows["rulesets"], "42501"),
        ((str(north.id), "admin", "none"), "rulesets", rows["rulesets"], "42501"),
        (bound, "rulesets", uuid4(), "FL404"),
        (bound, "tasks", rows["rulesets"], "FL404"),
        (bound, "cases", rows["cases"], "FL409"),
        (bound, "operators", rows["cases"], "FL404"),
        (bound, "audit_logs", north.rows["audit_logs"], "FL404"),
        (bound, "events", north.rows["events"], "42501"),
        (bound, "tenants", north.id, "42501"),
    ]
    for settings, table, row, state in attempts:
        with pytest.raises(asyncpg.PostgresError) as caught:
            await restore_in_sql(login, settings, table, row)
        assert caught.value.sqlstate == state, (settings, table, caught.value)
    assert (await stored(superuser, north.id))["rulesets"] == {}
    assert await restore_in_sql(login, bound, "rulesets", rows["rulesets"]) == 1
    await login.close()
    for table in (*ENTITIES, "audit_logs"):
        async with superuser.transaction():
            await superuser.fetch(
                "SELECT set_config('app.tenant_id', $1, true), set_config('role', $2, true)",
                str(south.id),
                "fastlane_restorer",
            )
            seen = await superuser.fetch(f"SELECT DISTINCT tenant_id FROM {table}")
        assert [row["tenant_id"] for row in seen] == [south.id]


async def test_the_catalog_knows_the_restorer(superuser: asyncpg.Connection) -> None:
    """A policy of the restorer that is missing or wider, and a right to more than it needs, are reported."""
    policy = "CREATE POLICY restorer ON {0} TO fastlane_restorer USING (true)"
    assert await find_isolation_faults(superuser) == []
    for table in (*ENTITIES, "audit_logs"):
        for statement in (
            "DROP POLICY restorer ON {0}",
            f"DROP POLICY restorer ON {{0}}; {policy}",
            policy.replace("restorer ON", "wider ON"),
            "GRANT DELETE ON {0} TO fastlane_restorer",
        ):
            transaction = superuser.transaction()
            await transaction.start()
            await superuser.execute(statement.format(table))
            faults = [str(fault) for fault in await find_isolation_faults(superuser)]
            await transaction.rollback()
            assert any(fault.startswith(table) and "restorer" in fault for fault in faults), (table, statement)
