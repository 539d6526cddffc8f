"""How a case moves, and who may move it."""

from cases.tables import CaseStatus
from tenancy.permissions import DECIDING_ROLES, Forbidden
from tenancy.rules import Change, RuleViolation

DECISIONS = frozenset({CaseStatus.approved, CaseStatus.denied})


def opens_as_pending(change: Change) -> None:
    """A case is created as pending and decided later."""
    if change.stored is None and change.values.get("status") != CaseStatus.pending:
        raise RuleViolation("status", "a case is created as pending")


def decided_by_few(change: Change) -> None:
    """Only a clinician or an admin sets a case to approved or denied."""
    status = change.values.get("status")
    if change.role in DECIDING_ROLES or not isinstance(status, str) or status not in DECISIONS:
        return
    if change.stored is None or change.stored.get("status") != status:
        raise Forbidden(f"The role {change.role.value} may not set a case to {status}.")
