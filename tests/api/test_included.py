"""Related rows: their order and number, who may see them, how they are written, and what they cost."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest_asyncio

from tenancy.tables import Role
from tests.api.lists import refused
from tests.api.problems import assert_problem
from tests.api.shapes import row_of, rows_of
from tests.clinics import Clinic
from tests.conftest import Running

TIME = re.compile(r'"(?:created_at|updated_at)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z"')
CODES = """
INSERT INTO case_codes (id, tenant_id, case_id, code_type, code, created_at)
SELECT gen_random_uuid(), $1, $2, 'CPT', lpad(n::text, 5, '0'),
       '2030-01-01Z'::timestamptz + (n / 3) * interval '1 microsecond'
  FROM generate_series(1, $3::int) AS n
"""
CASES = """
INSERT INTO cases (id, tenant_id, created_by, ingestion_id, member_id_hash, payer, status, diagnosis_codes,
                   confidence_json, extracted_data)
SELECT gen_random_uuid(), $1, $2, $3, 'hash_many', 'Many', 'pending', '{}', '{}', '{}' FROM generate_series(1, $4::int)
"""


async def test_newest_first(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Related rows come newest first, ties by key, a thousand of them at most."""
    case = north.rows["cases"]
    await superuser.execute(CODES, north.id, case, 20)
    listed = await rows_of(admin, f"/api/case_codes/?case_id={case}&__page_size=1000")
    assert len(listed) == 21
    assert (await row_of(admin, "cases", case, "__include=codes"))["codes"] == listed
    await superuser.execute("DELETE FROM case_codes WHERE tenant_id = $1", north.id)
    await superuser.execute(CODES, north.id, case, 1001)
    listed = await rows_of(admin, f"/api/case_codes/?case_id={case}&__page_size=1000&__visible_fields=code")
    assert (await row_of(admin, "cases", case, "__visible_fields=codes.code"))["codes"] == listed


