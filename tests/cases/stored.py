"""Rows as they are stored, and cases in a status that was loaded, not moved to."""

from typing import Any
from uuid import UUID

import asyncpg

from tenancy.tables import Role
from tests.clinics import Clinic

REASON = "Not covered."


async def load_case(connection: asyncpg.Connection, clinic: Clinic, status: str) -> UUID:
    """A case that was in this status when it came here. The connection is a superuser's."""
    case: UUID = await connection.fetchval(
        "INSERT INTO cases (tenant_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes, "
        "confidence_json, extracted_data, denial_reason) "
        "VALUES ($1, $2, 'hash_loaded', 'Cigna', $3, 'normal', '{M79.3}', "
        """'{"overall": 1, "fields": {}}', '{}', $4) RETURNING id""",
        clinic.id,
        clinic.users[Role.admin],
        status,
        REASON if status == "denied" else None,
    )
    return case


async def row_of(connection: asyncpg.Connection, table: str, row: UUID | str) -> dict[str, Any]:
    """Every column of the row."""
    found = await connection.fetchrow(f"SELECT * FROM {table} WHERE id = $1", UUID(str(row)))
    assert found is not None
    return dict(found)


async def updates_of(connection: asyncpg.Connection, row: UUID | str) -> int:
    """How many changes of the row are on the trail."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM audit_logs WHERE entity_id = $1 AND action = 'update'", UUID(str(row))
    )
    return count


async def decide_all(connection: asyncpg.Connection, text: str) -> set[str]:
    """Denies the pending cases, and loads an approved one beside each, with texts that an SQL expression tells. Returns
    which columns hold them. The connection is a superuser's."""
    copied = "tenant_id, created_by, member_id_hash, payer, priority, diagnosis_codes, confidence_json, extracted_data"
    await connection.execute(
        f"INSERT INTO cases ({copied}, status, authorization_number) SELECT {copied}, 'approved', {text} FROM cases"
    )
    await connection.execute(f"UPDATE cases SET status = 'denied', denial_reason = {text} WHERE status = 'pending'")
    return {"denial_reason", "authorization_number"}
