"""The worklist, and the due times that it is sorted by, against what Python makes of ten thousand cases."""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.cases.clock_cases import CASES, ZONES, as_tenant, cases_of, insert_cases, insert_rulesets, rulesets_of
from tests.cases.due_times import due_of
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

OPEN = ("pending", "more_info_needed")
# Every fourth case goes to more_info_needed, every sixteenth is decided; a third has a task or more.
MOVE = "UPDATE cases SET status = $1 WHERE get_byte(uuid_send(id), 9) % $2 = 1"
TASKS = """
INSERT INTO tasks (case_id, assigned_to, title, status)
SELECT c.id, ($1::uuid[])[1 + (get_byte(uuid_send(c.id), 10) + n) % 3], 'Call the payer',
       (ARRAY['pending', 'in_progress', 'completed', 'cancelled'])[1 + (get_byte(uuid_send(c.id), 11) + n) % 4]
  FROM cases c, generate_series(1, get_byte(uuid_send(c.id), 12) % 4) AS n WHERE get_byte(uuid_send(c.id), 13) % 3 = 0
"""
# Clocks that stood still before they ran out, as if time had passed: the triggers rest meanwhile.
STOOD_STILL = """
SET session_replication_role = replica;
UPDATE cases SET decision_due_at = now() - interval '1 hour', paused_at = now() - interval '2 hours'
 WHERE paused_at IS NOT NULL AND get_byte(uuid_send(id), 8) % 2 = 0;
SET session_replication_role = origin;
"""
ROWS = """
SELECT c.id, c.status, c.payer, c.submitted_at, c.decision_due_at, c.due_ruleset_id, c.paused_at,
       (SELECT coalesce(json_agg(json_build_object('by', t.assigned_to)), '[]') FROM tasks t
         WHERE t.case_id = c.id AND t.status IN ('pending', 'in_progress'))::text AS open_tasks
  FROM cases c WHERE c.tenant_id = $1
"""
Row = Mapping[str, Any]


def expected(rows: Sequence[Row], now: datetime, query: dict[str, str]) -> list[tuple[str, int, bool]]:
    """Id, open tasks and lateness of the cases that the query finds, by looking at every one."""
    found = []
    for row in rows:
        due, tasks = row["decision_due_at"], [task["by"] for task in json.loads(row["open_tasks"])]
        hours, user, payer = query.get("within_hours"), query.get("assigned_to"), query.get("payer")
        if (
            row["status"] in OPEN
            and (not hours or due <= now + timedelta(hours=float(hours)))
            and (not user or user in tasks)
            and (not payer or row["payer"].upper() == payer.upper())
        ):
            found.append((due, row["id"], len(tasks), due < (row["paused_at"] or now)))
    return [(str(key), tasks, is_overdue) for _, key, tasks, is_overdue in sorted(found)]


async def listed(client: httpx.AsyncClient, query: dict[str, str]) -> list[tuple[str, int, bool]]:
    """All pages of the worklist."""
    found: list[tuple[str, int, bool]] = []
    for page in range(1, 100):
        answer = await client.get("/api/worklist/", params={**query, "__page": str(page)})
        assert answer.status_code == 200, answer.text
        rows = answer.json()["rows"]
        if not rows:
            break
        assert all(len(row) > 20 for row in rows)
        found += [(row["id"], row["open_tasks"], row["is_overdue"]) for row in rows]
    return found