async def test_page_sizes_with_many(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A page of rows that bring many along has up to a hundred; one row each leaves a thousand."""
    await superuser.execute(CASES, north.id, north.users[Role.staff], north.rows["ingestions"], 120)
    for many in ("__include=codes", "__visible_fields=tasks.title", "__include=ingestion.cases"):
        assert len(await rows_of(admin, f"/api/cases/?{many}&__page_size=100")) == 100
        for size in ("101", "1000"):
            assert "__page_size" in await refused(admin, f"/api/cases/?{many}&__page_size={size}")
    for one in ("__include=creator,ingestion", "__visible_fields=ingestion_id.status"):
        assert len(await rows_of(admin, f"/api/cases/?{one}&__page_size=1000")) == 121
    walked, cursor = 0, ""
    while cursor is not None:
        page = (await admin.get(f"/api/cases/?__include=codes,creator&__page_size=50&__cursor={cursor}")).json()
        walked, cursor = walked + len(page["rows"]), page["next_cursor"]
    assert walked == 121


async def test_roles(running: Running, north: Clinic) -> None:
    """Who may not read a table may not have its rows along, on any way there, and is told so."""
    user = north.rows["users"]
    for role in Role:
        headers = north.headers(role)
        for query in (
            "__include=audit_logs",
            "__visible_fields=audit_logs.action",
            "__include=tenant.audit_logs",
        ):
            for path in ("/api/users/", f"/api/users/{user}/"):
                answer = await running.client.get(f"{path}?{query}", headers=headers)
                if role is Role.admin:
                    assert answer.status_code == 200, answer.text
                else:
                    assert "audit_logs" in assert_problem(answer, 403)["detail"]
                    assert "spare" not in answer.text
        answer = await running.client.get("/api/users/?__include=created_events,created_cases", headers=headers)
        assert answer.status_code == 200, answer.text


async def test_foreign_rows(admin: httpx.AsyncClient, south: Clinic) -> None:
    """Another clinic's row is a 404 in any shape, and no filter finds it."""
    case = south.rows["cases"]
    for query in ("__include=codes,tasks,tenant", "__visible_fields=tenant.slug", "__readable=true"):
        assert_problem(await admin.get(f"/api/cases/{case}/?{query}"), 404)
        assert await rows_of(admin, f"/api/cases/?id={case}&{query}") == []


async def test_readable_beside(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """`__readable` adds to the references among the chosen columns, and leaves related rows as they are."""
    task = north.rows["tasks"]
    query = "__visible_fields=title,case_id,assignee.email&__readable=true"
    expected = {
        "title": "Review",
        "case_id": str(north.rows["cases"]),
        "case_id_readable": "Cigna · normal · pending",
        "assignee": {"email": "spare@north.com"},
    }
    assert await row_of(admin, "tasks", task, query) == expected
    row = await row_of(admin, "cases", north.rows["cases"], "__include=tasks,creator&__readable=true")
    assert row["created_by_readable"] == row["creator"]["email"]
    assert row["ingestion_id_readable"].startswith("email · pending · 20")
    assert not [key for key in (*row["tasks"][0], *row["creator"]) if key.endswith("_readable")]
    await superuser.execute("UPDATE tasks SET assigned_to = NULL WHERE id = $1", task)
    row = await row_of(admin, "tasks", task, "__include=assignee&__readable=true")
    assert (row["assigned_to"], row["assigned_to_readable"], row["assignee"]) == (None, None, None)


async def test_how_related_rows_are_written(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """At any depth times are in UTC with a Z and documents are JSON, each number in all its digits."""
    case, task = north.rows["cases"], north.rows["tasks"]
    document = '{"a": {"n": 12345678901234567890.10, "t": "2026-01-01 00:00:00"}, "text": "it\'s \\"Zoë\\""}'
    await superuser.execute("UPDATE cases SET extracted_data = $1 WHERE id = $2", document, case)
    await superuser.execute(
        "UPDATE tasks SET due_date = '2026-03-01 01:02:03.000004+02', completed_at = '2026-03-01 12:00+00' "
        "WHERE id = $1",
        task,
    )
    for path in (
        f"/api/tasks/{task}/?__include=case.tasks",
        f"/api/case_codes/{north.rows['case_codes']}/?__include=case.tasks",
        f"/api/tasks/?__include=case.tasks&id={task}",
    ):
        text = (await admin.get(path)).text
        assert document in text
        assert '"due_date":"2026-02-28T23:02:03.000004Z"' in text
        assert '"completed_at":"2026-03-01T12:00:00Z"' in text
        assert len(TIME.findall(text)) == text.count('"created_at"') + text.count('"updated_at"') >= 4


# -- Statements --------------------------------------------------------------


@pytest_asyncio.fixture
async def statements(running: Running) -> AsyncIterator[list[str]]:
    """What the service sends to its database."""
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query)

    # One request at a time: the pool hands the same connection out again.
    connection = await running.engine.acquire()
    connection.add_query_logger(note)
    await running.engine.release(connection)
    yield sent
    connection.remove_query_logger(note)


async def test_one_statement(
    admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection, statements: list[str]
) -> None:
    """Related rows come in the statement of the rows themselves, however many there are of either."""
    query = "__include=codes,tasks.assignee,ingestion,creator,tenant&__readable=true&__page_size=100"

    async def sent_for(path: str) -> list[str]:
        await admin.get(path)
        statements.clear()
        assert (await admin.get(path)).status_code == 200
        return [sent for sent in statements if "tenancy.run_1" in sent and '"recorded"' not in sent]

    few = await sent_for(f"/api/cases/?{query}")
    of_plain_list = len(statements)
    assert len(few) == 1
    await superuser.execute(CASES, north.id, north.users[Role.staff], north.rows["ingestions"], 60)
    await superuser.execute(CODES, north.id, north.rows["cases"], 60)
    assert await sent_for(f"/api/cases/?{query}") == few
    assert len(statements) == of_plain_list
    assert len(await sent_for("/api/cases/")) == 1
    assert len(statements) == of_plain_list
    assert len(await sent_for(f"/api/cases/{north.rows['cases']}/?__include=codes,tasks.assignee")) == 1
    assert len(statements) == of_plain_list
