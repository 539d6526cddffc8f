"""How a case moves: who may move it where, by whatever way, and what a decision needs and leaves."""

import asyncpg
import pytest

from tenancy.tables import Role
from tests.cases.stored import REASON, load_case, row_of, updates_of
from tests.cases.writers import Values, writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

# Whoever decides: a clinician or an admin of the tenant, and who stands above it.
MOVES = """
from              to                 staff       others
pending           pending            ok          ok
pending           approved           403         ok
pending           denied             403         ok
pending           more_info_needed   ok          ok
approved          pending            409 status  409 status
approved          approved           ok          ok
approved          denied             403         409 status
approved          more_info_needed   409 status  409 status
denied            pending            409 status  409 status
denied            approved           403         409 status
denied            denied             ok          ok
denied            more_info_needed   409 status  409 status
more_info_needed  pending            ok          ok
more_info_needed  approved           403         ok
more_info_needed  denied             403         ok
more_info_needed  more_info_needed   ok          ok
"""
# Who loads cases as they are elsewhere stands above the service.
OPENED = """
status            staff       clients     loaders
pending           ok          ok          ok
approved          403         422 status  ok
denied            403         422 status  ok
more_info_needed  422 status  422 status  ok
"""
LOADERS = ("owner", "superuser")


def lines_of(table: str) -> list[list[str]]:
    """The cells below the header, which two blanks at least keep apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in table.strip().splitlines()[1:]]


async def test_moves(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """Every move by everybody, through API, admin and SQL, is allowed or refused as the table says, and a refused one
    leaves the case as it was."""
    north = clinics[0]
    differences = []
    async with writers(running, north, database) as everybody:
        for start, end, staff, others in lines_of(MOVES):
            body = {"status": end} | ({"denial_reason": REASON} if end == "denied" else {})
            for writer in everybody:
                case = await load_case(superuser, north, start)
                expected = staff if writer.who == "staff" else others
                came = await writer.change("cases", case, body)
                status = (await row_of(superuser, "cases", case))["status"]
                stays = expected != "ok" or writer.who in LOADERS  # What those do is undone.
                if (came, status) != (expected, start if stays else end):
                    differences.append((writer.way, writer.who, start, end, came, status))
    assert differences == []


async def test_openings(running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase) -> None:
    """A case is created as pending by everybody, through API, admin and SQL; only who loads a database creates others.
    Nothing of a decision comes with a new case, and a follow-up only with its denied case."""
    north = clinics[0]
    early = {
        "denial_reason": REASON,
        "authorization_number": "A-1",
        "valid_from": "2026-01-01",
        "valid_until": "2026-01-01",
        "approved_units": 1,
        "decided_at": "2026-01-01T00:00:00Z",
        "decided_by": str(north.users[Role.staff]),
        "previous_case_id": str(north.rows["cases"]),
        "follow_up": "appeal",
    }
    differences = []
    async with writers(running, north, database) as everybody:
        for writer in everybody:
            is_loader = writer.who in LOADERS
            for status, staff, clients, loaders in lines_of(OPENED):
                expected = loaders if is_loader else staff if writer.who == "staff" else clients
                came = await writer.create("cases", {"status": status})
                differences += [(writer.way, writer.who, status, came)] if came != expected else []
            for name, value in early.items():
                # One of the two without the other: in the database the other is to blame.
                blamed = {"previous_case_id": "follow_up", "follow_up": "previous_case_id"}.get(name, name)
                expected = "ok" if is_loader else f"422 {name if writer.way == 'api' else blamed}"
                came = await writer.create("cases", {name: value})
                differences += [(writer.way, writer.who, name, came)] if came != expected else []
            both = {name: early[name] for name in ("previous_case_id", "follow_up")}
            expected = "ok" if is_loader else "409 previous_case_id"
            came = "409 previous_case_id" if writer.way == "api" else await writer.create("cases", both)
            assert is_loader or came == expected, (writer.way, writer.who, came)
    assert differences == []


# Sent to a pending case: what comes of it.
NEEDS: list[tuple[Values, str]] = [
    ({"status": "denied"}, "422 denial_reason"),
    ({"status": "denied", "denial_reason": ""}, "422 denial_reason"),
    ({"status": "denied", "denial_reason": " \t\n\u00a0\u200b"}, "422 denial_reason"),
    ({"status": "denied", "denial_reason": None}, "422 denial_reason"),
    ({"status": "denied", "denial_reason": REASON, "authorization_number": "A-1"}, "422 authorization_number"),
    ({"status": "denied", "denial_reason": REASON, "approved_units": 1}, "422 approved_units"),
    ({"status": "approved", "denial_reason": REASON}, "422 denial_reason"),
    ({"status": "approved", "valid_from": "2026-03-02", "valid_until": "2026-03-01"}, "422 valid_until"),
    ({"status": "approved", "approved_units": 0}, "422 approved_units"),
    ({"status": "approved", "approved_units": -1}, "422 approved_units"),
    ({"denial_reason": REASON}, "422 denial_reason"),
    ({"authorization_number": "A-1"}, "422 authorization_number"),
    ({"valid_from": "2026-01-01"}, "422 valid_from"),
    ({"valid_until": "2026-01-01"}, "422 valid_until"),
    ({"approved_units": 1}, "422 approved_units"),
    ({"status": "more_info_needed", "denial_reason": REASON}, "422 denial_reason"),
    ({"status": "approved"}, "ok"),
    ({"status": "approved", "valid_from": "2026-03-01", "valid_until": "2026-03-01"}, "ok"),
    ({"status": "approved", "authorization_number": "A-1", "valid_until": "2026-03-01", "approved_units": 1}, "ok"),
    ({"status": "denied", "denial_reason": REASON}, "ok"),
]


async def test_what_a_decision_needs(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """A denial needs a reason, which nothing else has; an approval alone has its number, period and units; and every
    decision is stamped with its time and with who made it, which nobody chooses."""
    north = clinics[0]
    differences: list[object] = []
    async with writers(running, north, database) as everybody:
        for writer in (one for one in everybody if one.who != "staff"):
            for needed, expected in NEEDS:
                case = await load_case(superuser, north, "pending")
                chosen = {"decided_at": "2020-01-01T00:00:00Z", "decided_by": str(north.rows["users"])}
                body = {**needed, **(chosen if expected == "ok" and writer.way != "api" else {})}
                came = await writer.change("cases", case, body)
                row = await row_of(superuser, "cases", case)
                if came != expected:
                    differences.append((writer.way, writer.who, body, came))
                elif expected != "ok":
                    assert (row["status"], row["decided_at"], row["decided_by"]) == ("pending", None, None)
                elif writer.who not in LOADERS:
                    user = None if writer.who == "platform" else north.users[Role(writer.who)]
                    assert (row["decided_at"], row["decided_by"]) == (row["updated_at"], user), writer
            case = await load_case(superuser, north, "pending")
            for name, value in (("decided_at", "2026-01-01T00:00:00Z"), ("decided_by", str(north.rows["users"]))):
                came = await writer.change("cases", case, {name: value})
                differences += [(writer.way, writer.who, name, came)] if came != f"422 {name}" else []
    assert differences == []
    case = await load_case(superuser, north, "pending")
    await superuser.execute("UPDATE cases SET status = 'approved', decided_at = '2020-01-01' WHERE id = $1", case)
    row = await row_of(superuser, "cases", case)
    assert (row["decided_at"], row["decided_by"]) == (row["updated_at"], None)


CHANGED = {
    "status": "pending",
    "denial_reason": "Another.",
    "authorization_number": "A-2",
    "valid_from": "2026-01-02",
    "valid_until": "2026-12-30",
    "approved_units": 4,
    "decided_at": "2020-01-01T00:00:00Z",
    "decided_by": None,
}
DECISIONS: dict[str, Values] = {
    "denied": {"status": "denied", "denial_reason": REASON},
    "approved": {
        "status": "approved",
        "authorization_number": "A-1",
        "approved_units": 3,
        "valid_from": "2026-01-01",
        "valid_until": "2026-12-31",
    },
}


@pytest.mark.parametrize("decision", DECISIONS)
async def test_a_decision_is_final(
    running: Running,
    clinics: tuple[Clinic, Clinic],
    database: TestDatabase,
    superuser: asyncpg.Connection,
    decision: str,
) -> None:
    """Nobody changes or clears a column of a decision, by whatever way; sent back as it is, it passes, and the other
    columns stay editable, for staff too, and are on the trail."""
    north = clinics[0]
    differences = []
    async with writers(running, north, database) as everybody:
        case = await load_case(superuser, north, "pending")
        assert await everybody[1].change("cases", case, DECISIONS[decision]) == "ok"
        before = await row_of(superuser, "cases", case)
        for writer in everybody:
            for name, value in CHANGED.items():
                for other in (value, None):
                    if other is None and (before[name] is None or name == "status"):
                        continue
                    # What the server sets is no client's to send: said before the database is asked.
                    code = 422 if writer.way == "api" and name.startswith("decided_") else 409
                    came = await writer.change("cases", case, {name: other})
                    differences += [(writer.way, writer.who, name, came)] if came != f"{code} {name}" else []
            same = {name: before[name] for name in CHANGED if not name.startswith("decided_")}
            same = {name: str(value) if name.startswith("valid_") and value else value for name, value in same.items()}
            edit = same | {"payer": f"{writer.way} {writer.who}"}
            assert await writer.change("cases", case, edit) == "ok", writer
        assert differences == []
        after = await row_of(superuser, "cases", case)
        assert {name for name in before if before[name] != after[name]} <= {"payer", "updated_at", "search"}
        # The decision, and an edit by each who is not undone.
        assert await updates_of(superuser, case) == 1 + len(everybody) - len(LOADERS)
        # As the admin's page sends a time, with fewer digits: no change, and none on the trail.
        rounded = before["decided_at"].replace(microsecond=0).isoformat()
        admin = next(one for one in everybody if (one.way, one.who) == ("admin", "staff"))
        assert await admin.change("cases", case, {"decided_at": rounded}) == "ok"
        assert await row_of(superuser, "cases", case) == after
