"""The other half of the matrix: what the permission table allows succeeds on one's own rows, and on no others.

Every test has a database of its own, since every call changes it.
"""

import asyncpg
import httpx
import pytest
from piccolo.columns import ForeignKey

from api.crud.models import server_columns
from tenancy.permissions import PERMISSIONS, is_allowed
from tenancy.tables import Role
from tests.clinics import TABLES, Clinic
from tests.contracts.matrix import (
    CELLS,
    REGISTERED,
    WRITES,
    Pair,
    calls,
    key_columns,
    leaks,
    name_of,
    target_of,
    unchanged,
)


@pytest.fixture
def pair(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> Pair:
    return Pair(client, superuser, *clinics)


def test_the_matrix_is_whole() -> None:
    """Every registered tenant table has its permissions for every role, and two clinics have rows in it."""
    assert set(PERMISSIONS) == {(table, role) for table in REGISTERED for role in Role}
    assert set(TABLES) == set(REGISTERED)


@pytest.mark.parametrize(("table", "role"), CELLS, ids=name_of)
async def test_allowed(pair: Pair, table: str, role: Role) -> None:
    """Every allowed call succeeds, shows nothing of the other tenant and leaves its rows alone."""
    marks = await pair.marks_of(pair.other)
    async with unchanged(pair, pair.other):
        await refer_to_own_rows(pair, table, role)
        for call in calls(role, table, allowed=True):
            body = pair.valid_body(table, call.method)
            answer = await pair.send(call, table, pair.own.rows[table], pair.own.headers(role), body)
            assert answer.status_code == call.success, f"{call}: {answer.text}"
            assert leaks(answer, marks) == [], str(call)


async def refer_to_own_rows(pair: Pair, table: str, role: Role) -> None:
    """Writes each reference to a row of one's own: what test_isolation.py sees refused is refused for the tenant."""
    for call in WRITES:
        if not is_allowed(role, table, call.operation):
            continue
        for column in key_columns(table):
            if isinstance(column, ForeignKey) and column._meta.name not in server_columns(REGISTERED[table]):
                body = pair.own.body(table, **{column._meta.name: str(pair.own.rows[target_of(table, column)])})
                answer = await pair.send(call, table, pair.own.rows[table], pair.own.headers(role), body)
                assert answer.status_code == call.success, f"{call} {column._meta.name}: {answer.text}"


async def test_emails_are_unique_within_a_tenant(pair: Pair) -> None:
    """An email that another tenant uses is free, and nothing tells that it is used; one's own is taken."""
    for slug, status in ((pair.other.slug, 201), (pair.own.slug, 409)):
        body = pair.own.body("users", email=f"spare@{slug}.com")
        answer = await pair.client.post("/api/users/", headers=pair.own.headers(), json=body)
        assert answer.status_code == status, answer.text
