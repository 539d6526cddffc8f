"""What moves the time to decide, or lets it stand still; and that nothing and nobody else does."""

import asyncio
import json
from datetime import datetime, timedelta

import asyncpg
import httpx
import pytest

from audit.redaction import forms_of, redact
from tests.api.problems import assert_problem, fields
from tests.cases.clock_cases import as_tenant
from tests.cases.clocks import (
    SUBMITTED,
    UPDATES,
    at,
    change,
    hours,
    opened,
    read,
    rules,
    wait_five_hours,
)
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.operators import operator

CHOOSE = """
UPDATE cases SET decision_due_at = '2020-01-01Z', due_ruleset_id = $2, due_ruleset_version = 7, paused_at = now(),
                 paused_seconds = 9 WHERE id = $1
"""
INSERT = """
INSERT INTO cases (member_id_hash, payer, status, diagnosis_codes, confidence_json, extracted_data,
                   decision_due_at, due_ruleset_id, due_ruleset_version, paused_at, paused_seconds)
SELECT member_id_hash, payer, 'pending', diagnosis_codes, confidence_json, extracted_data, now(), $2, 7, now(), 9
  FROM cases WHERE id = $1
RETURNING decision_due_at - submitted_at, due_ruleset_id, due_ruleset_version, paused_at, paused_seconds
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
CLOCK = "SELECT decision_due_at, due_ruleset_id, due_ruleset_version, paused_at, paused_seconds, updated_at FROM cases"


async def test_pause(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Where the ruleset says so, the clock stands still while the payer waits for information, and every wait is added;
    elsewhere it does not. Of a case by the law any ruleset that matches may say so."""
    await rules(admin, "72148", {"standard": {"hours": 10}, "pause_for_information": True})
    await rules(admin, "97*", {"pause_for_information": True})
    odd = json.dumps({"clock": {"pause_for_information": "yes"}})  # As of an older row.
    await superuser.execute("ALTER TABLE rulesets DISABLE TRIGGER b_values")
    insert = "INSERT INTO rulesets (tenant_id, payer, procedure, rules_json) VALUES ($1, 'Aetna', '97110', $2)"
    await superuser.execute(insert, north.id, odd)
    await rules(admin, "73721", {"standard": {"hours": 20}, "pause_for_information": False})
    await rules(admin, "*", {"urgent": {"hours": 20}, "pause_for_information": True}, payer="Humana")
    for codes, payer, base in ((["72148"], "Aetna", 10), (["97110"], "Aetna", 168), ([], "humana", 168)):
        case = await opened(admin, north, codes=codes, payer=payer)
        for wait in (1, 2):
            before = await read(admin, case)
            paused = await change(admin, case, status="more_info_needed")
            assert paused["paused_at"] == paused["updated_at"]
            assert paused["decision_due_at"] == before["decision_due_at"]
            await wait_five_hours(superuser, case)
            resumed = await change(admin, case, status="pending" if wait == 1 else "approved")
            assert resumed["paused_at"] is None
            assert resumed["paused_seconds"] == pytest.approx(wait * 5 * 3600, abs=60)
            assert hours(resumed) == pytest.approx(base + resumed["paused_seconds"] / 3600)
    for codes in ([], ["73721"], ["73721", "97110"]):
        case = await opened(admin, north, codes=codes)
        assert (await change(admin, case, status="more_info_needed"))["paused_at"] is None
        assert (await change(admin, case, status="pending"))["decision_due_at"] == case["decision_due_at"]


