"""What follows a denial: a new case, linked to the denied one, that asks for the same again."""

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.cases.stored import REASON, load_case, row_of
from tests.cases.writers import Values, writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

KINDS = {"resubmit": "resubmission", "appeal": "appeal"}
COPIED = (
    *("payer", "member_id_hash", "priority", "diagnosis_codes", "confidence_json", "extracted_data"),
    *("metadata_json", "ingestion_id"),
)
CODE = ("code_type", "code", "description", "confidence")
MISSING = "00000000-0000-0000-0000-000000000000"


async def denied_case(client: httpx.AsyncClient, clinic: Clinic) -> dict[str, Any]:
    """A case with everything that is copied, two codes among it, denied."""
    headers = clinic.headers()
    body = clinic.body(
        "cases",
        priority="urgent",
        ingestion_id=str(clinic.rows["ingestions"]),
        metadata_json={"queue": "q1", "number": 0.1},
        extracted_data={"source": "email"},
    )
    case = (await client.post("/api/cases/", json=body, headers=headers)).json()
    codes = [
        clinic.body("case_codes", case_id=case["id"], description="MRI", confidence=0.25),
        clinic.body("case_codes", case_id=case["id"], code_type="HCPCS", code="J1885"),
    ]
    assert (await client.post("/api/case_codes/", json=codes, headers=headers)).status_code == 201
    denied = {"status": "denied", "denial_reason": REASON}
    answer = await client.patch(f"/api/cases/{case['id']}/", json=denied, headers=headers)
    row: dict[str, Any] = answer.json()
    return row


async def codes_of(client: httpx.AsyncClient, clinic: Clinic, case: str) -> list[dict[str, Any]]:
    rows = (await client.get(f"/api/case_codes/?case_id={case}", headers=clinic.headers())).json()["rows"]
    return sorted(({name: row[name] for name in CODE} for row in rows), key=lambda row: str(row["code"]))


