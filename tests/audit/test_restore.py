"""Restoring: an earlier version as one ordinary change, a deleted row with what the same delete took; nothing else."""

import asyncio

import asyncpg
import httpx
import pytest

from tenancy.scoping import tenant
from tenancy.tables import Role, User
from tests.api.problems import assert_problem
from tests.audit.restoring import Clinics, events, history, news, restore_in_sql, row_path, stored
from tests.audit.test_trail import CHANGES, ENTITIES

# What tells one change from the next, and so is not restored by one.
COUNTED = {"updated_at": 0, "version": 0}


@pytest.mark.parametrize("table", ENTITIES)
async def test_back_and_back_from_the_dead(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection, table: str
) -> None:
    """A row of each table goes back to a version by its number and by its time, with one entry on the trail each, and
    none but a view where nothing differs; deleted, it comes back to the last byte, times and creator too, and answers
    its tag."""
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
        assert answer.json() | COUNTED == wanted | COUNTED
        assert [entry["action"] for entry in await news(superuser, answer.headers["x-request-id"])] == ["update"]
        assert answer.headers["etag"] == (await client.get(path, headers=headers)).headers["etag"]
    same = await client.post(f"{path}restore/", headers=headers, json={"version": 1})
    assert (same.content, same.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert {entry["action"] for entry in await news(superuser, same.headers["x-request-id"])} <= {"view"}

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
        codes = [north.body("case_codes", case_id=case, code=f"9711{n}") for n in range(3)]
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


async def test_identity_is_not_restored(
    client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Deleted and restored to an older version, a user keeps the subject that they had last."""
    north = clinics[0]
    staff, path = north.users[Role.staff], row_path("users", north.users[Role.staff])
    await superuser.execute("UPDATE users SET auth_id = 'somebody-new' WHERE id = $1", staff)
    assert (await client.delete(path, headers=north.headers())).status_code == 204
    back = await client.post(f"{path}restore/", headers=north.headers(), json={"version": 1})
    assert (back.status_code, back.json()["auth_id"]) == (200, "somebody-new")


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


async def test_to_the_last_digit(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Numbers with more digits than a client can send, and what is equal in Python only, come back as they were, be the
    row there or deleted."""
    ruleset = clinics[0].rows["rulesets"]
    headers, path = clinics[0].headers(), row_path("rulesets", ruleset)
    documents = ['{"a": 123456789012345678901234567890, "b": 1.00000000000000000001}', '{"a": 1}', '{"a": true}']
    documents.append(documents[0].replace("890,", "891,"))
    write = "UPDATE rulesets SET rules_json = $1::text::jsonb WHERE id = $2"
    for document in documents:
        await superuser.execute(write, document, ruleset)
    for version in (2, 3, 4, 2, 5, 2):
        answer = await client.post(f"{path}restore/", headers=headers, json={"version": version})
        assert f'"rules_json":{documents[version - 2]}' in answer.text
    await client.delete(path, headers=headers)
    answer = await client.post(f"{path}restore/", headers=headers, json={"version": 5})
    assert f'"rules_json":{documents[3]}' in answer.text
