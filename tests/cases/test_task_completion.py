"""When a task was done is the server's to say, and a task is for somebody of the clinic."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tenancy.tables import Role
from tests.api.problems import fields
from tests.cases.stored import row_of, updates_of
from tests.cases.writers import writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

CHOSEN = "2020-01-01T00:00:00+00:00"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
OPEN = ("pending", "in_progress", "cancelled")


async def load_task(connection: asyncpg.Connection, clinic: Clinic, status: str) -> UUID:
    """A task that was in this status when it came here, done long ago if it was done."""
    task: UUID = await connection.fetchval(
        "INSERT INTO tasks (tenant_id, case_id, title, status, completed_at) VALUES ($1, $2, 'Loaded', $3, $4) "
        "RETURNING id",
        clinic.id,
        clinic.rows["cases"],
        status,
        LONG_AGO if status == "completed" else None,
    )
    return task


async def test_every_way(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """Whoever completes a task, the time is the server's; reopened or cancelled, it has none; otherwise it stays. No
    client chooses it: the API refuses it, the admin and SQL do not heed it, and nothing comes on the trail."""
    north = clinics[0]
    async with writers(running, north, database) as everybody:
        clients = [writer for writer in everybody if writer.who not in ("owner", "superuser")]
        for writer in clients:
            claims = ({},) if writer.way == "api" else ({}, {"completed_at": CHOSEN})
            for claim in claims:
                for start in OPEN:
                    task = await load_task(superuser, north, start)
                    assert await writer.change("tasks", task, {"status": "completed"} | claim) == "ok"
                    row = await row_of(superuser, "tasks", task)
                    assert row["completed_at"] == row["updated_at"], writer
                for end in OPEN:
                    task = await load_task(superuser, north, "completed")
                    assert await writer.change("tasks", task, {"status": end} | claim) == "ok"
                    assert (await row_of(superuser, "tasks", task))["completed_at"] is None, writer
                task = await load_task(superuser, north, "completed")
                assert await writer.change("tasks", task, {"status": "completed", "title": "New"} | claim) == "ok"
                assert (await row_of(superuser, "tasks", task))["completed_at"] == LONG_AGO
            for status in ("pending", "completed"):
                task = await load_task(superuser, north, status)
                came = await writer.change("tasks", task, {"completed_at": "2021-01-01T00:00:00Z"})
                assert came == ("422 completed_at" if writer.way == "api" else "ok")
                assert (await row_of(superuser, "tasks", task))["completed_at"] == (
                    LONG_AGO if status == "completed" else None
                )
                assert await updates_of(superuser, task) == 0


async def test_created(
    running: Running, clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection
) -> None:
    """A task that is created as completed has the time of that, any other none; who loads a database keeps the times
    that it brings, and gets one where it brings none; a deleted task comes back with its own."""
    north = clinics[0]
    made = "SELECT completed_at, created_at FROM tasks WHERE title = $1"
    async with writers(running, north, database) as everybody:
        for writer in everybody:
            for status in (*OPEN, "completed"):
                title = f"{writer.way} {writer.who} {status}"
                body: dict[str, Any] = {"status": status, "title": title}
                if writer.way == "api":
                    assert await writer.create("tasks", body | {"completed_at": CHOSEN}) == "422 completed_at"
                else:
                    body["completed_at"] = CHOSEN
                assert await writer.create("tasks", body) == "ok"
                if writer.who in ("owner", "superuser"):
                    continue
                row = await superuser.fetchrow(made, title)
                assert row is not None
                if status == "completed":  # The form of the admin brings a time of creation.
                    assert row["completed_at"] >= row["created_at"] > LONG_AGO, writer
                else:
                    assert row["completed_at"] is None, writer
    without = await superuser.fetchval(
        "INSERT INTO tasks (tenant_id, case_id, title, status) VALUES ($1, $2, 'Loaded', 'completed') RETURNING id",
        north.id,
        north.rows["cases"],
    )
    row = await row_of(superuser, "tasks", without)
    assert row["completed_at"] == row["created_at"]
    client, headers = running.client, north.headers()
    for completed_at in (LONG_AGO, None):  # Nobody knows of some when they were done.
        task = await load_task(superuser, north, "completed")
        await superuser.execute("UPDATE tasks SET completed_at = $1 WHERE id = $2", completed_at, task)
        path = f"/api/tasks/{task}/"
        before = (await client.get(path, headers=headers)).json()
        assert (before["completed_at"] is None) == (completed_at is None)
        assert (await client.delete(path, headers=headers)).status_code == 204
        assert (await client.post(f"{path}restore/", headers=headers)).json() == before


async def test_assigned_to_somebody_of_the_clinic(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A task is assigned to a user of the clinic; another clinic's user is a 422 that names the field."""
    north, south = clinics
    headers = north.headers(Role.staff)
    path = f"/api/tasks/{north.rows['tasks']}/"
    foreign = {"assigned_to": str(south.users[Role.staff])}
    assert fields(await running.client.patch(path, json=foreign, headers=headers)) == ["assigned_to"]
    created = await running.client.post("/api/tasks/", json=north.body("tasks", **foreign), headers=headers)
    assert fields(created) == ["assigned_to"]
    own = {"assigned_to": str(north.users[Role.clinician])}
    assert (await running.client.patch(path, json=own, headers=headers)).json()["assigned_to"] == own["assigned_to"]
    assert await superuser.fetchval("SELECT count(*) FROM tasks WHERE assigned_to = $1", south.users[Role.staff]) == 0
