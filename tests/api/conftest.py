"""Fixtures of the API tests: one clinic, and a client for each of its users."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from cases.tables import Ruleset
from tenancy.scoping import tenant
from tenancy.tables import Role
from tests.api.lists import PAYERS
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import Running


@pytest.fixture
def north(clinics: tuple[Clinic, Clinic]) -> Clinic:
    return clinics[0]


@pytest.fixture
def south(clinics: tuple[Clinic, Clinic]) -> Clinic:
    """The other clinic, of which north must not notice anything."""
    return clinics[1]


@pytest_asyncio.fixture
async def admin(running: Running, north: Clinic) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is signed in as north's admin."""
    async with http_client(running.url, north.headers(Role.admin)) as client:
        yield client


@pytest_asyncio.fixture
async def staff(running: Running, north: Clinic) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is signed in as north's staff."""
    async with http_client(running.url, north.headers(Role.staff)) as client:
        yield client


@pytest_asyncio.fixture
async def clinician(running: Running, north: Clinic) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is signed in as north's clinician."""
    async with http_client(running.url, north.headers(Role.clinician)) as client:
        yield client


@pytest_asyncio.fixture
async def rulesets(clinics: tuple[Clinic, Clinic]) -> list[str]:
    """North's rulesets are of these payers, in the order of their creation; every second one is inactive."""
    for clinic in clinics:
        async with tenant(clinic.slug):
            await Ruleset.delete(force=True)
    for number, payer in enumerate(PAYERS):
        async with tenant("north"):
            await Ruleset(payer=payer, procedure=f"p{number}", rules_json="{}", is_active=number % 2 == 0).save()
    return PAYERS
