"""Ten thousand generated cases of one clinic, in time zones that change their clocks on different days."""

import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from tenancy.tables import Role
from tests.cases.due_times import Asked, Rules
from tests.clinics import Clinic
from tests.cluster import TestDatabase

CASES = 10_000
# Cairo and Jerusalem change their clocks on working days, Lord Howe by half an hour.
ZONES = (
    *("UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Jerusalem"),
    *("America/St_Johns", "Pacific/Chatham", "Asia/Kolkata", "America/Los_Angeles"),
)
HOLIDAYS = ["2025-01-01", "2025-04-24", "2025-07-04", "2025-10-31", "2025-12-25", "2026-01-01", "2026-03-26"]
PAYERS = ("Aetna", "AETNA", "Cigna", "cigna", "Humana", "Molina", "Nobody's")
CODES = ("72148", "72146", "73721", "J1885", "97110")
CLOCKS: tuple[tuple[str, str, dict[str, Any], bool], ...] = (
    ("Aetna", "*", {"standard": {"business_days": 3}, "urgent": {"hours": 24}, "holidays": HOLIDAYS}, True),
    ("aetna", "72148", {"standard": {"business_days": 5}, "pause_for_information": True}, True),
    ("AETNA", "72148", {"standard": {"business_days": 4}, "holidays": HOLIDAYS}, True),
    ("Aetna", "7214*", {"standard": {"hours": 36}, "urgent": {"business_days": 1}}, True),
    ("Aetna", "73721", {"pause_for_information": True}, True),
    ("Cigna", "7*", {"standard": {"hours": 100}, "urgent": {"hours": 100}}, True),
    ("Cigna", "7*1", {"standard": {"business_days": 2}}, True),
    ("Cigna", "721*8", {"standard": {"business_days": 10}, "urgent": {"business_days": 2}}, True),
    ("Cigna", "j1885", {"standard": {"business_days": 1}, "urgent": {"business_days": 1}}, True),
    ("Humana", "*", {"standard": {"business_days": 7}, "urgent": {"business_days": 1}, "holidays": HOLIDAYS}, True),
    ("Humana", "97110", {"standard": {"hours": 1}}, False),
    ("Molina", "*", {"urgent": {"hours": 1}}, True),
)
BIND = (
    "SELECT set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true), "
    "set_config('app.user_role', 'admin', true), set_config('role', 'fastlane_tenant', true)"
)
INSERT_RULESETS = """
INSERT INTO rulesets (id, payer, procedure, rules_json, is_active)
SELECT id, payer, procedure, jsonb_build_object('clock', clock), is_active
  FROM jsonb_to_recordset($1::jsonb) AS r (id uuid, payer text, procedure text, clock jsonb, is_active boolean)
"""
INSERT_CASES = """
INSERT INTO cases (id, member_id_hash, payer, status, priority, diagnosis_codes, confidence_json, extracted_data,
                   submitted_at)
SELECT id, 'hash_generated', payer, 'pending', priority, '{}', '{"overall": 1, "fields": {}}', '{}', submitted_at
  FROM jsonb_to_recordset($1::jsonb) AS c (id uuid, payer text, priority text, submitted_at timestamptz)
"""
INSERT_CODES = """
INSERT INTO case_codes (case_id, code_type, code)
SELECT case_id, CASE WHEN code ~ '^[0-9]' THEN 'CPT' ELSE 'HCPCS' END, code
  FROM jsonb_to_recordset($1::jsonb) AS c (case_id uuid, code text)
"""


@asynccontextmanager
async def as_tenant(database: TestDatabase, clinic: Clinic) -> AsyncIterator[asyncpg.Connection]:
    """A transaction of the login role, bound to the clinic's admin as a request is."""
    connection = await asyncpg.connect(database.app)
    try:
        async with connection.transaction():
            await connection.fetch(BIND, str(clinic.id), str(clinic.users[Role.admin]))
            yield connection
    finally:
        await connection.close()


def rulesets_of(chance: random.Random) -> list[Rules]:
    """Several for most payers, some of one procedure, one inactive, one that sets no time."""
    return [Rules(UUID(int=chance.getrandbits(128)), *clock) for clock in CLOCKS]


def cases_of(zone: ZoneInfo, count: int, chance: random.Random) -> dict[UUID, Asked]:
    """Cases of any time in two years, of these days, and of the days before the clocks change, at the hours at which
    they do."""
    changes = list(_changes(zone)) or [datetime(2025, 6, 1, tzinfo=UTC)]
    found = {}
    for number in range(count):
        moment = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(2 * 365 * 86400))
        if number % 3 == 1:
            local = chance.choice(changes).astimezone(zone) - timedelta(days=chance.randrange(15))
            at = (datetime.combine(local, time(local.hour)) + timedelta(minutes=chance.randrange(-120, 120))).time()
            moment = datetime.combine(local.date(), at, zone).astimezone(UTC)
        elif number % 3 == 2:
            moment = datetime.now(UTC) + timedelta(hours=chance.randrange(-400, 200))
            moment = moment.replace(minute=0, second=0)
        found[UUID(int=chance.getrandbits(128))] = Asked(
            chance.choice(PAYERS),
            chance.choice(("low", "normal", "high", "urgent", "urgent")),
            moment.replace(microsecond=0 if number % 3 == 2 else chance.randrange(1_000_000)),
            tuple(chance.sample(CODES, chance.choice((0, 1, 1, 2, 3)))),
        )
    return found


def _changes(zone: ZoneInfo) -> Iterator[datetime]:
    """The hours of two years in which the zone's offset changes."""
    hour = datetime(2025, 1, 1, tzinfo=UTC)
    while hour.year < 2027:
        after = hour + timedelta(hours=1)
        if hour.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            yield hour
        hour = after


async def insert_rulesets(connection: asyncpg.Connection, rulesets: Sequence[Rules]) -> None:
    rows = [
        {"id": str(r.id), "payer": r.payer, "procedure": r.procedure, "clock": r.clock, "is_active": r.is_active}
        for r in rulesets
    ]
    await connection.execute(INSERT_RULESETS, json.dumps(rows))


async def insert_cases(connection: asyncpg.Connection, cases: dict[UUID, Asked]) -> None:
    """First the cases, then their codes, as clients do."""
    rows = [
        {"id": str(key), "payer": c.payer, "priority": c.priority, "submitted_at": c.submitted_at.isoformat()}
        for key, c in cases.items()
    ]
    codes = [{"case_id": str(key), "code": code} for key, case in cases.items() for code in case.codes]
    await connection.execute(INSERT_CASES, json.dumps(rows))
    await connection.execute(INSERT_CODES, json.dumps(codes))
