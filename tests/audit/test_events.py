"""Events: what matters is told once, by the database, in the transaction that does it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from tenancy.tables import Role
from tests.clinics import Clinic

NUMBER = 40
# Each changes rows of one tenant and returns what the events are about.
MADE = {
    "case_created": """
        INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, diagnosis_codes, confidence_json,
                           extracted_data, status)
        SELECT gen_random_uuid(), $1, $2, 'hash_event', 'Aetna', '{M79.3}', '{}', '{}', 'pending'
          FROM generate_series(1, $3::int) RETURNING id""",
    "": """
        WITH u AS (INSERT INTO users (id, tenant_id, email, role)
                   SELECT gen_random_uuid(), $1, n || '@example.com', 'staff' FROM generate_series(1, $3::int) AS n),
             i AS (INSERT INTO ingestions (id, tenant_id, source_type, source_metadata, storage_path, status)
                   SELECT gen_random_uuid(), $1, 'email', '{}', path, 'processing'
                     FROM generate_series(1, $3::int), unnest(ARRAY['unreadable', 'readable']) AS path)
        INSERT INTO tasks (id, tenant_id, case_id, title)
        SELECT gen_random_uuid(), $1, c.id, 'Review' FROM cases c WHERE c.tenant_id = $1 AND $2::uuid IS NOT NULL
        RETURNING id""",
}
CHANGED = {
    "case_extended": """
        UPDATE cases SET extended_until = submitted_at + interval '9 days', extension_reason = 'asked for'
         WHERE tenant_id = $1 RETURNING id""",
    "case_status_changed": "UPDATE cases SET status = 'denied', denial_reason = 'No' WHERE tenant_id = $1 RETURNING id",
    "case_assigned": """
        UPDATE tasks SET assigned_to = (SELECT id FROM users WHERE email = 'admin@north.com')
         WHERE tenant_id = $1 RETURNING case_id""",
    "task_completed": "UPDATE tasks SET status = 'completed' WHERE tenant_id = $1 RETURNING id",
    "ingestion_failed": "UPDATE ingestions SET status = 'failed', error_message = 'Unreadable' "
    "WHERE tenant_id = $1 AND storage_path = 'unreadable' RETURNING id",
    "ingestion_completed": "UPDATE ingestions SET status = 'completed' "
    "WHERE tenant_id = $1 AND storage_path = 'readable' RETURNING id",
    "user_role_changed": "UPDATE users SET role = 'clinician' WHERE tenant_id = $1 AND role = 'staff' RETURNING id",
    # A tenant keeps an active admin.
    "user_deactivated": "UPDATE users SET is_active = false WHERE tenant_id = $1 AND role <> 'admin' RETURNING id",
    "user_activated": "UPDATE users SET is_active = true WHERE tenant_id = $1 AND role <> 'admin' RETURNING id",
}


@dataclass
class Told:
    """Reads what has been told since the last look."""

    connection: asyncpg.Connection
    seen: int = 0

    async def news(self) -> list[asyncpg.Record]:
        """The new events, each with how many rows of the trail there are of it, and of which transaction."""
        rows = await self.connection.fetch(
            """
            SELECT e.*, array_agg(a.transaction_id) AS trail, array_agg(a.action) AS actions
              FROM events e LEFT JOIN audit_logs a ON a.entity_type = 'event' AND a.entity_id = e.id
               AND a.tenant_id = e.tenant_id
             GROUP BY e.id ORDER BY e.transaction_id, e.created_at, e.id"""
        )
        news, self.seen = list(rows[self.seen :]), len(rows)
        return news


async def test_by_sql_in_bulk(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """A statement that changes many rows tells one event for each, in its own transaction, with one row of the trail;
    rolled back, or changing nothing, it tells none."""
    north = clinics[0]
    told = Told(superuser)
    await told.news()
    steps: list[tuple[str, str, tuple[Any, ...]]] = [
        (name, statement, (north.id, north.users[Role.admin], NUMBER)) for name, statement in MADE.items()
    ]
    steps += [(name, statement, (north.id,)) for name, statement in CHANGED.items()]
    for name, statement, arguments in steps:
        undone = superuser.transaction()
        await undone.start()
        assert len(await superuser.fetch(statement, *arguments)) >= NUMBER
        await undone.rollback()
        assert await told.news() == [], name
        async with superuser.transaction():
            changed = await superuser.fetch(statement, *arguments)
            number = await superuser.fetchval("SELECT pg_current_xact_id()::text::bigint")
        news = await told.news()
        assert Counter(row["entity_id"] for row in news) == Counter(row[0] for row in changed if name), name
        for row in news:
            assert (row["event_type"], row["tenant_id"]) == (name, north.id)
            assert (row["transaction_id"], row["trail"], row["actions"]) == (number, [number], ["create"])
        if name in CHANGED:
            await superuser.execute(statement.replace("$1", f"'{north.id}'"))
            assert await told.news() == [], name


async def test_over_http(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A request tells each event that it causes once, with who did it; one that is refused tells none."""
    north = clinics[0]
    told = Told(superuser)
    await told.news()
    staff, case, task = north.users[Role.staff], north.rows["cases"], north.rows["tasks"]
    ingestion = north.rows["ingestions"]
    steps: list[tuple[str, str, dict[str, Any], list[str]]] = [
        ("POST", "cases/", north.body("cases"), ["case_created"]),
        ("PATCH", f"cases/{case}/", {"status": "approved"}, ["case_status_changed"]),
        ("PATCH", f"cases/{case}/", {"payer": "Another"}, []),
        ("POST", "tasks/", north.body("tasks", assigned_to=str(staff)), ["case_assigned"]),
        ("PATCH", f"tasks/{task}/", {"assigned_to": str(staff)}, ["case_assigned"]),
        ("PATCH", f"tasks/{task}/", {"status": "completed"}, ["task_completed"]),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "processing"}, []),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "failed", "error_message": "No"}, ["ingestion_failed"]),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "pending"}, []),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "processing"}, []),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "completed"}, ["ingestion_completed"]),
        (
            *("PATCH", f"users/{staff}/", {"role": "clinician", "is_active": False}),
            ["user_deactivated", "user_role_changed"],
        ),
        ("PATCH", f"users/{staff}/", {"is_active": True}, ["user_activated"]),
    ]
    for method, path, body, expected in steps:
        answer = await client.request(method, f"/api/{path}", json=body, headers=north.headers())
        assert answer.is_success, answer.text
        news = await told.news()
        assert sorted(row["event_type"] for row in news) == expected
        for row in news:
            assert (row["tenant_id"], row["user_id"]) == (north.id, north.users[Role.admin])
            assert (row["trail"], row["actions"]) == ([row["transaction_id"]], ["create"])
    refused = [
        ("POST", "cases/", north.body("cases", ingestion_id=str(clinics[1].rows["ingestions"]))),
        ("PATCH", f"cases/{clinics[1].rows['cases']}/", {"status": "denied"}),
        ("PATCH", f"ingestions/{ingestion}/", {"status": "unknown"}),
    ]
    for method, path, body in refused:
        answer = await client.request(method, f"/api/{path}", json=body, headers=north.headers())
        assert answer.is_client_error
    assert await told.news() == []
