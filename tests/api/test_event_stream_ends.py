"""What ends a stream: rights that do, and a database that refuses. Its client is told, and comes back."""

import asyncio
from contextlib import AsyncExitStack

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


async def the_end(stream: Listening) -> str:
    """What the last comment says, of a stream that ends."""
    while await stream.next() is not None:
        pass
    return stream.comments[-1]


async def hear(streams: list[Listening]) -> list[asyncio.Task[str]]:
    """Reads streams to their ends, and returns when each has had some heartbeats."""
    reading = [asyncio.create_task(the_end(stream)) for stream in streams]
    already = [len(stream.comments) for stream in streams]

    async def is_heard() -> bool:
        return all(len(stream.comments) > before + 2 for stream, before in zip(streams, already, strict=True))

    await eventually(is_heard)
    assert not any(task.done() for task in reading)
    return reading


@pytest.mark.usefixtures("impatient")
async def test_rights_that_end(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], caplog: pytest.LogCaptureFixture
) -> None:
    """Idle streams have heartbeats; that of a user who is deactivated or gets another role ends neatly, with a word
    about it; a colleague's goes on and tells of both."""
    north = clinics[0]
    changes = {Role.staff: {"is_active": False}, Role.clinician: {"role": "staff"}}
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(listen(client, north.headers(role))) for role in changes]
        colleague = await stack.enter_async_context(listen(client, north.headers()))
        ends = await hear(opened)
        for role, change in changes.items():
            path = f"/api/users/{north.users[role]}/"
            assert (await client.patch(path, headers=north.headers(), json=change)).status_code == 200
        assert [await end for end in ends] == [
            "This user is deactivated.",
            "The user's rights changed while the answer was sent.",
        ]
        told = [row["event_type"] for row in await colleague.some(2)]
        assert told == ["user_deactivated", "user_role_changed"]
        (going_on,) = await hear([colleague])
        going_on.cancel()
    assert "Exception" not in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_token_that_expires(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream ends with the token that opened it, and another token of the same user's does not."""
    north = clinics[0]
    token = DevelopmentKeys(settings.data_dir).sign("north-admin", settings, minutes=0)  # Good for the leeway only.
    async with (
        listen(client, {"Authorization": f"Bearer {token}"}) as stream,
        listen(client, north.headers()) as other,
    ):
        ends = await hear([stream, other])
        monkeypatch.setattr(tokens, "LEEWAY_SECONDS", 0)
        assert await ends[0] == "The token has expired."
        assert not ends[1].done()
        ends[1].cancel()


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
