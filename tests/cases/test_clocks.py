"""How long a payer has to decide: by law or ruleset, on business days, by the codes of the case."""

from datetime import datetime

import asyncpg
import httpx
import pytest

from tests.api.problems import fields
from tests.cases.clocks import (
    SUBMITTED,
    UPDATES,
    add_code,
    at,
    change,
    hours,
    opened,
    read,
    rules,
)
from tests.clinics import Clinic


async def test_the_law(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Without a ruleset a decision is due 168 hours after the payer got the request, 72 when it is urgent; that is when
    the case was created unless the client knows better, and later changes count."""
    answer = await admin.post("/api/cases/", json=north.body("cases"))
    assert answer.json()["submitted_at"] == answer.json()["created_at"]
    case = await opened(admin, north)
    assert (hours(answer.json()), hours(case), at(case, "submitted_at")) == (
        168,
        168,
        datetime.fromisoformat(SUBMITTED),
    )
    assert (case["due_ruleset_id"], case["due_ruleset_version"], case["paused_at"], case["paused_seconds"]) == (
        *(None, None, None),
        0,
    )
    assert hours(await opened(admin, north, priority="urgent")) == 72
    assert hours(await change(admin, case, priority="urgent")) == 72
    moved = await change(admin, case, submitted_at="2026-03-08T06:59:00-05:00")
    assert (hours(moved), moved["submitted_at"][:16]) == (72, "2026-03-08T11:59")
    whole = await admin.put(f"/api/cases/{case['id']}/", json=north.body("cases", priority="high"))
    assert (hours(whole.json()), whole.json()["submitted_at"]) == (168, moved["submitted_at"])
    for verb in (admin.patch, admin.put):
        body = north.body("cases", submitted_at=None)
        assert fields(await verb(f"/api/cases/{case['id']}/", json=body)) == ["submitted_at"]
    for submitted in ("0001-01-02T00:00:00Z", "9999-01-01T00:00:00Z"):
        assert fields(await admin.patch(f"/api/cases/{case['id']}/", json={"submitted_at": submitted})) == [
            "submitted_at"
        ]
        assert fields(await admin.post("/api/cases/", json=north.body("cases", submitted_at=submitted))) == [
            "submitted_at"
        ]


@pytest.mark.parametrize(
    ("zone", "submitted", "days", "due"),
    [
        # Across both changes: the same hour on the clock.
        ("America/New_York", "2026-03-05T15:30:00-05:00", 3, "2026-03-10T15:30:00-04:00"),
        ("America/New_York", "2026-10-30T15:30:00-04:00", 2, "2026-11-03T15:30:00-05:00"),
        # 00:30 does not exist on 25 April 2025 in Cairo, nor 02:30 on 27 March 2026 in Jerusalem: as if the clocks had
        # not been put forward yet.
        ("Africa/Cairo", "2025-04-24T00:30:00+02:00", 1, "2025-04-25T01:30:00+03:00"),
        ("Asia/Jerusalem", "2026-03-24T02:30:00+02:00", 3, "2026-03-27T03:30:00+03:00"),
        # 23:30 is there twice on 30 October 2025 in Cairo: the second.
        ("Africa/Cairo", "2025-10-28T23:30:00+03:00", 2, "2025-10-30T23:30:00+02:00"),
        # A request of a weekend, and holidays.
        ("Australia/Lord_Howe", "2026-04-04T23:45:00+11:00", 1, "2026-04-06T23:45:00+10:30"),
        ("UTC", "2025-12-24T10:00:00Z", 1, "2025-12-29T10:00:00Z"),
        ("UTC", "2025-12-25T10:00:00Z", 2, "2025-12-30T10:00:00Z"),
    ],
)
async def test_business_days(superuser: asyncpg.Connection, zone: str, submitted: str, days: int, due: str) -> None:
    """So many business days later it is due at the same local time, be that left out or repeated by daylight saving."""
    clock = f'{{"standard": {{"business_days": {days}}}, "holidays": ["2025-12-25", "2025-12-26", 7, "soon"]}}'
    found = await superuser.fetchval(
        "SELECT cases.clock_end_1($1, 'standard', $2, $3)", clock, datetime.fromisoformat(submitted), zone
    )
    assert found == datetime.fromisoformat(due)


MALFORMED = (
    *("[]", '"standard"', "7", "null", '{"standard": 5}', '{"standard": ["hours"]}', '{"standard": {}}'),
    *('{"standard": {"hours": 0}}', '{"standard": {"hours": -1}}', '{"standard": {"hours": "5"}}'),
    *('{"standard": {"hours": 1e300}}', '{"standard": {"hours": 1, "business_days": 1}}', '{"urgent": {"hours": 1}}'),
    *('{"standard": {"business_days": 1.5}}', '{"standard": {"business_days": 0}}', '{"standard": {"hours": null}}'),
    *('{"standard": {"business_days": 1e9}}', '{"standard": {"business_days": [1]}}', '{"standard": null}'),
)


async def test_malformed_clocks(superuser: asyncpg.Connection, admin: httpx.AsyncClient, north: Clinic) -> None:
    """A clock that makes no sense, from before they were checked, counts as none; what is odd of the holidays too."""
    insert = "INSERT INTO rulesets (tenant_id, payer, procedure, rules_json) VALUES ($1, 'Aetna', '*', $2)"
    await superuser.execute(
        "ALTER TABLE rulesets DISABLE TRIGGER USER; ALTER TABLE rulesets ALTER id SET DEFAULT gen_random_uuid()"
    )
    await superuser.execute("ALTER TABLE rulesets ALTER created_at SET DEFAULT now()")
    for clock in MALFORMED:
        await superuser.execute(insert, north.id, f'{{"clock": {clock}}}')
    case = await opened(admin, north, codes=["72148"])
    assert (hours(case), case["due_ruleset_id"]) == (168, None)
    assert (await change(admin, case, status="more_info_needed"))["paused_at"] is None
    for holidays in ("7", "null", '"2026-03-06"', '{"2026-03-06": 1}', '[null, ["2026-03-06"], 20260306, "2026-3-6"]'):
        clock = f'{{"standard": {{"business_days": 1}}, "holidays": {holidays}}}'
        await superuser.execute(insert, north.id, f'{{"clock": {clock}}}')
        case = await opened(admin, north)
        assert hours(case) == 24, holidays
        await superuser.execute("DELETE FROM rulesets WHERE id = $1", case["due_ruleset_id"])


@pytest.mark.parametrize(
    ("procedure", "code", "found"),
    [
        *(("*", None, 0), (" ** ", None, 0), ("72148", None, None), ("7214*", None, None), ("72148", "72148", 1000)),
        *((" j1885", "J1885 ", 1000), ("7214*", "72148", 4), ("*8", "72148", 1), ("7*4*", "72148", 2)),
        *(
            ("7214*", "7214", 4),
            ("7_14*", "72148", None),
            ("7%4*", "72148", None),
            ("7\\*", "7\\1", 2),
            ("*9", "72148", None),
        ),
        *(("214*", "72148", None), ("MRI of the spine", "72148", None), ("", "72148", None)),
    ],
)
async def test_patterns(superuser: asyncpg.Connection, procedure: str, code: str | None, found: int | None) -> None:
    """A code fits itself and patterns with `*`, whatever else stands in them, in upper or lower case."""
    assert await superuser.fetchval("SELECT cases.specificity_1($1, $2)", procedure, code) == found


async def test_codes_choose(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A code that comes, changes or goes lets the ruleset that fits best now set the time, in one entry of the trail;
    one that makes no difference leaves none, and a decided case keeps its time."""
    every, pattern, exact = [
        await rules(admin, procedure, {"standard": {"hours": hours}})
        for procedure, hours in (("*", 50), ("7214*", 40), ("72148", 60))
    ]
    await rules(admin, "72149", {"standard": {"hours": 1}}, payer="Cigna")
    case = await opened(admin, north)
    seen = []
    written = "SELECT xmin::text FROM cases WHERE id = $1"
    first = await superuser.fetchval(written, case["id"])
    for code, ruleset, due in (("97110", every, 50), ("72149", pattern, 40), ("72148", exact, 60)):
        path = await add_code(admin, case, code)
        seen.append(await read(admin, case))
        assert (hours(seen[-1]), seen[-1]["due_ruleset_id"], seen[-1]["due_ruleset_version"]) == (due, ruleset, 1)
        assert (await superuser.fetchval(written, case["id"]) == first) is (code == "97110")
    assert await superuser.fetchval(UPDATES, case["id"]) == 2
    await admin.patch(path, json={"description": "MRI"})
    assert await read(admin, case) == seen[-1]
    assert (await admin.patch(path, json={"code": "72147"})).status_code == 200
    assert hours(await read(admin, case)) == 40
    assert hours(await change(admin, case, priority="urgent")) == 72
    assert (await change(admin, case, priority="normal"))["due_ruleset_id"] == pattern
    await admin.delete(path)
    assert hours(await change(admin, case, payer="AETNA")) == 40
    decided = await change(admin, case, status="approved")
    await add_code(admin, case, "72148")
    assert await read(admin, case) | {"updated_at": 0} == decided | {"updated_at": 0}


async def test_a_deadline_stays(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A ruleset that comes, changes or goes, and a tenant's time zone, move no time that was set; the next change of
    the case itself asks anew. What set the time is known by its version when the ruleset is gone."""
    first = await opened(admin, north)
    ruleset = await rules(admin, "*", {"standard": {"business_days": 1}})
    second = await opened(admin, north)
    assert (hours(second), second["due_ruleset_id"]) == (24, ruleset)
    await superuser.execute("UPDATE tenants SET time_zone = 'Asia/Tokyo' WHERE id = $1", north.id)
    document = (await admin.get(f"/api/rulesets/{ruleset}/")).json()["rules_json"]
    document["clock"] = {"standard": {"business_days": 5}}
    await admin.patch(f"/api/rulesets/{ruleset}/", json={"rules_json": document})
    assert (await read(admin, first), await read(admin, second)) == (first, second)
    assert (await change(admin, second, status="more_info_needed"))["decision_due_at"] == second["decision_due_at"]
    # Friday in Tokyo already: due on the next Friday.
    assert (await change(admin, first, priority="high"))["decision_due_at"] == "2026-03-12T15:30:00Z"
    assert (await admin.delete(f"/api/rulesets/{ruleset}/")).status_code == 204
    left = await read(admin, second)
    assert (left["due_ruleset_id"], left["due_ruleset_version"]) == (None, 1)
    assert left["decision_due_at"] == second["decision_due_at"]
