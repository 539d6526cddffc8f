"""A statement that is bound and run in one message is bound as a transaction is, and costs no connection."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tenancy.context import DatabaseRole, Scope
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.kept_statements import SEPARATOR
from tenancy.request_transaction import RequestTransaction
from tenancy.settings import Settings
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.pgbouncer import pgbouncer
from tests.tenancy.pool import SCOPE, TENANT, assert_whole
from tests.tenancy.test_scope import FULL, HOSTILE, SETTINGS, state_of

STATE = "SELECT current_user::text AS role, " + ", ".join(
    f"nullif(current_setting('app.{name}', true), '') AS {name}" for name in SETTINGS
)
# What would bind to another tenant and role, if it were taken apart.
BREAKING_OUT = [
    SEPARATOR,
    f"x{SEPARATOR}role{SEPARATOR}fastlane_platform",
    f"{SEPARATOR}app.tenant_id{SEPARATOR}{uuid4()}{SEPARATOR}role{SEPARATOR}fastlane_platform{SEPARATOR}",
]
RENAME = "UPDATE rulesets SET payer = 'Changed' WHERE id = $1 RETURNING id"
TEXTS = [
    "",
    "plain",
    "NULL",
    'it\'s "quoted"',
    "back\\slash\\",
    "E'\\x27'",
    "{a,b}",
    "a\nb\r\tc",
    SEPARATOR,
    "', $1) --",
    "$$ $1 %s",
    "Zoë · 🏥",
    "x" * 10_000,
]
ID = UUID("6a3e0f3c-2a86-4d2c-9d5f-0a4f0b4f7a12")
MOMENT = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
ARGUMENTS: list[tuple[str, Any]] = [
    *[("text", text) for text in TEXTS],
    *[(kind, None) for kind in ("text", "bool", "int4", "float8", "numeric", "timestamptz", "uuid", "jsonb", "text[]")],
    *[("bool", value) for value in (True, False)],
    *[("int8", value) for value in (0, -1, 2**63 - 1, -(2**63))],
    *[("float8", value) for value in (0.1, -1e300, 5e-324, 1 / 3, float("inf"), float("-inf"), 3)],
    *[("numeric", Decimal(value)) for value in ("0.10", "-1E+5", "1E-20", "123456789012345678901234567890.5")],
    *[("timestamptz", value) for value in (MOMENT, datetime(1, 1, 2, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC))],
    *[("date", value) for value in (date(1, 1, 1), date(2024, 2, 29))],
    ("uuid", ID),
    ("jsonb", '{"a": ["\\u00e9", "\\"", "\\\\", null]}'),
    ("text[]", []),
    ("text[]", [*TEXTS, None]),
    ("bool[]", [True, False, None]),
    ("int4[]", [1, None, -1]),
    ("float8[]", [0.1, None, float("inf")]),
    ("numeric[]", [Decimal("1.50"), None]),
    ("timestamptz[]", [MOMENT, None]),
    ("uuid[]", [ID, None]),
    ("uuid[]", []),
    ("jsonb[]", ['{"a": "b,\\"c\\""}', None]),
    ("int4[]", [[1, 2], [3, None]]),
]


def scope_of(clinic: Clinic) -> Scope:
    return replace(SCOPE, tenant_id=clinic.id)


async def run(engine: FastlaneEngine, scope: Scope, statement: str, *arguments: Any) -> list[Any]:
    """A statement by itself, in one message."""
    async with engine.request(scope) as request:
        rows = await request.run(statement, *arguments)
        assert request.connection is None, "it began a transaction"
    return rows


# -- The binding -------------------------------------------------------------


async def test_statement_is_bound_as_a_whole(pooled: FastlaneEngine) -> None:
    """Every field of the scope is a setting of the statement that is run, and its role is the current one."""
    async with pooled.transaction(scope=FULL) as transaction:
        expected = await state_of(transaction.connection)
    rows = await run(pooled, FULL, STATE)
    assert dict(rows[0]) == {name: expected[name] for name in ("role", *SETTINGS)}
    assert rows[0]["role"] == "fastlane_tenant"
    assert rows[0]["tenant_id"] == str(TENANT)


async def test_next_statement_inherits_nothing(pooled: FastlaneEngine) -> None:
    """What the next scope leaves out is unset in it, though the same backend ran for a full one."""
    whoever = "SELECT pg_backend_pid() AS pid"
    before = await run(pooled, FULL, whoever)
    bare = Scope(role=DatabaseRole.platform, actor="operator:p")
    assert await run(pooled, bare, whoever) == before
    state = dict((await run(pooled, bare, STATE))[0])
    assert {name: value for name, value in state.items() if value} == {"role": "fastlane_platform", "actor": bare.actor}


@pytest.mark.parametrize("statement", [STATE, "SELECT 1/0 AS nothing", "SELECT nothing FROM nowhere"])
async def test_nothing_survives(pooled: FastlaneEngine, statement: str) -> None:
    """After a statement, and after one that failed or could not be prepared, its connection is as it was."""
    connection = await pooled.acquire()
    clean = await state_of(connection)
    await pooled.release(connection)
    for _ in range(2):  # Prepared, and kept.
        try:
            await run(pooled, FULL, statement)
        except asyncpg.PostgresError:
            assert statement != STATE
        assert await pooled.acquire() is connection
        assert not connection.is_in_transaction()
        assert await state_of(connection) == clean
        assert clean["role"] == "fastlane_app"
        await pooled.release(connection)


async def test_scope_stays_a_value(pooled: FastlaneEngine, size: int) -> None:
    """Quotes, NUL, separators, unicode or 10 kB in a scope are text to the server; role and tenant stay as they are."""
    for value in HOSTILE + BREAKING_OUT:
        for name in ("actor", "request_id", "ip_address", "user_agent"):
            changed: dict[str, Any] = {name: value}
            row = (await run(pooled, replace(FULL, **changed), STATE))[0]
            said = value.replace("\x00", "").replace(SEPARATOR, " ")
            assert row[name] == said
            others = {key: getattr(FULL, key) for key in SETTINGS[4:] if key != name}
            assert {key: row[key] for key in others} == others
            assert (row["role"], row["tenant_id"]) == ("fastlane_tenant", str(TENANT))
    await assert_whole(pooled, size)


async def test_kept_statement_keeps_no_rights(pooled: FastlaneEngine, clinics: tuple[Clinic, Clinic]) -> None:
    """One kept statement on one backend finds, in turn, each tenant's rows, and all for the platform."""
    statement = "SELECT tenant_id, pg_backend_pid() AS pid FROM rulesets"
    north, south = clinics
    backends = set()
    for _ in range(3):
        for scope, tenants in (
            (scope_of(north), {north.id}),
            (Scope(role=DatabaseRole.platform, actor="operator:p"), {north.id, south.id}),
            (scope_of(south), {south.id}),
            (replace(SCOPE, tenant_id=None), set()),
            (SCOPE, set()),
        ):
            rows = await run(pooled, scope, statement)
            assert {row["tenant_id"] for row in rows} == tenants
            backends |= {row["pid"] for row in rows}
    assert len(backends) == 1


