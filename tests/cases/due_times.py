"""When a decision is due, computed once more: in Python, from zoneinfo's rules, without a look at the SQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

LAW = {True: timedelta(hours=72), False: timedelta(hours=168)}


@dataclass(frozen=True)
class Rules:
    """A ruleset, as far as it matters for the clock."""

    id: UUID
    payer: str
    procedure: str
    clock: dict[str, Any] = field(default_factory=dict)
    is_active: bool = True


@dataclass(frozen=True)
class Asked:
    """A case, as far as it matters for the clock."""

    payer: str
    priority: str
    submitted_at: datetime
    codes: tuple[str, ...] = ()


def local_instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The instant of a local time. One that does not exist is taken as if the clocks had not been put forward yet, one
    that exists twice as the second."""
    first, second = (datetime.combine(day, at.replace(fold=fold), zone) for fold in (0, 1))
    offsets = first.utcoffset(), second.utcoffset()
    assert offsets[0] is not None
    assert offsets[1] is not None
    return (second if offsets[0] > offsets[1] else first).astimezone(UTC)


def end_of(clock: dict[str, Any], *, urgent: bool, submitted_at: datetime, zone: ZoneInfo) -> datetime | None:
    """When the clock of a ruleset runs out, if it says so."""
    match clock.get("urgent" if urgent else "standard"):
        case {"hours": hours}:
            return submitted_at + timedelta(hours=hours)
        case {"business_days": days}:
            local = submitted_at.astimezone(zone)
            day = local.date()
            for _ in range(days):
                day += timedelta(days=1)
                while day.weekday() >= 5 or day.isoformat() in clock.get("holidays", []):
                    day += timedelta(days=1)
            return local_instant(day, local.time(), zone)
    return None


def specificity(procedure: str, codes: Sequence[str]) -> int | None:
    """How well a procedure fits: a code best, then the pattern that names the most characters; None: not at all."""
    if procedure == "*":
        return 0
    literal = len(procedure) - procedure.count("*")
    fits = any(fnmatchcase(code.upper(), procedure.upper()) for code in codes)
    return (literal if "*" in procedure else 1000) if fits else None


def due_of(case: Asked, rulesets: Sequence[Rules], zone: ZoneInfo) -> tuple[datetime, UUID | None]:
    """When the decision is due, and the ruleset that says so; None: the law."""
    urgent = case.priority == "urgent"
    found = []
    for rules in rulesets:
        fit = specificity(rules.procedure, case.codes)
        end = end_of(rules.clock, urgent=urgent, submitted_at=case.submitted_at, zone=zone)
        if rules.is_active and rules.payer.upper() == case.payer.upper() and fit is not None and end is not None:
            found.append((-fit, end, rules.id))
    if not found:
        return case.submitted_at + LAW[urgent], None
    _, end, ruleset_id = min(found)
    return end, ruleset_id
