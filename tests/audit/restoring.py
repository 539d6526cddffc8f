"""What the tests of restoring look at: every row of a tenant, and what a request has written."""

from typing import Any
from uuid import UUID

import asyncpg
import httpx

from tests.audit.test_trail import ENTITIES
from tests.clinics import Clinic

Clinics = tuple[Clinic, Clinic]

NEWS = """
SELECT l.action, l.entity_type, l.entity_id::text, l.changes, l.user_id, l.actor FROM audit_logs l
 WHERE l.request_id = $1 AND l.entity_type <> 'event'
"""
TOLD = """
SELECT event_type FROM events
 WHERE transaction_id IN (SELECT transaction_id FROM audit_logs WHERE request_id = $1)
"""
# A transaction bound as the service binds one, of a role that a caller names.
BIND = """
SELECT set_config('app.tenant_id', $1, true), set_config('app.user_role', $2, true), set_config('role', $3, true)
"""
RESTORE = "SELECT audit.restore_row_1($1::text::regclass, $2)"


async def stored(superuser: asyncpg.Connection, tenant_id: UUID) -> dict[str, dict[str, str]]:
    """Every row of the tenant in full, by table and id, the column of search too."""
    found = {}
    for table in ENTITIES:
        rows = await superuser.fetch(f"SELECT id::text, t::text AS row FROM {table} t WHERE tenant_id = $1", tenant_id)
        found[table] = {row["id"]: row["row"] for row in rows}
    return found


async def news(superuser: asyncpg.Connection, request_id: str) -> list[dict[str, Any]]:
    """The entries of a request about rows that are no events."""
    return [dict(row) for row in await superuser.fetch(NEWS, request_id)]


async def events(superuser: asyncpg.Connection, request_id: str) -> list[str]:
    """What the transaction of a request told, sorted."""
    return sorted(row["event_type"] for row in await superuser.fetch(TOLD, request_id))


async def restore_in_sql(connection: asyncpg.Connection, bound: tuple[str, str, str], table: str, row: UUID) -> int:
    """Calls the function below the API, bound to a tenant, a user's role and a role of the database."""
    async with connection.transaction():
        await connection.execute("SET LOCAL search_path = public, pg_temp")
        await connection.fetch(BIND, *bound)
        count: int = await connection.fetchval(RESTORE, table, row)
        assert await connection.fetchval("SELECT current_setting('app.restores', true)") == ""
        return count


def row_path(table: str, row: object) -> str:
    """Where the API has the row."""
    return f"/api/{table}/{row}/"


async def history(client: httpx.AsyncClient, clinic: Clinic, path: str) -> list[dict[str, Any]]:
    """The versions of the row at the path, as the clinic's admin sees them."""
    rows: list[dict[str, Any]] = (await client.get(f"{path}history/", headers=clinic.headers())).json()["rows"]
    return rows
