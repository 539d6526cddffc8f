"""A decision is kept where many are changed at once, restored, deleted around, or decided at the same moment."""

import asyncio

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.cases.stored import REASON, load_case, row_of, updates_of
from tests.clinics import Clinic

DENIED = {"status": "denied", "denial_reason": REASON}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def north(clinics: tuple[Clinic, Clinic]) -> Clinic:
    return clinics[0]


async def test_many_at_once(client: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A change of many cases with a decided one among them is a 409 that changes none; a list or a CSV of cases that
    are decided already is a 422 that names the row."""
    headers = north.headers(Role.clinician)
    cases = [await load_case(superuser, north, status) for status in ("pending", "more_info_needed", "approved")]
    path = f"/api/cases/?id__in={','.join(map(str, cases))}"
    for body in (DENIED, {"status": "pending"}):
        assert fields(await client.patch(path, json=body, headers=headers), 409) == ["status"]
    assert fields(await client.patch(path, json={"status": "approved", "approved_units": 2}, headers=headers), 409) == [
        "approved_units"
    ]
    assert [await updates_of(superuser, case) for case in cases] == [0, 0, 0]
    decided = await client.patch(path, json={"status": "approved"}, headers=headers)
    assert [row["status"] for row in decided.json()["rows"]] == ["approved"] * 3
    assert [await updates_of(superuser, case) for case in cases] == [1, 1, 0]

    rows = [north.body("cases"), north.body("cases", **DENIED), north.body("cases", denial_reason=REASON)]
    listed = await client.post("/api/cases/", json=rows, headers=headers)
    assert fields(listed) == ["1.status", "2.denial_reason"]
    lines = "member_id_hash,payer,confidence_json,extracted_data,status,authorization_number\n"
    lines += 'hash_a,Aetna,"{""overall"": 1, ""fields"": {}}",{},pending,\n'
    lines += 'hash_b,Aetna,"{""overall"": 1, ""fields"": {}}",{},{},A-1\n'
    for status, blamed in (("approved", "1.status"), ("pending", "1.authorization_number")):
        sent = lines.replace("{},{},A-1", f"{{}},{status},A-1")
        csv = await client.post("/api/cases/", content=sent, headers=headers | {"Content-Type": "text/csv"})
        assert fields(csv) == [blamed]


async def test_restoring(client: httpx.AsyncClient, north: Clinic) -> None:
    """A decided case goes back to no version before its decision, be it there or deleted in between: 409. Deleted, it
    comes back as decided, to the last byte, and its other columns go back as ever."""
    headers = north.headers()
    path = f"/api/cases/{north.rows['cases']}/"
    assert (await client.patch(path, json=DENIED, headers=headers)).status_code == 200
    decided = await client.patch(path, json={"payer": "Another"}, headers=headers)
    restore = f"{path}restore/"
    assert fields(await client.post(restore, json={"version": 1}, headers=headers), 409) == ["status"]
    assert (await client.get(path, headers=headers)).json() == decided.json()

    assert (await client.delete(path, headers=headers)).status_code == 204
    assert fields(await client.post(restore, json={"version": 1}, headers=headers), 409) == ["status"]
    assert (await client.get(path, headers=headers)).status_code == 404
    assert (await client.post(restore, headers=headers)).json() == decided.json()
    back = await client.post(restore, json={"version": 2}, headers=headers)
    assert (back.status_code, back.json()["payer"], back.json()["status"]) == (200, "Cigna", "denied")
    assert back.json()["decided_at"] == decided.json()["decided_at"]


async def test_who_decided_is_deleted(client: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Deleting a user who decided clears who it was, and nothing else of the decision; nobody clears it by hand."""
    case = await load_case(superuser, north, "pending")
    path = f"/api/cases/{case}/"
    decided = await client.patch(path, json=DENIED, headers=north.headers(Role.clinician))
    assert decided.json()["decided_by"] == str(north.users[Role.clinician])
    before = await row_of(superuser, "cases", case)
    for change in ("decided_by = NULL", f"decided_by = '{north.users[Role.admin]}'", "decided_at = NULL"):
        with pytest.raises(asyncpg.PostgresError, match="the decision is final"):
            await superuser.execute(f"UPDATE cases SET {change} WHERE id = $1", case)
    gone = await client.delete(f"/api/users/{north.users[Role.clinician]}/", headers=north.headers())
    assert gone.status_code == 204, gone.text
    after = await row_of(superuser, "cases", case)
    assert {name for name in before if before[name] != after[name]} == {"decided_by", "updated_at"}
    assert after["decided_by"] is None
    # And a clinic with decided cases, and one that follows another, goes as a whole.
    followed = await client.post(f"{path}appeal/", headers=north.headers())
    assert followed.status_code == 201
    await superuser.execute("DELETE FROM tenants WHERE id = $1", north.id)
    assert await superuser.fetchval("SELECT count(*) FROM cases WHERE tenant_id = $1", north.id) == 0


async def test_a_redacted_reason(client: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A redaction, which is the platform's, removes a value from a decision; nothing else of the text changes with it,
    and no tenant says that it redacts."""
    case = await load_case(superuser, north, "denied")
    change = "UPDATE cases SET denial_reason = $1 WHERE id = $2"
    for reason in ("Another [redacted]", "[redacted] covered. Appeal it.", "[redacted] %", REASON[::-1], None):
        with pytest.raises(asyncpg.PostgresError, match="the decision is final"):
            await superuser.execute(change, reason, case)
    body = {"denial_reason": "[redacted] covered."}
    answer = await client.patch(f"/api/cases/{case}/", json=body, headers=north.headers())
    assert fields(answer, 409) == ["denial_reason"]
    await superuser.execute(change, "[redacted] covered.", case)
    assert (await row_of(superuser, "cases", case))["denial_reason"] == "[redacted] covered."


async def test_two_decide_at_once(client: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Of two decisions that wait for the same case one is made, and the other is told that it is final."""
    bodies = ({"status": "approved", "authorization_number": "A-1"}, DENIED)
    clients = (north.headers(Role.clinician), north.headers(Role.admin))
    for number in range(4):
        case = await load_case(superuser, north, "pending" if number % 2 else "more_info_needed")
        path = f"/api/cases/{case}/"
        locked = superuser.transaction()
        await locked.start()
        await superuser.execute("SELECT FROM cases WHERE id = $1 FOR UPDATE", case)
        sent = [
            asyncio.create_task(client.patch(path, json=body, headers=headers))
            for body, headers in zip(bodies, clients[:: (-1) ** number], strict=True)
        ]
        async with asyncio.timeout(20):
            while await superuser.fetchval(WAITING) < 2:
                await superuser.execute("SELECT pg_stat_clear_snapshot()")
                await asyncio.sleep(0.01)
        await locked.commit()
        answers = await asyncio.gather(*sent)
        (won,) = [answer for answer in answers if answer.status_code == 200]
        (lost,) = [answer for answer in answers if answer.status_code == 409]
        assert_problem(lost)
        assert fields(lost, 409) == ["status"]
        assert (await client.get(path, headers=clients[0])).json() == won.json()
        assert await updates_of(superuser, case) == 1


async def test_what_is_said_first(client: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Of a decided case: who may not decide is told that first, then that there is no such case, then what is wrong
    with the content, and last that the case is final, which names no value that was sent."""
    case = await load_case(superuser, north, "denied")
    path = f"/api/cases/{case}/"
    staff, clinician = north.headers(Role.staff), north.headers(Role.clinician)
    move = {"status": "approved", "authorization_number": "SECRET-NUMBER"}
    assert_problem(await client.patch(path, json=move), 401)
    assert_problem(await client.patch(path, json=move | {"nothing": 1}, headers=staff), 403)
    missing = f"/api/cases/{north.rows['users']}/"
    assert_problem(await client.patch(missing, json=move | {"nothing": 1}, headers=clinician), 404)
    assert fields(await client.patch(path, json=move | {"nothing": 1}, headers=clinician)) == ["nothing"]
    problem = assert_problem(await client.patch(path, json=move, headers=clinician), 409)
    assert [error["field"] for error in problem["errors"]] == ["status"]
    assert problem["detail"] == "A denied case is final; resubmit or appeal it instead."
    assert "SECRET" not in str(problem)
