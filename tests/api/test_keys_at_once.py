"""Idempotency keys over HTTP, when everybody repeats a request at the same time."""

import asyncio

import asyncpg

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import serve

CROWD = 100


async def test_one_key_at_once(
    settings: Settings, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A hundred concurrent POSTs under one key make one row and one answer; who comes too early is a 409."""
    north = clinics[0]
    wide = Settings.model_validate({**settings.model_dump(), "pool_max_size": 10})
    async for app in serve(wide):
        headers = north.headers(Role.staff) | {"Idempotency-Key": "one"}
        async with http_client(app.url, headers, timeout=60) as client:
            body = north.body("tasks", title="Once")
            answers = await asyncio.gather(*(client.post("/api/tasks/", json=body) for _ in range(CROWD)))
            later = await client.post("/api/tasks/", json=body)
    made = [answer for answer in answers if answer.status_code == 201]
    for early in (answer for answer in answers if answer.status_code != 201):
        assert_problem(early, 409)
        assert early.headers["retry-after"] == "1"
    assert {answer.content for answer in made} == {later.content}
    assert {answer.headers["location"] for answer in made} == {later.headers["location"]}
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
    assert (later.status_code, later.headers["idempotent-replayed"]) == (201, "true")
    assert await superuser.fetchval("SELECT count(*) FROM tasks WHERE title = 'Once'") == 1
