"""What a statement smuggled into a tenant's transaction reaches, beyond the tenant's own rows: nothing.

The limit of it stands in decision 0002: such a statement may name another tenant or role.
"""

import asyncpg
import pytest

from tenancy.commands import add_operator
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.provision import login_role_faults
from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.cluster import TestDatabase

Clinics = tuple[Clinic, Clinic]


def scope_of(clinic: Clinic) -> Scope:
    return Scope(role=DatabaseRole.tenant, actor="test", tenant_id=clinic.id)


@pytest.fixture
async def operators(engine: FastlaneEngine, clinics: Clinics) -> None:
    await add_operator("north-admin", "long-enough", "north", "admin@north.com")
    await add_operator("south-admin", "long-enough", "south", "admin@south.com")
    await add_operator("everywhere", "long-enough")


@pytest.mark.usefixtures("operators")
async def test_operators_of_others_stay_hidden(engine: FastlaneEngine, clinics: Clinics) -> None:
    """Whatever operator a tenant's transaction claims to be, it sees none but the own tenant's."""
    async with engine.transaction(scope=scope_of(clinics[0])) as transaction:
        seen = set()
        for claimed in range(1, 10):
            await transaction.connection.execute(f"SELECT set_config('app.operator_id', '{claimed}', true)")
            seen |= {row["username"] for row in await transaction.connection.fetch("SELECT username FROM operators")}
    assert seen == {"north-admin"}


@pytest.mark.usefixtures("operators")
async def test_the_login_changes_no_password(engine: FastlaneEngine) -> None:
    """The role that compares passwords cannot set one."""
    scope = Scope(role=DatabaseRole.authn, actor="test")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with engine.transaction(scope=scope) as transaction:
            await transaction.connection.execute("UPDATE operators SET password = 'x'")


@pytest.mark.parametrize(
    "left_behind",
    [
        "SELECT set_config('app.operator_id', '1', false), set_config('app.user_role', 'admin', false)",
        "CREATE TEMPORARY TABLE rulesets (LIKE public.rulesets)",
        "SET SESSION search_path = pg_temp",
        "SET SESSION ROLE fastlane_platform",
    ],
)
async def test_nothing_is_left_for_the_next_tenant(
    engine: FastlaneEngine, clinics: Clinics, settings: Settings, left_behind: str
) -> None:
    """What one tenant leaves in the session changes nothing for the next on the same connection."""
    north, south = clinics
    await engine.start_connection_pool()
    try:
        assert engine.pool is not None
        engine.pool._most = 1
        async with engine.transaction(scope=scope_of(north)) as transaction:
            backend = await transaction.connection.fetchval("SELECT pg_backend_pid()")
            await transaction.connection.execute(left_behind)
        async with engine.transaction(scope=scope_of(south)) as transaction:
            connection = transaction.connection
            assert await connection.fetchval("SELECT pg_backend_pid()") == backend
            settings_left = "SELECT current_setting('app.operator_id') || current_setting('app.user_role')"
            assert await connection.fetchval(settings_left) == ""
            assert await connection.fetchval("SELECT current_user") == "fastlane_tenant"
            assert [row["tenant_id"] for row in await connection.fetch("SELECT * FROM rulesets")] == [south.id]
        async with engine.transaction() as transaction:
            assert await transaction.connection.fetchval("SELECT current_user") == "fastlane_app"
    finally:
        await engine.close_connection_pool()


async def test_a_login_that_may_become_more_is_refused(superuser: asyncpg.Connection, database: TestDatabase) -> None:
    """Production starts with no login role that is a member of others than the three acting ones."""
    assert await login_role_faults(superuser, "fastlane_app") == []
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute("GRANT fastlane_auditor TO fastlane_app")
    (fault,) = await login_role_faults(superuser, "fastlane_app")
    await transaction.rollback()
    assert "member of other roles" in fault