async def test_follow_ups(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Whoever may create cases opens a pending case that resubmits or appeals a denied one: with its content and codes,
    linked to it, created by the caller; it is on the trail and told once, a key makes it once, and the denied case is
    as it was."""
    north = clinics[0]
    denied = await denied_case(client, north)
    path = f"/api/cases/{denied['id']}/"
    codes = await codes_of(client, north, denied["id"])
    assert len(codes) == 2
    for name, kind in KINDS.items():
        for role in Role:
            headers = north.headers(role)
            keyed = headers | {"Idempotency-Key": f"{name}-{role.value}"}
            answer = await client.post(f"{path}{name}/", headers=keyed)
            assert answer.status_code == 201, answer.text
            row = answer.json()
            assert answer.headers["location"] == f"/api/cases/{row['id']}/"
            assert (await client.get(answer.headers["location"], headers=headers)).json() == row
            assert {column: row[column] for column in COPIED} == {column: denied[column] for column in COPIED}
            assert (row["status"], row["previous_case_id"], row["follow_up"]) == ("pending", denied["id"], kind)
            assert (row["created_by"], row["denial_reason"], row["decided_at"]) == (str(north.users[role]), None, None)
            assert await codes_of(client, north, row["id"]) == codes
            again = await client.post(f"{path}{name}/", headers=keyed)
            assert (again.status_code, again.json()) == (201, row)
            told = "SELECT count(*) FROM events WHERE entity_id = $1 AND event_type = 'case_created'"
            assert await superuser.fetchval(told, UUID(row["id"])) == 1
            trail = "SELECT count(*) FROM audit_logs WHERE request_id = $1 AND action = 'create' AND user_id = $2"
            request = answer.headers["x-request-id"]  # The case, two codes, what is told of it.
            assert await superuser.fetchval(trail, request, north.users[role]) == 4
    assert (await client.get(path, headers=north.headers())).json() == denied
    assert await superuser.fetchval("SELECT count(*) FROM cases WHERE previous_case_id = $1", UUID(denied["id"])) == 6


async def test_refused(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Only a denied case is followed: others are a 409 that says so. Another clinic's case and a missing one are the
    same 404, and a body with anything in it is a 422. Nothing is created."""
    north, south = clinics
    denied = await load_case(superuser, north, "denied")
    foreign = await load_case(superuser, south, "denied")
    before = await superuser.fetchval("SELECT count(*) FROM cases")
    headers = north.headers(Role.staff)
    for name in KINDS:
        for status in ("pending", "approved", "more_info_needed"):
            case = await load_case(superuser, north, status)
            problem = assert_problem(await client.post(f"/api/cases/{case}/{name}/", headers=headers), 409)
            assert "denied" in problem["detail"]
            before += 1
        details = set()
        for unknown in (foreign, MISSING, "no-uuid"):
            answer = await client.post(f"/api/cases/{unknown}/{name}/", headers=headers)
            details.add(assert_problem(answer, 404)["detail"])
        assert len(details) == 1
        path = f"/api/cases/{denied}/{name}/"
        assert fields(await client.post(path, json={"status": "denied"}, headers=headers)) == ["status"]
        assert_problem(await client.post(path, json=[], headers=headers), 422)
        assert_problem(await client.post(path, content=b"{", headers=headers), 400)
        assert_problem(await client.post(path), 401)
        assert_problem(await client.get(path, headers=headers), 405)
    assert await superuser.fetchval("SELECT count(*) FROM cases") == before


async def test_nobody_links_cases(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """A case is linked when it is created or never: no client changes or clears the link, nor sends it to the API; in
    the admin and in SQL it names a denied case of the clinic, and another clinic's is refused."""
    north, south = clinics
    denied, other = [await load_case(superuser, north, "denied") for _ in range(2)]
    link = {"previous_case_id": str(denied), "follow_up": "appeal"}
    foreign = link | {"previous_case_id": str(await load_case(superuser, south, "denied"))}
    refused = "422 follow_up previous_case_id"
    changes: tuple[Values, ...] = (
        {"previous_case_id": str(other)},
        {"follow_up": "resubmission"},
        *({name: None} for name in link),
    )
    async with writers(running, north, database) as everybody:
        for writer in everybody:
            if writer.who in ("owner", "superuser"):
                continue
            if writer.way == "api":
                assert [await writer.create("cases", one) for one in (link, foreign)] == [refused, refused]
            elif writer.way == "admin":
                assert [await writer.create("cases", one) for one in (link, foreign)] == ["ok", "422"]
            else:
                assert await writer.create("cases", link) == "ok"
                with pytest.raises(asyncpg.ForeignKeyViolationError):
                    await writer.create("cases", foreign)
            case = await load_case(superuser, north, "pending")
            await superuser.execute(
                "UPDATE cases SET previous_case_id = $1, follow_up = 'appeal' WHERE id = $2", denied, case
            )
            for change in changes:
                assert await writer.change("cases", case, change) == f"422 {next(iter(change))}", writer
    linked = "SELECT count(*) FROM cases WHERE previous_case_id = $1"
    assert await superuser.fetchval(linked, denied) == 4 + 4 + 3 + 4 + 4  # A load each, and those created.


async def test_the_case_before_is_deleted(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Deleting the denied case leaves what followed it, which says what it was and no longer to which; back again, the
    denied case is not linked anew. Two follow-ups at once are two."""
    north = clinics[0]
    denied = await denied_case(client, north)
    path = f"/api/cases/{denied['id']}/"
    answers = await asyncio.gather(*(client.post(f"{path}{name}/", headers=north.headers()) for name in KINDS))
    followed = [answer.json()["id"] for answer in answers]
    decide = {"status": "denied", "denial_reason": "Again."}
    for case in followed:  # Decided or not, the link goes.
        if case == followed[0]:
            answer = await client.patch(f"/api/cases/{case}/", json=decide, headers=north.headers())
            assert answer.status_code == 200
    assert (await client.delete(path, headers=north.headers())).status_code == 204
    for case, kind in zip(followed, KINDS.values(), strict=True):
        row = await row_of(superuser, "cases", case)
        assert (row["previous_case_id"], row["follow_up"]) == (None, kind)
    trail = "SELECT changes FROM audit_logs WHERE entity_id = $1 AND action = 'update' ORDER BY created_at DESC LIMIT 1"
    last = json.loads(await superuser.fetchval(trail, UUID(followed[1])))
    assert last["before"]["previous_case_id"] == denied["id"]
    assert (await client.post(f"{path}restore/", headers=north.headers())).json() == denied
