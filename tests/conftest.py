"""Fixtures: a database, an app served over real HTTP, two clinics."""

import asyncio
import gc
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
import pytest_asyncio
import uvicorn

import piccolo_conf
from api.one_write import OneWriteProtocol
from main import create_app
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings
from tests import cluster
from tests.clients import http_client
from tests.clinics import Clinic
from tests.cluster import TestDatabase

PARTS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "node": ("node",),
    "npm": ("npm",),
    "pgbouncer": ("pgbouncer",),
}
_directory: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Starts the cluster in the controlling process; workers join it."""
    global _directory  # noqa: PLW0603  # pytest has no other place between its two hooks.
    # A full collection walks a million objects, of all the models and routes. Those of new objects stay as they are.
    gc.set_threshold(700, 10, 200)
    os.environ["PATH"] += ":/usr/sbin"  # Where Debian keeps PgBouncer, and an ordinary PATH does not look.
    if not hasattr(config, "workerinput"):
        _directory = cluster.make_directory()
        cluster.start(_directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves nothing behind."""
    if _directory is not None:
        shutil.rmtree(_directory, ignore_errors=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`needs(part)`: skips where the part is missing, fails there with REQUIRE_ALL=1."""
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            if not any(shutil.which(name) for name in PARTS[part]):
                if os.environ.get("REQUIRE_ALL") == "1":
                    pytest.fail(f"{part} is missing, and REQUIRE_ALL=1")
                pytest.skip(f"{part} is not installed")


@pytest_asyncio.fixture
async def database(request: pytest.FixtureRequest) -> AsyncIterator[TestDatabase]:
    """A migrated database; empty, unless the test wants the clinics."""
    wants_clinics = "clinics" in request.fixturenames
    created = await cluster.create_database(cluster.WITH_CLINICS if wants_clinics else cluster.TEMPLATE)
    yield created
    await cluster.drop_database(created)


@pytest_asyncio.fixture
async def superuser(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection that nothing confines: to look at what is really there, and to break it."""
    connection = await asyncpg.connect(database.superuser)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def owner(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the tables' owner."""
    connection = await asyncpg.connect(database.owner)
    yield connection
    await connection.close()


@pytest.fixture
def settings(database: TestDatabase, tmp_path: Path) -> Settings:
    return database.settings(tmp_path)


@pytest.fixture
def engine(settings: Settings) -> FastlaneEngine:
    """Piccolo's engine on the test's database, without a pool: what a script has."""
    engine = piccolo_conf.DB
    engine.databases = Databases(settings)
    return engine


@pytest.fixture
def clinics(engine: FastlaneEngine, settings: Settings) -> tuple[Clinic, Clinic]:
    return cluster.clinics(settings)


@dataclass
class Running:
    """An app that serves. `url` has no slash at its end."""

    url: str
    engine: FastlaneEngine
    client: httpx.AsyncClient


class PromptServer(uvicorn.Server):
    """Ends when it is told to: the original looks ten times a second whether it was, then waits a tenth more."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._end.set()

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self._end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # Idle connections are gone after that; the others are waited for.
        await self._wait_tasks_to_complete()
        await self.lifespan.shutdown()


async def serve(settings: Settings) -> AsyncIterator[Running]:
    """The real app under the real server, on a port of its own."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            lifespan="on",
            proxy_headers=False,
            http=OneWriteProtocol,
        )
        server = PromptServer(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with http_client(url) as client:
            yield Running(url, piccolo_conf.DB, client)
        server.end()
        await serving


@pytest_asyncio.fixture
async def running(clinics: tuple[Clinic, Clinic], settings: Settings) -> AsyncIterator[Running]:
    """The app over the two clinics."""
    async for app in serve(settings):
        yield app


@pytest_asyncio.fixture
async def production(clinics: tuple[Clinic, Clinic], settings: Settings) -> AsyncIterator[Running]:
    """The app as in production, behind a proxy of this machine that may speak TLS."""
    changes = {
        "environment": "production",
        "member_id_pepper": "pepper",
        "auth_jwks_url": "https://127.0.0.1:1/jwks.json",
        "trusted_proxies": ("127.0.0.1",),
    }
    async for app in serve(Settings.model_validate({**settings.model_dump(), **changes})):
        yield app


@pytest.fixture
def client(running: Running) -> httpx.AsyncClient:
    return running.client
