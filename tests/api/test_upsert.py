"""Upserts: `Prefer: resolution=merge-duplicates` creates what is new and changes what has the same key."""

from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic

MERGE = {"Prefer": "resolution=merge-duplicates"}
PATH = "/api/users/"


async def merge(client: httpx.AsyncClient, body: Any, status: int = 200) -> dict[str, Any]:
    answer = await client.post(PATH, json=body, headers=MERGE)
    assert answer.status_code == status, answer.text
    assert answer.headers["preference-applied"] == "resolution=merge-duplicates"
    found: dict[str, Any] = answer.json()
    return found


async def test_one_row(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A new row is a 201 with its Location, a known one a 200; only the fields that were sent are changed."""
    answer = await admin.post(PATH, json={"email": "a@b.c", "role": "staff", "name": "Ada"}, headers=MERGE)
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "resolution=merge-duplicates")
    row = answer.json()
    assert answer.headers["location"] == f"{PATH}{row['id']}/"
    assert (await admin.patch(f"{PATH}{row['id']}/", json={"is_active": False})).status_code == 200
    known = await admin.post(PATH, json={"email": "a@b.c", "role": "admin"}, headers=MERGE)
    assert known.status_code == 200
    assert "location" not in known.headers
    merged = known.json()
    assert merged == row | {"role": "admin", "is_active": False, "updated_at": merged["updated_at"]}
    stored = await admin.get(f"{PATH}{row['id']}/")
    assert (stored.json(), stored.headers["etag"]) == (merged, known.headers["etag"])
    trail = "SELECT array_agg(action::text ORDER BY created_at) FROM audit_logs WHERE entity_id = $1"
    assert await superuser.fetchval(trail, row["id"]) == ["create", "update", "update"]
    assert merged["tenant_id"] == str(north.id)


async def test_many_rows(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A list of new and known rows is a 201 with all of them in its order; of known ones only it is a 200."""
    rows = [{"email": email, "role": "staff", "name": "N"} for email in ("new@b.c", "staff@north.com", "x@b.c")]
    found = (await merge(admin, rows, 201))["rows"]
    assert [row["email"] for row in found] == [row["email"] for row in rows]
    assert found[1]["id"] == str(north.users[Role.staff])
    assert found[1]["name"] == "N"
    again = (await merge(admin, rows[::-1]))["rows"]
    assert [row["id"] for row in again] == [row["id"] for row in found[::-1]]
    # A subject is the server's to set: who is signed in stays who they are.
    assert again[1]["auth_id"] == found[1]["auth_id"] == "north-staff"


async def test_without_the_preference(admin: httpx.AsyncClient) -> None:
    """Without the preference, or with another, a key that is taken is a 409; the preference has several spellings."""
    body = {"email": "staff@north.com", "role": "staff"}
    for prefer in ({}, {"Prefer": "resolution=ignore-duplicates"}, {"Prefer": "return=minimal"}):
        assert_problem(await admin.post(PATH, json=body, headers=prefer), 409)
    for spelling in ('resolution="merge-duplicates"', "return=minimal, Resolution=Merge-Duplicates;x=1"):
        assert (await admin.post(PATH, json=body, headers={"Prefer": spelling})).status_code == 200


async def test_tenants_apart(
    admin: httpx.AsyncClient, north: Clinic, south: Clinic, superuser: asyncpg.Connection
) -> None:
    """Another clinic's user of the same email is neither found nor touched."""
    look = "SELECT to_jsonb(users)::text FROM users WHERE id = $1"
    before = await superuser.fetchval(look, south.users[Role.admin])
    row = await merge(admin, {"email": "admin@south.com", "role": "staff", "name": "taken"}, 201)
    assert row["tenant_id"] == str(north.id)
    assert row["id"] != str(south.users[Role.admin])
    assert await superuser.fetchval(look, south.users[Role.admin]) == before


async def test_refusals(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """No key: 400. The same key twice, fields that differ, and what is invalid: 422. The wrong role: 403."""
    before = await superuser.fetchval("SELECT json_agg(users ORDER BY id)::text FROM users")
    for table in ("cases", "tasks", "rulesets", "case_codes", "ingestions"):
        answer = await admin.post(f"/api/{table}/", json=north.body(table), headers=MERGE)
        assert "unique key" in assert_problem(answer, 400)["detail"]
    one = {"email": "one@b.c", "role": "staff"}
    known = {"email": "staff@north.com", "role": "admin"}
    for rows in ([one, known, one], [known, known], [one, known | {"name": "N"}], []):
        assert_problem(await admin.post(PATH, json=rows, headers=MERGE), 422)
    bad = [one, known | {"role": "king"}, known | {"auth_id": "me"}]
    assert fields(await admin.post(PATH, json=bad, headers=MERGE)) == ["1.role", "2.auth_id"]
    assert fields(await admin.post(PATH, json={"email": "staff@north.com"}, headers=MERGE)) == ["role"]
    assert_problem(await staff.post(PATH, json=one, headers=MERGE), 403)
    assert_problem(await staff.post(PATH, json=[known], headers=MERGE), 403)
    assert await superuser.fetchval("SELECT json_agg(users ORDER BY id)::text FROM users") == before


@pytest.mark.parametrize("content", ["email,role\nstaff@north.com,clinician\nnew@b.c,staff\n"])
async def test_csv_is_merged_too(admin: httpx.AsyncClient, north: Clinic, content: str) -> None:
    """A CSV merges like a list, and leaves alone the columns that it does not name."""
    answer = await admin.post(PATH, content=content, headers=MERGE | {"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    known, new = answer.json()["rows"]
    assert (known["id"], known["role"], known["name"]) == (str(north.users[Role.staff]), "clinician", "A B")
    assert (new["email"], new["name"]) == ("new@b.c", None)