async def test_other_tenants_rows_are_out_of_reach(
    pooled: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A statement neither changes nor deletes a row of another tenant, nor makes one."""
    north, south = clinics
    assert await run(pooled, scope_of(north), RENAME, south.rows["rulesets"]) == []
    remove = "DELETE FROM rulesets WHERE id = $1 RETURNING id"
    assert await run(pooled, scope_of(north), remove, south.rows["rulesets"]) == []
    insert = "INSERT INTO rulesets (tenant_id, payer, procedure, rules_json) VALUES ($1, 'X', 'X', '{}') RETURNING id"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(pooled, scope_of(north), insert, south.id)
    assert len(await run(pooled, scope_of(south), insert, south.id)) == 1
    count = "SELECT count(*) FROM rulesets WHERE tenant_id = $1 AND payer = $2"
    assert [await superuser.fetchval(count, south.id, payer) for payer in ("Cigna", "X")] == [1, 1]


# -- Arguments ---------------------------------------------------------------


async def test_arguments_arrive_as_in_a_transaction(pooled: FastlaneEngine) -> None:
    """An argument of any type is the value, and of the type, that the same statement gets in a transaction."""
    for kind, value in ARGUMENTS:
        statement = f"SELECT $1::{kind} AS value, ($1::{kind} IS NULL)::text AS missing, pg_typeof($1)::text AS kind"
        async with pooled.request(SCOPE) as request:
            expected = await request.fetch(statement, value)
        assert await run(pooled, SCOPE, statement, value) == expected, (kind, value)
        assert expected[0]["missing"] == ("true" if value is None else "false")


async def test_arguments_do_not_run_together(pooled: FastlaneEngine) -> None:
    """Many hostile arguments of one statement arrive each in its place."""
    placeholders = ", ".join(f"${number}::text AS c{number}" for number in range(1, len(TEXTS) + 1))
    rows = await run(pooled, SCOPE, f"SELECT {placeholders}", *TEXTS)
    assert list(rows[0]) == TEXTS


async def test_nul_is_refused_as_in_a_transaction(pooled: FastlaneEngine, size: int) -> None:
    """A NUL in an argument, which no text of PostgreSQL may have, is the same error both ways."""
    statement = "SELECT $1::text AS value"
    for value in ("\x00", "a\x00', 'b"):
        async with pooled.request(SCOPE) as request:
            with pytest.raises(asyncpg.PostgresError) as expected:
                await request.fetch(statement, value)
            await request.rollback()
        with pytest.raises(type(expected.value)):
            await run(pooled, SCOPE, statement, value)
    await assert_whole(pooled, size)


# -- What is kept ------------------------------------------------------------


async def test_write_is_committed(
    pooled: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A write is there for all when its rows have come, though the request fails after it."""
    row_id = clinics[0].rows["rulesets"]

    async def block(request: RequestTransaction) -> None:
        assert [row["id"] for row in await request.run(RENAME, row_id)] == [row_id]
        assert await _payer(superuser, row_id) == "Changed"
        raise ZeroDivisionError

    await _fails(pooled, scope_of(clinics[0]), ZeroDivisionError, block)
    assert await _payer(superuser, row_id) == "Changed"


async def test_failing_write_is_not_kept(
    pooled: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """A statement that fails after it has written keeps nothing of it, neither the row nor its trail."""
    row_id = clinics[0].rows["rulesets"]
    entries = await superuser.fetchval("SELECT count(*) FROM audit_logs")
    statement = f"WITH changed AS ({RENAME}) SELECT 1 / (count(*) - 1) AS nothing FROM changed"
    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await run(pooled, scope_of(clinics[0]), statement, row_id)
    assert await _payer(superuser, row_id) == "Cigna"
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs") == entries


async def test_run_is_part_of_a_begun_transaction(
    pooled: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """After a statement that began the request's transaction, a write by run is undone with it."""
    row_id = clinics[0].rows["rulesets"]

    async def block(request: RequestTransaction) -> None:
        before = await request.fetch("SELECT pg_backend_pid() AS pid")
        assert await request.run("SELECT pg_backend_pid() AS pid") == before
        assert await request.run(RENAME, row_id)
        assert await _payer(superuser, row_id) == "Cigna"
        raise ZeroDivisionError

    await _fails(pooled, scope_of(clinics[0]), ZeroDivisionError, block)
    assert await _payer(superuser, row_id) == "Cigna"


@pytest.mark.needs("pgbouncer")
async def test_behind_a_pooler_it_is_a_transaction(
    database: TestDatabase,
    clinics: tuple[Clinic, Clinic],
    engine: FastlaneEngine,
    settings: Settings,
    tmp_path: Path,
) -> None:
    """Where no statement can be kept, run begins the request's transaction, and is bound and committed as such."""
    async with pgbouncer(database, tmp_path, pool_size=1) as url:
        engine.databases = Databases(Settings.model_validate({**settings.model_dump(), "database_url": url}))
        await engine.start_connection_pool()
        try:
            assert not engine.keeps_statements
            for clinic in clinics * 5:
                async with engine.request(scope_of(clinic)) as request:
                    assert await request.run(RENAME, clinic.rows["rulesets"])
                    assert request.connection.is_in_transaction()
                    rows = await request.run("SELECT tenant_id, payer FROM rulesets")
                assert [tuple(row) for row in rows] == [(clinic.id, "Changed")]
        finally:
            await engine.close_connection_pool()


async def _payer(superuser: asyncpg.Connection, row_id: UUID) -> str:
    return str(await superuser.fetchval("SELECT payer FROM rulesets WHERE id = $1", row_id))


async def _fails(
    engine: FastlaneEngine,
    scope: Scope,
    expected: type[Exception],
    block: Callable[[RequestTransaction], Awaitable[None]],
) -> None:
    with pytest.raises(expected):
        async with engine.request(scope) as request:
            await block(request)
