"""What a transaction is bound to: exactly its scope, whatever bytes that holds, and only while it lasts."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest
from piccolo.engine.exceptions import TransactionError

from cases.tables import Ruleset
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.tenancy.pool import LOST_CONNECTION, SCOPE, TENANT, assert_whole

SETTINGS = ("tenant_id", "user_id", "user_role", "operator_id", "actor", "request_id", "ip_address", "user_agent")
FULL = Scope(
    role=DatabaseRole.tenant,
    actor="user:somebody",
    tenant_id=TENANT,
    user_id=uuid4(),
    user_role=Role.clinician,
    operator_id=7,
    request_id="a-request",
    ip_address="203.0.113.9",
    user_agent="Mozilla/5.0",
)
HOSTILE = [
    "'; DROP TABLE cases CASCADE; --",
    "x',true); SET ROLE fastlane_platform; --",
    "x','hex'),'UTF8'),true),set_config('role','fastlane_platform',true);--",
    "\\'; RESET ROLE; --",
    "E'\\x27'",
    "$$; ROLLBACK; $$ $1 %s {} %(x)s",
    '"fastlane_platform"',
    "\x00'\x00;\x00",
    "line\r\nline\tand\x1bescape\x7f",
    "Zoë · 東京 · 🏥 · \u202e\u2028",
    "A" * 10_000,
    "'" * 10_000,
    "🏥" * 2_500,
    " ",
]


async def state_of(connection: asyncpg.Connection) -> dict[str, str]:
    """The role and every setting of ours, as the server has them."""
    columns = ", ".join(f"nullif(current_setting('app.{name}', true), '') AS {name}" for name in SETTINGS)
    row = await connection.fetchrow(f"""
        SELECT current_user::text AS role, {columns}, current_setting('statement_timeout') AS statement_timeout,
               current_setting('lock_timeout') AS lock_timeout,
               current_setting('idle_in_transaction_session_timeout') AS idle_timeout
    """)
    assert row is not None
    return dict(row)


async def test_scope_is_bound_as_a_whole(pooled: FastlaneEngine) -> None:
    """Every field of the scope is a setting of the transaction, and its role is the current one."""
    async with pooled.transaction(scope=FULL) as transaction:
        state = await state_of(transaction.connection)
    assert {name: state[name] for name in SETTINGS} == {
        "tenant_id": str(TENANT),
        "user_id": str(FULL.user_id),
        "user_role": "clinician",
        "operator_id": "7",
        "actor": "user:somebody",
        "request_id": "a-request",
        "ip_address": "203.0.113.9",
        "user_agent": "Mozilla/5.0",
    }
    assert state["role"] == "fastlane_tenant"


@pytest.mark.parametrize("ending", ["commit", "rollback", "error"])
async def test_nothing_survives(pooled: FastlaneEngine, ending: str) -> None:
    """After the transaction its connection has no role, no setting and no time limit of it left."""
    connection = await pooled.acquire()
    clean = await state_of(connection)
    assert clean["role"] == "fastlane_app"
    await pooled.release(connection)
    try:
        async with pooled.transaction(scope=FULL) as transaction:
            assert await state_of(transaction.connection) != clean
            if ending == "rollback":
                await transaction.rollback()
            if ending == "error":
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert ending == "error"
    connection = await pooled.acquire()
    try:
        assert await state_of(connection) == clean
    finally:
        await pooled.release(connection)


async def test_next_scope_inherits_nothing(pooled: FastlaneEngine) -> None:
    """What the next scope leaves out is unset in it, though the connection was bound before."""
    async with pooled.transaction(scope=FULL) as transaction:
        first = await transaction.connection.fetchval("SELECT pg_backend_pid()")
    async with pooled.transaction(scope=Scope(role=DatabaseRole.platform, actor="operator:p")) as transaction:
        assert await transaction.connection.fetchval("SELECT pg_backend_pid()") == first
        state = await state_of(transaction.connection)
    assert {name: state[name] for name in SETTINGS if state[name]} == {"actor": "operator:p"}
    assert state["role"] == "fastlane_platform"


async def test_values_stay_values(pooled: FastlaneEngine, size: int) -> None:
    """Quotes, NUL, unicode or 10 kB in a scope are text to the server; role and tenant stay as they are."""
    scopes = [
        scope
        for value in HOSTILE
        for scope in (
            replace(FULL, actor=value),
            replace(FULL, request_id=value),
            replace(FULL, ip_address=value),
            replace(FULL, user_agent=value),
        )
    ]
    for scope in scopes:
        async with pooled.transaction(scope=scope) as transaction:
            state = await state_of(transaction.connection)
            expected = {name: getattr(scope, name).replace("\x00", "") for name in SETTINGS[4:]}
            assert {name: state[name] for name in expected} == expected
            assert (state["role"], state["tenant_id"]) == ("fastlane_tenant", str(TENANT))
            assert transaction.connection.is_in_transaction()
    await assert_whole(pooled, size)


async def test_inner_transaction_is_the_outer_one(engine: FastlaneEngine, clinics: tuple[Clinic, Clinic]) -> None:
    """A transaction inside another commits nothing: an error after it undoes its work too."""
    scope = Scope(role=DatabaseRole.tenant, actor="script:test", tenant_id=clinics[0].id)

    async def nest() -> None:
        async with engine.transaction(scope=scope) as outer:
            async with engine.transaction() as inner:
                assert inner is outer
                await Ruleset.update({Ruleset.payer: "Changed"}, force=True)
            assert engine.current_transaction.get() is outer
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await nest()
    async with engine.transaction(scope=scope):
        assert not await Ruleset.exists().where(Ruleset.payer == "Changed")


async def test_inner_transaction_keeps_the_scope(pooled: FastlaneEngine, size: int) -> None:
    """A transaction inside another may name the same scope, never another one."""
    other = replace(SCOPE, tenant_id=uuid4())
    async with pooled.transaction(scope=SCOPE):
        async with pooled.transaction(scope=SCOPE):
            pass
        for scope in (other, Scope(role=DatabaseRole.platform, actor="operator:p")):
            with pytest.raises(TransactionError):
                pooled.transaction(scope=scope)
    await assert_whole(pooled, size)


async def test_unbound_query_is_refused(pooled: FastlaneEngine) -> None:
    """With the pool open, a query outside any transaction, or in an unbound one, is no query of a tenant."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await Ruleset.select()
    async with pooled.transaction() as transaction:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await Ruleset.select()
        await transaction.rollback()


async def test_task_that_outlives_its_transaction(pooled: FastlaneEngine, size: int) -> None:
    """A task started in a transaction and still at work after it is refused, not served on another's connection."""
    over = asyncio.Event()

    async def straggle() -> None:
        await over.wait()
        await Ruleset.select()

    async with pooled.transaction(scope=SCOPE):
        straggler = asyncio.create_task(straggle())
    async with pooled.transaction(scope=replace(SCOPE, tenant_id=uuid4())):
        over.set()
        with pytest.raises(LOST_CONNECTION):
            await straggler
    await assert_whole(pooled, size)