async def test_changed_while_paused(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Whatever else of a case changes while its clock stands still: the waits before are kept, and it stands still."""
    await rules(admin, "*", {"standard": {"hours": 10}, "urgent": {"hours": 5}, "pause_for_information": True})
    case = await opened(admin, north)
    await change(admin, case, status="more_info_needed")
    await wait_five_hours(superuser, case)
    await change(admin, case, status="pending")
    paused = await change(admin, case, status="more_info_needed", priority="urgent")
    await wait_five_hours(superuser, case)
    assert hours(paused) == 5 + paused["paused_seconds"] / 3600
    assert (await change(admin, case, payer="aetna"))["paused_at"] is not None
    moved = await change(admin, case, priority="normal")
    assert hours(moved) == 10 + moved["paused_seconds"] / 3600
    resumed = await change(admin, case, status="pending")
    assert resumed["paused_seconds"] == pytest.approx(36000, abs=60)
    assert hours(resumed) == 10 + resumed["paused_seconds"] / 3600


async def test_extension(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """While a case is open its time is extended, with a reason, to later than it would be: that is an event, and may be
    taken back. Of a decided case that is a 409."""
    case = await opened(admin, north)
    path = f"/api/cases/{case['id']}/"
    until, reason = "2026-03-20T00:00:00Z", "The payer waits for the radiologist."
    for values, field in (
        ({"extended_until": until}, "extension_reason"),
        ({"extended_until": until, "extension_reason": " \n"}, "extension_reason"),
        ({"extension_reason": reason}, "extension_reason"),
        ({"extended_until": case["decision_due_at"], "extension_reason": reason}, "extended_until"),
        ({"extended_until": "2026-03-05T15:30:01Z", "extension_reason": reason}, "extended_until"),
        ({"extended_until": "9999-12-31T00:00:00Z", "extension_reason": reason}, "extended_until"),
    ):
        assert fields(await admin.patch(path, json=values)) == [field], values
        assert fields(await admin.post("/api/cases/", json=north.body("cases", submitted_at=SUBMITTED, **values))) == [
            field
        ]
    assert await read(admin, case) == case
    extended = await change(admin, case, extended_until=until, extension_reason=reason)
    assert at(extended, "decision_due_at") == datetime.fromisoformat(until)
    events = await admin.get("/api/events/", params={"event_type": "case_extended"})
    (told,) = [event["metadata"] for event in events.json()["rows"]]
    assert [datetime.fromisoformat(told[name]) for name in ("from", "to")] == [
        at(case, "decision_due_at"),
        at(extended, "decision_due_at"),
    ]

    assert fields(await admin.patch(path, json={"extension_reason": None})) == ["extension_reason"]
    assert fields(await admin.patch(path, json={"extended_until": None})) == ["extension_reason"]
    assert (await change(admin, case, priority="urgent"))["decision_due_at"] == extended["decision_due_at"]
    later = await change(admin, case, submitted_at="2026-03-30T00:00:00Z")
    assert hours(later) == 72
    assert hours(await change(admin, case, submitted_at=SUBMITTED), "submitted_at") > 300
    back = await change(admin, case, extended_until=None, extension_reason=None)
    assert (hours(back), back["extended_until"]) == (72, None)
    again = await change(admin, case, extended_until=until, extension_reason=reason)
    decided = await change(admin, case, status="approved")
    assert decided["decision_due_at"] == again["decision_due_at"]
    for values in (
        {"extended_until": None, "extension_reason": None},
        {"extension_reason": "No"},
        {"extended_until": "2026-04-01T00:00:00Z"},
    ):
        assert_problem(await admin.patch(path, json=values), 409)
    assert (await change(admin, case, extended_until=until, extension_reason=reason)) == decided
    assert await superuser.fetchval("SELECT count(*) FROM events WHERE event_type = 'case_extended'") == 2


async def test_extended_and_paused(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A pause moves the time that is computed: an extension that is later than that stays what was agreed."""
    await rules(admin, "*", {"standard": {"hours": 10}, "pause_for_information": True})
    for until, expected in (("2026-03-06T10:00:00Z", 18.5), ("2026-03-06T02:00:00Z", 15)):
        case = await opened(admin, north)
        await change(admin, case, extended_until=until, extension_reason="Agreed")
        paused = await change(admin, case, status="more_info_needed")
        assert at(paused, "decision_due_at") == datetime.fromisoformat(until)
        await wait_five_hours(superuser, case)
        assert hours(await change(admin, case, status="pending")) == pytest.approx(expected, abs=0.02)
        back = await change(admin, case, extended_until=None, extension_reason=None)
        assert hours(back) == pytest.approx(15, abs=0.02)


async def test_a_deleted_case_comes_back(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """A case that is restored has the times that it had, whatever the rulesets say by now; its codes move nothing."""
    await rules(admin, "72148", {"standard": {"hours": 10}, "pause_for_information": True})
    case = await opened(admin, north, codes=["72148"])
    await change(admin, case, status="more_info_needed")
    await wait_five_hours(superuser, case)
    await change(admin, case, status="pending")
    await change(admin, case, extended_until="2026-03-20T00:00:00Z", extension_reason="Agreed")
    paused = await change(admin, case, status="more_info_needed")
    await rules(admin, "72148", {"standard": {"hours": 1}})
    assert (await admin.delete(f"/api/cases/{case['id']}/")).status_code == 204
    assert (await admin.post(f"/api/cases/{case['id']}/restore/")).status_code == 200
    assert await read(admin, case) == paused


# The stock login recommends HTTPS at each login; tests speak plain HTTP.
@pytest.mark.filterwarnings("ignore:If running sessions in production")
async def test_the_database_keeps_them(
    database: TestDatabase, running: Running, admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """Nobody chooses what the clock says: over HTTP a 422, in SQL and in the admin overruled without an entry on the
    trail; a form that sends every time back with fewer digits changes nothing."""
    ruleset = await rules(admin, "*", {"standard": {"hours": 10}}, payer="Nobody")
    case = (await admin.post("/api/cases/", json=north.body("cases"))).json()
    chosen = {
        "decision_due_at": SUBMITTED,
        "due_ruleset_id": ruleset,
        "due_ruleset_version": 7,
        "paused_at": SUBMITTED,
        "paused_seconds": 9,
    }
    for name, value in chosen.items():
        assert fields(await admin.patch(f"/api/cases/{case['id']}/", json={name: value})) == [name]
    where = " WHERE id = $1"
    before = await superuser.fetchrow(CLOCK + where, case["id"])
    async with as_tenant(database, north) as connection:
        await connection.execute(CHOOSE, case["id"], ruleset)
        await connection.execute(
            "UPDATE cases SET decision_due_at = NULL, due_ruleset_id = NULL WHERE id = $1", case["id"]
        )
        made = await connection.fetchrow(INSERT, case["id"], ruleset)
    assert tuple(made) == (timedelta(hours=168), None, None, None, 0)
    assert await superuser.fetchrow(CLOCK + where, case["id"]) == before
    async with operator(running.url) as form:
        sent = (await form.get(f"/api/tables/cases/{case['id']}/")).json()
        for cut in (16, 19, 23):
            times = {name: sent[name][:cut] + "+00:00" for name in ("submitted_at", "decision_due_at", "created_at")}
            answer = await form.patch(
                f"/api/tables/cases/{case['id']}/", json=chosen | times | {"paused_at": SUBMITTED}
            )
            assert answer.status_code == 200, answer.text
    assert await superuser.fetchrow(CLOCK + where, case["id"]) == before
    assert await superuser.fetchval(UPDATES, case["id"]) == 0


async def test_at_the_same_time(
    database: TestDatabase, admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """A code that is added while somebody else makes the case urgent waits, and both count: either alone would change
    nothing, or less."""
    await rules(admin, "72148", {"urgent": {"hours": 5}})
    for code_first in (True, False):
        case = await opened(admin, north)
        async with as_tenant(database, north) as first, as_tenant(database, north) as second:
            statements = [
                (f"INSERT INTO case_codes (case_id, code_type, code) VALUES ('{case['id']}', 'CPT', '72148')"),
                (f"UPDATE cases SET priority = 'urgent' WHERE id = '{case['id']}'"),
            ]
            if not code_first:
                statements.reverse()
            await first.execute(statements[0])
            waiting = asyncio.create_task(second.execute(statements[1]))
            async with asyncio.timeout(20):
                while not await superuser.fetchval(WAITING):
                    assert not waiting.done(), "nothing holds it up"
                    await asyncio.sleep(0.01)
            await first.execute("COMMIT")
            await waiting
            await second.execute("COMMIT")
        assert hours(await read(admin, case)) == 5


async def test_redacted(
    database: TestDatabase, admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """The platform takes a value out of the reason of a decided case, and moves no time with it."""
    case = await opened(admin, north)
    await change(admin, case, extended_until="2026-03-20T00:00:00Z", extension_reason="Agreed with XANTHIPPE-47")
    decided = await change(admin, case, status="approved")
    done = await redact("north", forms_of("XANTHIPPE-47"), "", really=True)
    assert done.tables["cases"] == 1
    after = await read(admin, case)
    assert after == decided | {"extension_reason": "Agreed with [redacted]", "updated_at": after["updated_at"]}
