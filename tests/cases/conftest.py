"""Fixtures of the tests of cases: one clinic, and a client of its admin."""

import httpx
import pytest

from tenancy.tables import Role
from tests.clinics import Clinic


@pytest.fixture
def north(clinics: tuple[Clinic, Clinic]) -> Clinic:
    return clinics[0]


@pytest.fixture
def admin(client: httpx.AsyncClient, north: Clinic) -> httpx.AsyncClient:
    """A client of north's admin."""
    client.headers.update(north.headers(Role.admin))
    return client
