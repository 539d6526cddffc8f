"""The six workloads, as the bytes of their requests.

Everybody gets the same requests: one set of headers serves the token of ours and the tenant and
user that the peers take from a header.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from uuid import UUID

import asyncpg

WORKLOADS = {
    "W1": "one case by id",
    "W2": "the 20 newest pending cases",
    "W3": "the same with their total",
    "W4": "create a case",
    "W5": "change a case's status",
    "W6": "a case with codes and tasks",
}
SAMPLED = 2_000
NEW_CASE: Mapping[str, Any] = {
    "member_id_hash": "5f" * 32,
    "payer": "Aetna",
    "priority": "high",
    "diagnosis_codes": ["M54.50", "M25.561"],
    "confidence_json": {"overall": 0.92, "fields": {f"field_{number}": 0.9 for number in range(16)}},
    "extracted_data": {
        "source": "email",
        "procedure": "72148",
        "summary": "Six weeks of physical therapy without relief; imaging was requested before injection. " * 3,
        "attachments": ["notes.pdf", "imaging.pdf"],
    },
}
_PENDING = """
SELECT id, tenant_id FROM cases
 WHERE status = 'pending' AND id IN (SELECT case_id FROM tasks) ORDER BY md5(id::text) LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Clinic:
    """A tenant, its one user, and that user's token."""

    tenant_id: UUID
    user_id: UUID
    token: str

    def head(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request, whole."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: benchmark", "Accept: application/json"]
        lines += [f"Authorization: Bearer {self.token}", f"X-Tenant-Id: {self.tenant_id}", f"X-User-Id: {self.user_id}"]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True, slots=True)
class Sample:
    """Pending cases, of which each has codes and tasks, and whose they are."""

    clinics: Sequence[Clinic]
    cases: Sequence[tuple[UUID, Clinic]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a contender is asked; `{tenant}` stands for the tenant's id. `new_case` is what it needs to create one."""

    pending: str = "/api/cases/?status=pending"
    total: str = "/api/cases/?status=pending&__total=true"
    included: str = "?__include=codes,tasks"
    new_case: Callable[[Clinic], Mapping[str, Any]] = lambda clinic: NEW_CASE


async def draw_sample(url: str, token_of: Callable[[str], str]) -> Sample:
    """The same cases for everybody: of each copy of the data the same ones."""
    connection = await asyncpg.connect(url)
    try:
        people = await connection.fetch("SELECT id, tenant_id, auth_id FROM users ORDER BY auth_id")
        found = await connection.fetch(_PENDING, SAMPLED)
    finally:
        await connection.close()
    clinics = {row["tenant_id"]: Clinic(row["tenant_id"], row["id"], token_of(row["auth_id"])) for row in people}
    return Sample(tuple(clinics.values()), tuple((row["id"], clinics[row["tenant_id"]]) for row in found))


def requests_of(workload: str, sample: Sample, dialect: Dialect) -> Iterator[bytes]:
    """Requests without end."""
    match workload:
        case "W1":
            made = [clinic.head("GET", f"/api/cases/{case}/") for case, clinic in sample.cases]
        case "W2":
            made = [clinic.head("GET", dialect.pending.format(tenant=clinic.tenant_id)) for clinic in sample.clinics]
        case "W3":
            made = [clinic.head("GET", dialect.total) for clinic in sample.clinics]
        case "W4":
            made = [_json("POST", clinic, "/api/cases/", dialect.new_case(clinic)) for clinic in sample.clinics]
        case "W5":  # There and back, so that every request changes something.
            made = [
                _json("PATCH", clinic, f"/api/cases/{case}/", {"status": status})
                for status in ("more_info_needed", "pending")
                for case, clinic in sample.cases
            ]
        case "W6":
            made = [clinic.head("GET", f"/api/cases/{case}/{dialect.included}") for case, clinic in sample.cases]
        case _:
            raise ValueError(workload)
    return cycle(made)


def _json(method: str, clinic: Clinic, path: str, body: Mapping[str, Any]) -> bytes:
    return clinic.head(method, path, json.dumps(body).encode())