async def load(database: TestDatabase, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Generates the cases, and asserts that each has the due time, and the ruleset, that Python computes."""
    chance = random.Random(57)
    rulesets = rulesets_of(chance)
    async with as_tenant(database, north) as connection:
        await insert_rulesets(connection, rulesets)
    wanted: dict[UUID, tuple[datetime, UUID | None]] = {}
    for name in ZONES:
        zone = ZoneInfo(name)
        await superuser.execute("UPDATE tenants SET time_zone = $1 WHERE id = $2", name, north.id)
        cases = cases_of(zone, CASES // len(ZONES), chance)
        async with as_tenant(database, north) as connection:
            await insert_cases(connection, cases)
        wanted |= {key: due_of(case, rulesets, zone) for key, case in cases.items()}
    found = await superuser.fetch(ROWS, north.id)
    due = {row["id"]: (row["decision_due_at"], row["due_ruleset_id"]) for row in found if row["id"] in wanted}
    assert len(due) == CASES
    assert {key: (due[key], want) for key, want in wanted.items() if due[key] != want} == {}
    # The law, and all but the one that is inactive and the one that sets no time.
    assert len({ruleset for _, ruleset in wanted.values()}) == 1 + len(rulesets) - 2


async def test_ten_thousand(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], running: Running, superuser: asyncpg.Connection
) -> None:
    """Of cases in ten time zones each due time, and the ruleset that sets it, is what Python computes, around every
    change of the clocks too; and the pages of the worklist, with any filter, are what a look at all of them finds.
    """
    north = clinics[0]
    await load(database, north, superuser)
    async with as_tenant(database, north) as connection:
        await connection.execute(MOVE, "more_info_needed", 4)
        await connection.execute(MOVE, "approved", 16)
        await connection.execute(TASKS, list(north.users.values()))
    await superuser.execute(f"{STOOD_STILL} ANALYZE")
    rows = [dict(row) for row in await superuser.fetch(ROWS, north.id)]
    assert {(row["status"], row["paused_at"] is None) for row in rows} >= {
        ("pending", True),
        ("more_info_needed", False),
    }
    staff = str(north.users[Role.staff])
    running.client.headers.update(north.headers(Role.staff))
    for query in (
        {},
        {"within_hours": "", "assigned_to": "", "payer": ""},
        {"within_hours": "24", "__page_size": "400"},
        {"within_hours": "0.5"},
        {"assigned_to": staff, "__page_size": "237"},
        {"payer": "aetna"},
        {"payer": "aet"},
        {"within_hours": "8784", "assigned_to": staff, "payer": "CIGNA"},
        {"within_hours": "48", "payer": "Humana"},
        {"assigned_to": str(clinics[1].users[Role.staff])},
    ):
        before = expected(rows, await superuser.fetchval("SELECT now()"), query)
        answer = await listed(running.client, query)
        assert answer in (before, expected(rows, await superuser.fetchval("SELECT now()"), query)), query
        assert bool(answer) is (query.get("payer") != "aet" and query.get("assigned_to") in (None, "", staff))


@pytest.mark.parametrize(
    "query",
    [
        *("within_hours=0", "within_hours=-1", "within_hours=8785", "within_hours=soon", "within_hours=nan"),
        *("within_hours=inf", "assigned_to=me", "payer=%00", f"payer={'x' * 256}", "__page=0", "__page_size=1001"),
        *("__page_size=many", "payer=a&payer=b", "status=pending", "page=1"),
    ],
)
async def test_bad_parameters(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], query: str) -> None:
    """A parameter that makes no sense, is unknown or is there twice is a 400."""
    answer = await client.get(f"/api/worklist/?{query}", headers=clinics[0].headers())
    assert_problem(answer, 400)


async def test_who_sees_it(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Every role sees the open cases of its own clinic only, with or without the last slash, by HEAD too; each look is
    on record, and nobody posts there."""
    for clinic in clinics:
        for role in Role:
            answer = await client.get("/api/worklist", headers=clinic.headers(role))
            assert [row["id"] for row in answer.json()["rows"]] == [str(clinic.rows["cases"])]
            assert answer.json()["rows"][0]["open_tasks"] == 1
    assert_problem(await client.get("/api/worklist/"), 401)
    assert_problem(await client.post("/api/worklist/", headers=clinics[0].headers(), json={}), 405)
    assert (await client.head("/api/worklist/", headers=clinics[0].headers())).status_code == 200
