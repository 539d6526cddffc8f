"""Restoring: an earlier version as one ordinary change, a deleted row with what the same delete took; nothing else."""

import asyncio
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
from tenancy.scoping import platform, tenant
from tenancy.settings import Settings
from tenancy.tables import Role, User
from tests.api.problems import assert_problem, fields
from tests.audit.restoring import events, news, restore_in_sql, stored
from tests.audit.test_trail import CHANGES, ENTITIES
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import serve

Clinics = tuple[Clinic, Clinic]


def row_path(table: str, row: object) -> str:
    return f"/api/{table}/{row}/"


async def history(client: httpx.AsyncClient, clinic: Clinic, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await client.get(f"{path}history/", headers=clinic.headers())).json()["rows"]
    return rows


@pytest.mark.parametrize("table", ENTITIES)
async def test_back_and_back_from_the_dead(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection, table: str
) -> None:
    """A row of each table goes back to a version by its number and by its time, with one entry on the trail each, and
    none where nothing differs; deleted, it comes back to the last byte, times and creator too, and answers its tag."""
    north = clinics[0]
    headers = north.headers()
    created = await client.post(f"/api/{table}/", headers=headers, json=north.body(table))
    path = created.headers["location"]
    before = created.json()
    changed = await client.patch(path, headers=headers, json=CHANGES[table][1])

    for choice in ({"version": 1}, {"version": 2}, {"at": (await history(client, north, path))[0]["at"]}):
        answer = await client.post(f"{path}restore", headers=headers, json=choice)
        wanted = changed.json() if choice == {"version": 2} else before
        assert answer.status_code == 200, answer.text
        assert answer.json() | {"updated_at": 0} == wanted | {"updated_at": 0}
        assert [entry["action"] for entry in await news(superuser, answer.headers["x-request-id"])] == ["update"]
        assert answer.headers["etag"] == (await client.get(path, headers=headers)).headers["etag"]
    same = await client.post(f"{path}restore/", headers=headers, json={"version": 1})
    assert (same.content, same.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert await news(superuser, same.headers["x-request-id"]) == []

    read, rows = await client.get(path, headers=headers), await stored(superuser, north.id)
    assert (await client.delete(path, headers=headers)).status_code == 204
    for content in (b"", b"{}"):
        back = await client.post(f"{path}restore/", headers=headers, content=content)
        assert (back.status_code, back.content, back.headers["etag"]) == (200, read.content, read.headers["etag"])
        assert await stored(superuser, north.id) == rows
        (entry,) = await news(superuser, back.headers["x-request-id"])
        assert (entry["action"], entry["entity_type"]) == ("create", ENTITIES[table])
        assert (entry["user_id"], entry["actor"]) == (north.users[Role.admin], f"user:{north.users[Role.admin]}")
        await client.delete(path, headers=headers)
    earlier = await client.post(f"{path}restore/", headers=headers, json={"version": 2})
    assert earlier.json() == (await history(client, north, path))[1]["row"]
    assert len(await news(superuser, earlier.headers["x-request-id"])) == 1


async def test_what_the_same_delete_took(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Of two cases deleted at once the one that is restored comes back with its codes and tasks, not with those of the
    other, nor with what was deleted before; each row is one entry, and a restored case is all that is told."""
    north = clinics[0]
    headers = north.headers()
    ids = [(await client.post("/api/cases/", headers=headers, json=north.body("cases"))).json()["id"] for _ in "ab"]
    children: dict[str, list[str]] = {}
    for case in ids:
        codes = [north.body("case_codes", case_id=case, code=f"C{n}") for n in range(3)]
        tasks = [north.body("tasks", case_id=case, status="completed"), north.body("tasks", case_id=case)]
        tasks[1] |= {"assigned_to": str(north.rows["users"])}
        for table, bodies in (("case_codes", codes), ("tasks", tasks)):
            answer = await client.post(f"/api/{table}/", headers=headers, json=bodies)
            children.setdefault(case, []).extend(row["id"] for row in answer.json()["rows"])
    early = children[ids[0]].pop(0)
    assert (await client.delete(row_path("case_codes", early), headers=headers)).status_code == 204
    before = await stored(superuser, north.id)
    deleted = await client.delete(f"/api/cases/?id__in={','.join(ids)}", headers=headers)
    assert deleted.headers["content-range"] == "cases */2"

    back = await client.post(f"{row_path('cases', ids[0])}restore/", headers=headers)
    assert back.status_code == 200, back.text
    entries = await news(superuser, back.headers["x-request-id"])
    assert {entry["action"] for entry in entries} == {"create"}
    assert sorted(entry["entity_id"] for entry in entries) == sorted([ids[0], *children[ids[0]]])
    assert await events(superuser, back.headers["x-request-id"]) == ["case_restored"]
    away = {ids[1], *children[ids[1]]}
    after = await stored(superuser, north.id)
    assert after == {table: {k: v for k, v in rows.items() if k not in away} for table, rows in before.items()}

    alone = await client.post(f"{row_path('case_codes', early)}restore/", headers=headers)
    assert (alone.status_code, alone.json()["case_id"]) == (200, ids[0])
    assert_problem(await client.post(f"{row_path('tasks', children[ids[1]][-1])}restore/", headers=headers), 409)
    assert (await client.post(f"{row_path('cases', ids[1])}restore/", headers=headers)).status_code == 200


async def test_cascade_of_several_steps(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Deleted in SQL with all their cases, a user comes back with the cases and what hung from those; a reference to a
    row that went meanwhile, which its key clears, is cleared, and one that is there again stays."""
    north = clinics[0]
    creator, headers = north.users[Role.admin], {"Authorization": f"Bearer {north.tokens[Role.admin]}"}
    async with tenant("north", "admin@north.com"):
        await User(email="second@north.com", role=Role.admin, auth_id=None).save()
    before = await stored(superuser, north.id)
    await superuser.execute("DELETE FROM users WHERE id = $1", creator)
    assert (await stored(superuser, north.id))["tasks"] == {}
    bound = (str(north.id), "admin", "fastlane_tenant")
    await superuser.execute("DELETE FROM ingestions WHERE id = $1", north.rows["ingestions"])
    await superuser.execute("DELETE FROM users WHERE id = $1", north.rows["users"])
    async with superuser.transaction():
        assert await restore_in_sql(superuser, bound, "users", north.rows["users"]) == 1
    assert await restore_in_sql(superuser, bound, "users", creator) == 4
    after = await stored(superuser, north.id)
    assert after["users"] == before["users"]
    assert after["tasks"] == before["tasks"]
    assert after["case_codes"] == before["case_codes"]
    case = await client.get(row_path("cases", north.rows["cases"]), headers=headers)
    assert (case.json()["ingestion_id"], case.json()["created_by"]) == (None, str(creator))


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


async def test_restored_user(client: httpx.AsyncClient, clinics: Clinics) -> None:
    """A restored user is who they were: the token works again, and of a deactivated one it does not."""
    north = clinics[0]
    staff, path = north.users[Role.staff], row_path("users", north.users[Role.staff])
    answers = []
    for change in ({"name": "C D"}, {"is_active": False}):
        await client.patch(path, headers=north.headers(), json=change)
        assert (await client.delete(path, headers=north.headers())).status_code == 204
        assert (await client.get("/api/me/", headers=north.headers(Role.staff))).status_code == 403
        back = await client.post(f"{path}restore/", headers=north.headers())
        assert (back.json()["auth_id"], back.json()["id"]) == ("north-staff", str(staff))
        answers.append((await client.get("/api/me/", headers=north.headers(Role.staff))).status_code)
    assert answers == [200, 403]


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


async def test_races_and_repeats(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """If-Match guards a restore as it does a change; a repeat under the same key restores once; of many at once one
    restores a deleted row and the others hear why not. The tenant's own row goes back, too."""
    north = clinics[0]
    headers, path = north.headers(), row_path("tasks", north.rows["tasks"])
    old = (await client.get(path, headers=headers)).headers["etag"]
    new = (await client.patch(path, headers=headers, json={"title": "New"})).headers["etag"]
    choice = {"version": 1}
    assert_problem(await client.post(f"{path}restore/", headers=headers | {"If-Match": old}, json=choice), 412)
    keyed = headers | {"If-Match": new, "Idempotency-Key": "k1"}
    answers = [await client.post(f"{path}restore/", headers=keyed, json=choice) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    assert [row["action"] for row in await history(client, north, path)] == ["create", "update", "update"]

    await client.delete(path, headers=headers)
    raced = await asyncio.gather(*(client.post(f"{path}restore/", headers=headers) for _ in range(4)))
    # Whoever comes when the row is there must name a version.
    assert min(answer.status_code for answer in raced) == 200
    assert {answer.status_code for answer in raced} <= {200, 409, 422}
    assert [row["action"] for row in await history(client, north, path)][-2:] == ["delete", "create"]

    own = row_path("tenants", north.id)
    await client.patch(own, headers=headers, json={"name": "Renamed"})
    assert (await client.post(f"{own}restore/", headers=headers, json=choice)).json()["name"] == "North"


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
