"""No connection is held while a client sends or reads; nothing is answered before COMMIT."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest

from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.conftest import Running, serve


async def test_slow_senders_hold_no_connection(settings: Settings, clinics: tuple[Clinic, Clinic]) -> None:
    """Twenty clients in the middle of their bodies leave the only connection to others."""
    north = clinics[0]
    small = Settings.model_validate({**settings.model_dump(), "pool_max_size": 1})
    async for app in serve(small):
        writers = [await _half_a_request(app, north) for _ in range(20)]
        answer = await asyncio.wait_for(app.client.get("/api/cases/", headers=north.headers()), 3)
        assert answer.status_code == 200
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_slow_readers_hold_no_connection(settings: Settings, clinics: tuple[Clinic, Clinic]) -> None:
    """Clients that do not read their large answers leave the only connection to others."""
    north = clinics[0]
    small = Settings.model_validate({**settings.model_dump(), "pool_max_size": 1})
    async for app in serve(small):
        body = north.body("cases", extracted_data={"text": "x" * 900_000})
        for _ in range(8):
            assert (await app.client.post("/api/cases/", json=body, headers=north.headers())).status_code == 201
        writers = [await _send(app, f"GET /api/cases/ HTTP/1.1\r\n{_headers(north)}\r\n") for _ in range(5)]
        answer = await asyncio.wait_for(app.client.get("/api/cases/count/", headers=north.headers()), 10)
        assert answer.json()["count"] == 9
        for writer in writers:
            writer.close()


async def test_a_failed_commit_is_no_success(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """What fails at COMMIT is answered as an error, and is not there afterwards."""
    north = clinics[0]
    await superuser.execute(
        """
        CREATE FUNCTION fail_late() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'too late' USING ERRCODE = '40001'; END $$;
        CREATE CONSTRAINT TRIGGER fail_late AFTER INSERT ON rulesets
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_late();
        """
    )
    for _ in range(10):  # More often than the pool is large.
        answer = await running.client.post("/api/rulesets/", json=north.body("rulesets"), headers=north.headers())
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
    count = await running.client.get("/api/rulesets/count/", headers=north.headers())
    assert count.json()["count"] == 1


async def test_a_killed_backend_is_a_503_and_no_more(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Idle connections that the server ended cost at most a 503; the service recovers by itself."""
    north = clinics[0]
    await asyncio.gather(*(running.client.get("/api/cases/", headers=north.headers()) for _ in range(8)))
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND usename = 'fastlane_app'"
    )
    statuses = [(await running.client.get("/api/cases/", headers=north.headers())).status_code for _ in range(10)]
    assert set(statuses) <= {200, 503}
    assert statuses[-1] == 200


async def test_over_the_time_limit_is_a_504(
    settings: Settings, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A statement that takes too long is ended by the database and answered with 504."""
    north = clinics[0]
    await superuser.execute(
        """
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON rulesets FOR EACH ROW EXECUTE FUNCTION dawdle();
        """
    )
    hasty = Settings.model_validate({**settings.model_dump(), "statement_timeout_ms": 300})
    async for app in serve(hasty):
        answer = await app.client.post("/api/rulesets/", json=north.body("rulesets"), headers=north.headers())
        assert answer.status_code == 504


@pytest.mark.parametrize("declared", [True, False])
async def test_a_large_body_is_refused_early(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], declared: bool
) -> None:
    """More than 1 MiB is a 413, whether its length is declared or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    content = b"x" * (20 * 65_536) if declared else chunks()
    answer = await client.post("/api/cases/", content=content, headers=clinics[0].headers())
    assert answer.status_code == 413


async def _half_a_request(app: Running, clinic: Clinic) -> asyncio.StreamWriter:
    head = f"POST /api/cases/ HTTP/1.1\r\n{_headers(clinic)}Content-Length: 500\r\n\r\n"
    return await _send(app, head + '{"payer": ')


def _headers(clinic: Clinic) -> str:
    authorization = clinic.headers()["Authorization"]
    return f"Host: localhost\r\nContent-Type: application/json\r\nAuthorization: {authorization}\r\n"


async def _send(app: Running, text: str) -> asyncio.StreamWriter:
    host, _, port = app.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(text.encode())
    await writer.drain()
    return writer
