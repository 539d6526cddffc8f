"""What the tests of clocks do over HTTP, as one who signed in."""

from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx

from tests.clinics import Clinic

Row = dict[str, Any]
SUBMITTED = "2026-03-05T15:30:00Z"
UPDATES = "SELECT count(*) FROM audit_logs WHERE entity_type = 'case' AND action = 'update' AND entity_id = $1"
# Nobody makes time pass: the triggers rest meanwhile.
_LATER = "UPDATE cases SET paused_at = paused_at - interval '5 hours' WHERE id = $1"


def hours(row: Row, since: str = "submitted_at") -> float:
    """How long the payer has, from then on."""
    return (at(row, "decision_due_at") - at(row, since)) / timedelta(hours=1)


def at(row: Row, name: str) -> datetime:
    return datetime.fromisoformat(row[name])


async def opened(admin: httpx.AsyncClient, north: Clinic, **values: Any) -> Row:
    """A new case, with the codes that are given."""
    codes = values.pop("codes", ())
    body = north.body("cases", submitted_at=SUBMITTED, **values)
    answer = await admin.post("/api/cases/", json=body)
    assert answer.status_code == 201, answer.text
    for code in codes:
        await add_code(admin, answer.json(), code)
    return await read(admin, answer.json())


async def add_code(admin: httpx.AsyncClient, case: Row, code: str) -> str:
    """Where the new code is."""
    body = {"case_id": case["id"], "code_type": "CPT", "code": code}
    answer = await admin.post("/api/case_codes/", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["location"])


async def read(admin: httpx.AsyncClient, case: Row) -> Row:
    row: Row = (await admin.get(f"/api/cases/{case['id']}/")).json()
    return row


async def change(admin: httpx.AsyncClient, case: Row, **values: Any) -> Row:
    """The case as it is after a PATCH."""
    answer = await admin.patch(f"/api/cases/{case['id']}/", json=values)
    assert answer.status_code == 200, answer.text
    row: Row = answer.json()
    return row


async def rules(admin: httpx.AsyncClient, procedure: str, clock: Any, payer: str = "aetna") -> str:
    """A new ruleset with a clock."""
    document = {"requirements": [], "documentation": [], "typical_turnaround": "a week", "clock": clock}
    answer = await admin.post(
        "/api/rulesets/", json={"payer": payer, "procedure": procedure, "rules_json": document, "is_active": True}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def wait_five_hours(superuser: asyncpg.Connection, case: Row) -> None:
    """As if the clock had stood still five hours longer."""
    async with superuser.transaction():
        await superuser.execute("SET LOCAL session_replication_role = replica")
        await superuser.execute(_LATER, case["id"])
