"""The synthetic rows of the two demo clinics. No person, member or clinic here exists."""

from datetime import UTC, datetime, timedelta
from typing import Any

CLINICS = {"test-clinic": "Test Clinic", "lakeside-imaging": "Lakeside Imaging"}
PEOPLE = {"admin": "Admin User", "clinician": "Clinician User", "staff": "Staff User"}

SEED_CASE: dict[str, Any] = {
    "member_id_hash": "hash_test_member_001",
    "payer": "Blue Cross Blue Shield",
    "priority": "normal",
    "diagnosis_codes": ["M79.3", "M25.561"],
    "confidence_json": {"overall": 0.92, "fields": {"member_id": 0.95, "payer": 0.98, "diagnosis": 0.89}},
}
SEED_TASK: dict[str, Any] = {
    "title": "Review prior auth request",
    "description": "Review the extracted data and verify all required information is present.",
    "status": "pending",
    "priority": "normal",
}

_PAYERS = ("Blue Cross Blue Shield", "Aetna", "Cigna", "UnitedHealthcare", "Humana")
_STATUSES = ("pending", "pending", "approved", "denied", "more_info_needed", "approved")
_PRIORITIES = ("normal", "high", "urgent", "low")
_DIAGNOSES = (["M54.50"], ["M17.11", "M25.561"], ["S83.242A"], ["R51.9"], ["C50.911", "Z85.3"], ["G43.909"])
_PROCEDURES = (
    ("CPT", "72148", "MRI of the lumbar spine without contrast"),
    ("CPT", "73721", "MRI of a joint of the leg without contrast"),
    ("CPT", "70551", "MRI of the brain without contrast"),
    ("HCPCS", "J1885", "Injection, ketorolac tromethamine, per 15 mg"),
    ("CPT", "97110", "Therapeutic exercises, each 15 minutes"),
)
_TASKS = ("Collect clinical notes", "Call the payer", "Check eligibility", "Attach imaging report")
_TASK_STATUSES = ("pending", "in_progress", "completed", "cancelled")


def ingestions() -> list[dict[str, Any]]:
    """One ingestion in each status, by email and PDF in turn."""
    statuses = ("completed", "completed", "processing", "pending", "failed", "completed")
    return [
        {
            "source_type": "email" if number % 2 else "pdf",
            "source_metadata": _email(number) if number % 2 else _pdf(number),
            "storage_path": f"demo/{number}",
            "status": status,
            "error_message": "The attachment could not be read." if status == "failed" else None,
        }
        for number, status in enumerate(statuses, 1)
    ]


def cases() -> list[dict[str, Any]]:
    """A dozen cases; `outcome` is what changes of each after it was opened."""
    return [
        {
            "member_id_hash": f"hash_demo_member_{number:03}",
            "payer": _PAYERS[number % len(_PAYERS)],
            "priority": _PRIORITIES[number % len(_PRIORITIES)],
            "diagnosis_codes": _DIAGNOSES[number % len(_DIAGNOSES)],
            "confidence_json": {"overall": round(0.7 + number / 50, 2), "fields": {"payer": 0.97, "diagnosis": 0.85}},
            "extracted_data": {
                "source": "pdf" if number % 2 else "email",
                "extracted_at": _ago(days=number).isoformat(),
            },
            "metadata_json": {"demo": True} if number % 3 else None,
            "submitted_at": _ago(days=number * 0.75),
            "outcome": _outcome(number),
        }
        for number in range(1, 13)
    ]


def _outcome(number: int) -> dict[str, Any]:
    """What the payer said of the numbered case so far."""
    match status := _STATUSES[number % len(_STATUSES)]:
        case "pending":
            return {}
        case "denied":
            return {"status": status, "denial_reason": "Six weeks of conservative treatment are not documented."}
        case "approved":
            first, last = _ago(days=1).date(), _ago(days=-89).date()
            number_of_approval = f"DEMO-{number:05}"
            period = {"valid_from": first, "valid_until": last, "approved_units": 1 + number % 3}
            return {"status": status, "authorization_number": number_of_approval, **period}
    return {"status": status}


def code_of(number: int) -> dict[str, Any]:
    """The procedure that the numbered case asks for."""
    code_type, code, description = _PROCEDURES[number % len(_PROCEDURES)]
    return {"code_type": code_type, "code": code, "description": description, "confidence": 0.9}


def task_of(number: int) -> dict[str, Any]:
    """A task of the numbered case: some overdue, some due soon, some done."""
    status = _TASK_STATUSES[number % len(_TASK_STATUSES)]
    return {
        "title": _TASKS[number % len(_TASKS)],
        "status": status,
        "priority": _PRIORITIES[number % len(_PRIORITIES)],
        "due_date": _ago(days=3 - number),
    }


def rulesets() -> list[dict[str, Any]]:
    """What each payer wants for two procedures."""
    return [
        {
            "payer": payer,
            "procedure": procedure,
            "rules_json": {
                "requirements": ["Six weeks of conservative treatment", "Imaging within the last year"],
                "documentation": ["Clinical notes", "Treatment history"],
                "typical_turnaround": "3 business days",
                "notes": "Demo data.",
            },
        }
        for payer in _PAYERS
        for procedure in ("72148", "73721")
    ]


def _email(number: int) -> dict[str, Any]:
    received_at = _ago(days=number).isoformat()
    subject = f"Authorization request {number}"
    return {"email": {"from": f"referrals{number}@example.com", "subject": subject, "received_at": received_at}}


def _pdf(number: int) -> dict[str, Any]:
    return {"pdf": {"filename": f"request-{number}.pdf", "pages": number, "size_bytes": 40_960 * number}}


def _ago(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)
