"""Fixtures: a database, an app served over real HTTP, two clinics."""

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
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
from tests.clinics import Clinic, create_clinic
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
    os.environ["PATH"] += ":/usr/sbin"  # Where Debian keeps PgBouncer, and an ordinary PATH does not look.
    if not hasattr(config, "workerinput"):
        _directory = Path(tempfile.mkdtemp(prefix="fastlane-"))
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
async def database() -> AsyncIterator[TestDatabase]:
    """A migrated, empty database."""
    created = await cluster.create_database()
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


@pytest_asyncio.fixture
async def clinics(engine: FastlaneEngine, settings: Settings) -> tuple[Clinic, Clinic]:
    return await create_clinic("north", settings), await create_clinic("south", settings)


@dataclass
class Running:
    """An app that serves. `url` has no slash at its end."""

    url: str
    engine: FastlaneEngine
    client: httpx.AsyncClient


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
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield Running(url, piccolo_conf.DB, client)
        server.should_exit = True
        await serving


@pytest_asyncio.fixture
async def running(clinics: tuple[Clinic, Clinic], settings: Settings) -> AsyncIterator[Running]:
    """The app over the two clinics."""
    async for app in serve(settings):
        yield app


@pytest.fixture
def client(running: Running) -> httpx.AsyncClient:
    return running.client
