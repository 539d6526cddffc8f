"""The boundary behind a transaction-mode pooler, where connections change hands."""

import asyncio
from pathlib import Path

import httpx
import pytest

from audit.verify import verify
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import serve
from tests.pgbouncer import pgbouncer

pytestmark = pytest.mark.needs("pgbouncer")


async def test_500_interleaved_requests(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], settings: Settings, tmp_path: Path
) -> None:
    """Over two server connections, reads and writes of two tenants never meet."""
    async with pgbouncer(database, tmp_path, pool_size=2) as url:
        pooled = Settings.model_validate({**settings.model_dump(), "database_url": url})
        async for app in serve(pooled):
            visitors = (_visit_often(app.client, clinics, range(first, 500, 25)) for first in range(25))
            answers = await asyncio.gather(*visitors)
    assert sum(answers) == 500


@pytest.mark.parametrize("hint", ["?pgbouncer=true", "?sslmode=require&channel_binding=require", ""])
async def test_pooler_is_noticed(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], settings: Settings, tmp_path: Path, hint: str
) -> None:
    """Declared or not, a pooler gets no named prepared statement, which it would lose."""
    async with pgbouncer(database, tmp_path, pool_size=1) as url:
        pooled = Settings.model_validate({**settings.model_dump(), "database_url": url.partition("?")[0] + hint})
        async for app in serve(pooled):
            for number in range(20):
                assert await _visit(app.client, clinics[number % 2], number)


async def _visit_often(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], numbers: range) -> int:
    return sum([await _visit(client, clinics[number % 2], number) for number in numbers])


async def _visit(client: httpx.AsyncClient, clinic: Clinic, number: int) -> bool:
    """One read or write; True when nothing of another tenant came back."""
    match number % 5:
        case 0:
            answer = await client.post("/api/cases/", json=clinic.body("cases"), headers=clinic.headers())
            assert answer.status_code == 201, answer.text
            rows = [answer.json()]
        case 1:
            answer = await client.get(f"/api/cases/{clinic.rows['cases']}/", headers=clinic.headers())
            assert answer.status_code == 200, answer.text
            rows = [answer.json()]
        case _:
            answer = await client.get("/api/cases/", params={"__page_size": 1000}, headers=clinic.headers())
            assert answer.status_code == 200, answer.text
            rows = answer.json()["rows"]
            assert rows
    return {row["tenant_id"] for row in rows} == {str(clinic.id)}


async def test_the_proof_is_recomputed(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, tmp_path: Path
) -> None:
    """`verify` goes through a pooler, again and again, beside others that use its connections."""
    async with pgbouncer(database, tmp_path, pool_size=1) as url:
        engine.databases = Databases(database.settings(tmp_path, database_url=url))
        for _ in range(3):
            verified = await verify(engine, clinics[0].id)
            assert verified.rows + verified.unsealed > 0
