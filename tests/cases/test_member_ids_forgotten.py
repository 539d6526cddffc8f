"""What a member's identifier leaves behind in production: a hash, and nothing else."""

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from tenancy import embedded
from tests.api.problems import fields
from tests.cases.member_ids import CASES, DIGEST, NORMALISED, PEPPER, RAW, case_of, keyed
from tests.clients import http_client
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.operators import operator
from tests.tenancy.identity_provider import IdentityProvider, SigningKey
from tests.test_serve import free_port, ready, start

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Clinics = tuple[Clinic, Clinic]


@dataclass
class Production:
    """A service in production, and a client of its admin's session beside those of its users."""

    url: str
    key: SigningKey
    session: dict[str, str]
    _process: asyncio.subprocess.Process

    def headers(self, clinic: Clinic) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key.sign(f'{clinic.slug}-admin', iss=None, aud=None)}"}

    async def end(self) -> str:
        """All that it said."""
        if self._process.returncode is None:
            self._process.terminate()
        said, errors = await asyncio.wait_for(self._process.communicate(), 20)
        return (said + errors).decode()


@pytest_asyncio.fixture
async def production(running: Running, database: TestDatabase, tmp_path: Path) -> AsyncIterator[Production]:
    """A session that another service opened is one of this too: a browser would send it over TLS only."""
    async with operator(running.url) as client:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        session = {"Cookie": cookies, "X-CSRFToken": client.headers["X-CSRFToken"]}
    provider = IdentityProvider([SigningKey.create("EdDSA")])
    await provider.start()
    port = free_port()
    settings = {"MEMBER_ID_PEPPER": PEPPER, "AUTH_JWKS_URL": provider.url, "DATABASE_URL": database.app}
    process = await start(tmp_path, ENVIRONMENT="production", PORT=str(port), **settings)
    await ready(process, port)
    service = Production(f"http://127.0.0.1:{port}", provider.keys[0], session, process)
    yield service
    await service.end()
    await provider.stop()


def dump_data(database: TestDatabase) -> str:
    """Every row of every table, as SQL."""
    command = [str(embedded.BINARIES / "pg_dump"), "--data-only", "--dbname", database.superuser]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def send_everywhere(client: httpx.AsyncClient, service: Production, clinics: Clinics) -> list[httpx.Response]:
    """The identifier through each path that takes one, and some that do not, well and badly."""
    north, south = clinics
    body, path = case_of(north), f"{CASES}{north.rows['cases']}/"
    inside = f"/admin/api/tables/cases/{north.rows['cases']}/"
    key, csv = {"Idempotency-Key": "once"}, {"Content-Type": "text/csv"}
    find = f"{CASES}find/"
    version = {"version": 1}
    answers = [
        await client.post(CASES, json=body, headers=key),
        await client.post(CASES, json=body, headers=key),
        await client.post(CASES, json={**body, "payer": "other"}, headers=key),
        await client.post(find, json={"member_id": RAW}, headers={"Idempotency-Key": "found"}),
        await client.post(find, json={"member_id": RAW, "more": RAW}),
        await client.post(find, content=f'{{"member_id": "{RAW}"'.encode()),
        await client.post(CASES, json=[body, {**body, "payer": None}]),
        await client.post(CASES, content=f"member_id,payer\r\n{RAW},x\r\n", headers=csv),
        await client.patch(path, json={"member_id": RAW, "payer": "x"}, headers={"If-Match": '"x"'}),
        await client.patch(path, json={"member_id": RAW}, headers=service.headers(south)),
        await client.patch(path, json={"member_id": RAW, "ingestion_id": str(UUID(int=0))}),
        await client.patch(path, json={"member_id_hash": RAW}),
        await client.patch(path, json={"member_id": RAW}),
        await client.get(f"{CASES}?member_id={RAW}"),
        await client.post(f"{CASES}{(await client.post(CASES, json=body)).json()['id']}/restore/", json=version),
        await client.patch(inside, json={"member_id": RAW}, headers=service.session),
        await client.patch(inside, json={"member_id_hash": RAW}, headers=service.session),
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:9] == [201, 201, 422, 200, 422, 400, 422, 422, 412]
    assert statuses[9:] == [404, 422, 422, 200, 400, 200, 400, 422], [answer.text for answer in answers[9:]]
    return answers


async def test_the_id_is_nowhere(production: Production, clinics: Clinics, database: TestDatabase) -> None:
    """Sent through every path, well and badly, it is in no table, log, error, trail, event and metric."""
    async with http_client(production.url, production.headers(clinics[0])) as client:
        answers = await send_everywhere(client, production, clinics)
        metrics = (await client.get("/metrics")).text
    dump = dump_data(database)
    said = await production.end()
    assert keyed(clinics[0]) in dump  # It was written, and the dump would show more.
    assert "/api/cases/" in metrics
    assert said.count('"route":"/api/cases/"') > 5
    places = {"dump": dump, "metrics": metrics, "log": said}
    places |= {f"answer {number}": f"{answer.text} {answer.headers}" for number, answer in enumerate(answers)}
    for place, text in places.items():
        for shape in (RAW, NORMALISED, "77341"):
            for spelled in (shape, shape.encode().hex(), hashlib.sha256(shape.encode()).hexdigest()):
                assert spelled.lower() not in text.lower(), (place, shape)


async def test_production_takes_no_names(production: Production, clinics: Clinics) -> None:
    """A name in place of a hash is for demo data: refused in the API and in the admin, where one may stay as it is."""
    north = clinics[0]
    path, inside = f"{CASES}{north.rows['cases']}/", f"/admin/api/tables/cases/{north.rows['cases']}/"
    async with http_client(production.url, production.headers(north)) as client:
        for change, status in ({"payer": "Aetna"}, 200), ({"member_id_hash": "hash_a"}, 422):
            assert (await client.patch(path, json=change)).status_code == status
            assert (await client.patch(inside, json=change, headers=production.session)).status_code == status
        assert fields(await client.post(CASES, json=north.body("cases"))) == ["member_id_hash"]
        answer = await client.patch(inside, json={"member_id_hash": DIGEST}, headers=production.session)
        assert answer.status_code == 200
        answer = await client.post(CASES, json=case_of(north))
        assert (answer.status_code, answer.json()["member_id_hash"]) == (201, keyed(north))
