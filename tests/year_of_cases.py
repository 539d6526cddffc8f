"""A year of cases of a clinic, and what they amount to: counted in plain Python, from the rows as they are stored."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg

from tests.clinics import Clinic

STATUSES = ("pending", "more_info_needed", "approved", "denied")
AGES = ((0, 1), (1, 3), (3, 7), (7, 14), (14, 30), (30, None))
PAYERS = ("Aetna", "Blue Cross <b>&amp;</b> Blue Shield", "Cigna", "Humana", "Kaiser", "<script>alert(1)</script>", "")
REASONS = (
    *("Not medically necessary", "not medically necessary", " NOT MEDICALLY NECESSARY\n", "Documentation is missing"),
    *("<script>alert('reason')</script>", 'Out of "network" & more', None, " ", "documentation is missing"),
    *(f"Reason {number}" for number in range(24)),
)
COLUMNS = (
    "payer",
    "status",
    "created_at",
    "submitted_at",
    "decided_at",
    "decision_due_at",
    "paused_at",
    "denial_reason",
)
Row = Mapping[str, Any]


def year_of_cases(random: Random, now: datetime, number: int) -> list[dict[str, Any]]:
    """Cases of the last year, some of them incomplete, some decided in the hour that a month ends."""
    return [_case(random, now) for _ in range(number)]


def _case(random: Random, now: datetime) -> dict[str, Any]:
    status = random.choices(STATUSES, weights=(2, 1, 5, 3))[0]
    is_open = status in STATUSES[:2]
    created = now - timedelta(days=(random.random() ** 3 if is_open else random.random()) * 365)
    submitted = created + timedelta(hours=random.random() * 5) if random.random() < 0.9 else None
    decided = created + timedelta(hours=6 + random.expovariate(1 / 90))
    if random.random() < 0.02:
        decided = decided.replace(day=1, hour=random.randrange(14), minute=0, second=0, microsecond=0)
    return {
        "payer": random.choices(PAYERS, weights=(9, 7, 5, 3, 2, 1, 0.2))[0],
        "status": status,
        "created_at": created,
        "submitted_at": submitted,
        "decided_at": None if is_open or random.random() < 0.02 else min(decided, now),
        "decision_due_at": created + timedelta(hours=random.choice((72, 168))) if random.random() < 0.9 else None,
        "paused_at": created + timedelta(hours=random.random() * 200) if is_open and random.random() < 0.1 else None,
        "denial_reason": random.choice(REASONS) if status == "denied" else None,
    }


async def store(superuser: asyncpg.Connection, clinic: Clinic, rows: Sequence[Row], user: Any) -> None:
    """As a restored backup brings them: no trigger has a say in what a row holds."""
    columns = (
        "tenant_id",
        "created_by",
        "member_id_hash",
        "diagnosis_codes",
        "confidence_json",
        "extracted_data",
        *COLUMNS,
    )
    fixed = (clinic.id, user, f"hash_{clinic.slug}", ["M79.3"], "{}", "{}")
    await superuser.execute("SET session_replication_role = 'replica'")
    await superuser.copy_records_to_table(
        "cases", columns=("id", *columns), records=[_record(fixed, row) for row in rows]
    )
    await superuser.execute("RESET session_replication_role; ANALYZE cases")


def _record(fixed: Sequence[Any], row: Row) -> tuple[Any, ...]:
    return (uuid4(), *fixed, *(row[column] for column in COLUMNS))


@dataclass(frozen=True)
class Question:
    """What is asked, of whom and when. `named` is how many payers are told by name."""

    zone: str
    now: datetime
    first: date | None = None
    until: date | None = None
    payer: str | None = None
    named: int = 100


def counted(stored: Iterable[Row], asked: Question) -> dict[str, Any]:
    """The answer of GET /api/metrics/ about these rows."""
    rows = [dict(row) for row in stored if asked.payer in (None, row["payer"])]
    frequent = sorted(Counter(row["payer"] for row in rows).items(), key=lambda item: (-item[1], item[0].encode()))
    ranks: dict[str | None, int] = {payer: rank for rank, (payer, _) in enumerate(frequent[: asked.named])}
    for row in rows:
        row["payer"] = row["payer"] if row["payer"] in ranks else None
    ranks[None] = len(ranks)
    rows.sort(key=lambda row: ranks[row["payer"]])
    created = [row for row in rows if _is_within(row["created_at"], asked)]
    decided = [row for row in rows if row["status"] in STATUSES[2:] and _is_within(row["decided_at"], asked)]
    standing = [row for row in rows if row["status"] in STATUSES[:2]]
    return {
        "generated_at": asked.now,
        "time_zone": asked.zone,
        "total": len(created),
        "open": len(standing),
        "overdue": sum(_is_overdue(row, asked.now) for row in standing),
        "by_status": [{"status": s, "cases": sum(row["status"] == s for row in created)} for s in STATUSES],
        "by_payer": [{"payer": payer, "cases": len(of)} for (payer,), of in _groups(created, _payer)],
        "by_payer_and_status": [
            {"payer": payer, "status": STATUSES[place], "cases": len(of)}
            for (payer, place), of in _groups(created, _payer, lambda row: STATUSES.index(row["status"]))
        ],
        "ageing": [_aged(age, sum(_age(row, asked.now) == age for row in standing)) for age in range(len(AGES))],
        "ageing_by_payer": [
            {"payer": payer, **_aged(age, len(of))}
            for (payer, age), of in _groups(standing, _payer, lambda row: _age(row, asked.now))
        ],
        "time_to_decision": _times(decided, asked.zone),
        "decided_in_time": {
            "overall": _share(decided),
            "by_payer": [
                {"payer": payer, **_share(of)} for (payer,), of in _groups(decided, _payer) if _share(of)["cases"]
            ],
        },
        "denial_reasons": _reasons([row["denial_reason"] for row in decided if row["status"] == "denied"]),
    }


def _payer(row: Row) -> Any:
    return row["payer"]


def _groups(rows: Iterable[Row], *keys: Callable[[Row], Any]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """Rows by what they have in common: by the first key as they come, by the others in their order."""
    found: dict[Any, dict[tuple[Any, ...], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        first, *rest = (key(row) for key in keys)
        found[first][tuple(rest)].append(row)
    return [((first, *rest), of) for first, groups in found.items() for rest, of in sorted(groups.items())]


def _is_within(time: datetime | None, asked: Question) -> bool:
    if time is None:
        return False
    day = time.astimezone(ZoneInfo(asked.zone)).date()
    return (asked.first is None or day >= asked.first) and (asked.until is None or day <= asked.until)


def _is_overdue(row: Row, now: datetime) -> bool:
    return row["decision_due_at"] is not None and row["decision_due_at"] < (row["paused_at"] or now)


def _age(row: Row, now: datetime) -> int:
    days = (now - (row["submitted_at"] or row["created_at"])) / timedelta(days=1)
    return next(age for age, (_, until) in enumerate(AGES) if until is None or days < until)


def _aged(age: int, cases: int) -> dict[str, Any]:
    return {"from_days": AGES[age][0], "until_days": AGES[age][1], "cases": cases}


def _times(decided: Sequence[Row], zone: str) -> dict[str, Any]:
    timed = [row for row in decided if row["submitted_at"] is not None]

    def month(row: Row) -> str:
        return f"{row['decided_at'].astimezone(ZoneInfo(zone)):%Y-%m}"

    return {
        "overall": _hours(timed),
        "by_payer": [{"payer": payer, **_hours(of)} for (payer,), of in _groups(timed, _payer)],
        "by_month": [{"month": m, **_hours([row for row in timed if month(row) == m])} for m in _sorted(timed, month)],
        "by_payer_and_month": [
            {"payer": payer, "month": m, **_hours(of)} for (payer, m), of in _groups(timed, _payer, month)
        ],
    }


def _sorted(rows: Sequence[Row], key: Callable[[Row], str]) -> list[str]:
    return sorted({key(row) for row in rows})


def _hours(rows: Sequence[Row]) -> dict[str, Any]:
    hours = sorted((row["decided_at"] - row["submitted_at"]) / timedelta(hours=1) for row in rows)
    return {"cases": len(hours), "median_hours": _percentile(hours, 0.5), "p90_hours": _percentile(hours, 0.9)}


def _percentile(ordered: Sequence[float], fraction: float) -> float | None:
    """Interpolated between the two nearest."""
    if not ordered:
        return None
    place = fraction * (len(ordered) - 1)
    low = ordered[int(place)]
    return low + (ordered[min(int(place) + 1, len(ordered) - 1)] - low) * (place % 1)


def _share(rows: Sequence[Row]) -> dict[str, Any]:
    kept = [row["decided_at"] <= row["decision_due_at"] for row in rows if row["decision_due_at"] is not None]
    return {"cases": len(kept), "in_time": sum(kept), "share": sum(kept) / len(kept) if kept else None}


def _reasons(given: Sequence[str | None]) -> dict[str, Any]:
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    for reason in given:
        if reason is not None and reason.strip():
            spelled[reason.strip().lower()][reason.strip()] += 1
    found = sorted(((-of.total(), folded, of) for folded, of in spelled.items()), key=lambda item: item[:2])
    reasons = [{"reason": min(of, key=lambda text: (-of[text], text)), "cases": of.total()} for _, _, of in found[:20]]
    not_given = len(given) - sum(of.total() for of in spelled.values())
    return {"reasons": reasons, "other": sum(of.total() for _, _, of in found[20:]), "not_given": not_given}


def rounded(value: Any) -> Any:
    """The same with six digits after the point: sums of fractions differ in the last of sixteen."""
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list():
            return [rounded(item) for item in value]
    return value
