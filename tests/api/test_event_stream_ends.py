"""What ends a stream: rights that do, and a database that refuses. Its client is told, and comes back."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest

from api.event_stream import feed, listener
from tenancy import tokens
from tenancy.settings import Settings
from tenancy.tables import Role
from tenancy.tokens import DevelopmentKeys
from tests.api.event_streams import Listening, commit_case, is_at_rest, listen, payers, writers
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.tenancy.pool import eventually


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that happens after some seconds happens after a moment."""
    monkeypatch.setattr(listener, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(listener, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(feed, "RETRY_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
async def test_rights_that_end(
    client: httpx.AsyncClient,
    clinics: tuple[Clinic, Clinic],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Idle streams have heartbeats; that of a user who is deactivated or gets another role ends, as it does when the
    token expires, each neatly and with a word about it; a colleague's goes on."""
    north = clinics[0]
    keys = DevelopmentKeys(settings.data_dir)
    expiring = {"Authorization": f"Bearer {keys.sign('north-admin', settings, minutes=0)}"}  # But for the leeway.
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(listen(client, headers))
            for headers in (north.headers(Role.staff), north.headers(Role.clinician), expiring, north.headers())
        ]
        ends = [asyncio.create_task(stream.next()) for stream in opened]

        async def is_heard() -> bool:
            return all(len(stream.comments) > 2 for stream in opened)

        await eventually(is_heard)
        assert not any(end.done() for end in ends)
        for role, change in ((Role.staff, {"is_active": False}), (Role.clinician, {"role": "staff"})):
            path = f"/api/users/{north.users[role]}/"
            assert (await client.patch(path, headers=north.headers(), json=change)).status_code == 200
        # The colleague is told of both; then, for a moment, no leeway is left.
        assert {(await ends[3] or {})["event_type"], (await opened[3].next() or {})["event_type"]} == {
            "user_role_changed",
            "user_deactivated",
        }
        with monkeypatch.context() as patched:
            patched.setattr(tokens, "LEEWAY_SECONDS", 0)

            async def is_expired() -> bool:
                return "The token has expired." in opened[2].comments

            reading = asyncio.create_task(drained(opened[2], ends[2]))
            await eventually(is_expired)
            await reading
        for stream, end, word in ((opened[0], ends[0], "deactivated"), (opened[1], ends[1], "rights changed")):
            await drained(stream, end)
            assert word in stream.comments[-1]
        heard = len(opened[3].comments)
        waiting = asyncio.create_task(opened[3].next())

        async def goes_on() -> bool:
            return len(opened[3].comments) > heard + 1

        await eventually(goes_on)
        assert not waiting.done()
        waiting.cancel()
    assert "Exception" not in caplog.text


async def drained(stream: Listening, first: asyncio.Task[dict[str, Any] | None]) -> None:
    """Returns when the stream has ended, whose first event is awaited already."""
    if await first is not None:
        while await stream.next() is not None:
            pass


@pytest.mark.usefixtures("impatient")
async def test_a_database_that_refuses(
    running: Running,
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    superuser: asyncpg.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where events cannot be read any more a stream ends neatly; who comes back later has missed none."""
    north = clinics[0]
    async with writers(database, north) as (writer,):
        async with listen(running.client, north.headers()) as stream:
            await commit_case(writer, "first")
            assert payers(await stream.some(1)) == ["first"]
            await superuser.execute("REVOKE SELECT ON events FROM fastlane_tenant")
            await commit_case(writer, "missed")
            assert await stream.next() is None
            assert stream.comments[-1] == "The events cannot be read right now."
            last_id = stream.last_id
        async with listen(running.client, north.headers(), last_id) as refused:
            assert await refused.next() is None
            assert refused.comments == ["The database does not allow this."]
        await superuser.execute("GRANT SELECT ON events TO fastlane_tenant")
        async with listen(running.client, north.headers(), last_id) as stream:
            assert payers(await stream.some(1)) == ["missed"]
        await eventually(lambda: is_at_rest(running))
    assert "Exception" not in caplog.text
