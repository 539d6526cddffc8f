"""What follows a denial: a new case that resubmits or appeals the denied one, linked to it, with its codes."""

from functools import partial
from pathlib import Path

from cases.choices import CaseStatus, FollowUp
from tenancy.actions import Action, Call, Created, RowMissing, StateConflict
from tenancy.permissions import Operation
from tenancy.scoping import database
from tenancy.transaction import BoundTransaction

_SQL = Path(__file__).parent / "sql"
_LOCK = "SELECT status FROM cases WHERE id = $1 FOR KEY SHARE"  # Nobody deletes it meanwhile.
_OPEN = (_SQL / "open_follow_up.sql").read_text(encoding="utf-8")
_COPY_CODES = (_SQL / "copy_codes.sql").read_text(encoding="utf-8")
_NEEDS = (("cases", Operation.create), ("case_codes", Operation.create))


async def open_follow_up(kind: FollowUp, call: Call) -> Created:
    """Opens it as the caller. Raises `RowMissing`, `StateConflict`, `asyncpg.PostgresError`."""
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    found = await transaction.fetch(_LOCK, call.row_id)
    if not found:
        raise RowMissing
    status = found[0]["status"]
    if status != CaseStatus.denied:
        raise StateConflict(f"Only a denied case can have a follow-up ({kind.value}); this one is {status}.")
    opened = await transaction.fetch(_OPEN, call.row_id, kind.value)
    await transaction.fetch(_COPY_CODES, call.row_id, opened[0]["id"])
    return Created(opened[0]["id"])


FOLLOW_UPS = (
    Action(
        name="resubmit",
        summary="Open a case that resubmits a denied one, with its codes",
        run=partial(open_follow_up, FollowUp.resubmission),
        needs=_NEEDS,
        kind=Created,
    ),
    Action(
        name="appeal",
        summary="Open a case that appeals a denied one, with its codes",
        run=partial(open_follow_up, FollowUp.appeal),
        needs=_NEEDS,
        kind=Created,
    ),
)
