"""Fixtures of the audit tests."""

import asyncpg
import pytest_asyncio

from tests.audit.looks import Log
from tests.clinics import Clinic


@pytest_asyncio.fixture
async def looks(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> Log:
    """What is recorded from here on; that of the clinics' creation has been seen."""
    log = Log(superuser)
    assert len(await log.accesses()) == len(clinics)
    return log
