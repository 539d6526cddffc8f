"""Fixtures of the tenancy tests: a pool, tables whose COMMIT fails, an identity provider."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running, serve
from tests.tenancy.connections import Door
from tests.tenancy.identity_provider import AUDIENCE, ISSUER, IdentityProvider, SigningKey


@pytest_asyncio.fixture
async def pooled(engine: FastlaneEngine, settings: Settings) -> AsyncIterator[FastlaneEngine]:
    """The engine with its pool, as the service has it."""
    await engine.start_connection_pool()
    pool = engine.pool
    assert pool is not None
    yield engine
    try:
        async with asyncio.timeout(5):
            await engine.close_connection_pool()
    finally:
        pool.terminate()  # A leak fails the test; it must not hang it, nor the next one.


@pytest.fixture
def door(database: TestDatabase) -> Door:
    """Makes connections of the login role."""
    return Door(database)


@pytest.fixture
def size(settings: Settings) -> int:
    """How many connections the pool has at most."""
    return settings.pool_max_size


@pytest_asyncio.fixture
async def traps(superuser: asyncpg.Connection) -> None:
    """Tables whose COMMIT fails: `twins` on a deferred key, `mortal` by the death of its backend."""
    await superuser.execute("""
        CREATE TABLE twins (value int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE mortal (value int);
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON mortal DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION die();
        GRANT ALL ON twins, mortal TO fastlane_tenant;
    """)


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """An identity provider with a key of each accepted algorithm."""
    provider = IdentityProvider([SigningKey.create(algorithm) for algorithm in ("EdDSA", "ES256", "RS256")])
    await provider.start()
    yield provider
    await provider.stop()


@pytest_asyncio.fixture
async def app(
    clinics: tuple[Clinic, Clinic], database: TestDatabase, tmp_path: Path, provider: IdentityProvider
) -> AsyncIterator[Running]:
    """The app over the two clinics, which trusts the identity provider."""
    settings = database.settings(tmp_path, auth_jwks_url=provider.url, auth_issuer=ISSUER, auth_audience=AUDIENCE)
    async for running in serve(settings):
        yield running
