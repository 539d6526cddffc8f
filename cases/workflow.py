"""How a case moves, and who may move it: what can be said of a request before the database is asked.

The database holds all of it for everybody, see `sql/workflow_1.sql`; what depends on the stored row it says alone.
"""

from cases.choices import CaseStatus, IngestionStatus
from tenancy.permissions import DECIDING_ROLES, Forbidden
from tenancy.rules import Change, RuleViolation

DECISIONS = frozenset({CaseStatus.approved, CaseStatus.denied})
DECISION_FIELDS = ("denial_reason", "authorization_number", "valid_from", "valid_until", "approved_units")


def opens_as_pending(change: Change) -> None:
    """A case is created as pending and decided later."""
    if change.stored is not None:
        return
    if change.values.get("status") != CaseStatus.pending:
        raise RuleViolation("status", "a case is created as pending")
    for field in DECISION_FIELDS:
        if change.values.get(field) is not None:
            raise RuleViolation(field, "belongs to a decision, and a new case has none")


def decided_by_few(change: Change) -> None:
    """Only a clinician or an admin sets a case to approved or denied."""
    status = change.values.get("status")
    if change.role in DECIDING_ROLES or not isinstance(status, str) or status not in DECISIONS:
        return
    if change.stored is None or change.stored.get("status") != status:
        raise Forbidden(f"The role {change.role.value} may not set a case to {status}.")


def failure_is_told(change: Change) -> None:
    """An ingestion that is recorded as failed says why."""
    message = change.values.get("error_message")
    is_blank = not isinstance(message, str) or not message.strip()
    if change.stored is None and change.values.get("status") == IngestionStatus.failed and is_blank:
        raise RuleViolation("error_message", "a failed ingestion has an error_message")
