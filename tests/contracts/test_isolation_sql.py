"""The boundary below the API: what the database itself refuses, whoever asks it, and what a pool must not mix up."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from piccolo.columns import ForeignKey
from piccolo.conf.apps import Finder

from tenancy.context import DatabaseRole, Scope
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running, serve
from tests.contracts.matrix import REGISTERED, Pair, key_columns, leaks, target_of

REQUESTS = 500
CROWD = 20  # In flight at once: so many are served within the time that one may wait for a connection.
UNBOUND = (
    "SELECT FROM {table}",
    "SELECT count(*) FROM {table}",
    "INSERT INTO {table} DEFAULT VALUES",
    "UPDATE {table} SET id = id",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "SELECT FROM {table} FOR UPDATE",
    "COPY {table} TO STDOUT",
)
every_table = pytest.mark.parametrize("table", REGISTERED)
# A copy of a row under a new key, with some of its columns changed; the database computes the others anew.
COPY = """
INSERT INTO {table} ({columns}) SELECT {columns}
  FROM (SELECT (jsonb_populate_record(t, $1::text::jsonb)).* FROM {table} t WHERE id = $2) AS copy
"""


def registered_tables() -> list[str]:
    """Tenant tables and platform tables alike."""
    apps = Finder().get_app_registry().app_configs.values()
    return [table._meta.tablename for app in apps for table in app.table_classes]


def tenant_of(table: str) -> str:
    """The column that names a row's tenant."""
    return "id" if table == "tenants" else "tenant_id"


def scope_of(clinic: Clinic, role: Role = Role.admin) -> Scope:
    """What a request of the clinic's user is bound to."""
    user = clinic.users[role]
    return Scope(DatabaseRole.tenant, f"user:{user}", tenant_id=clinic.id, user_id=user, user_role=role)


async def attempt(connection: Any, statement: str, *arguments: Any) -> str:
    """The statement's status, in a savepoint that is rolled back. Raises what the database raises."""
    await connection.execute("SAVEPOINT attempt")
    try:
        return str(await connection.execute(statement, *arguments))
    finally:
        await connection.execute("ROLLBACK TO attempt")


@pytest.mark.parametrize("table", registered_tables())
async def test_unbound_is_denied(clinics: tuple[Clinic, Clinic], database: TestDatabase, table: str) -> None:
    """As the app's login role outside of a bound request, each table is "permission denied", to reading and writing.

    Naming a tenant without becoming its role changes nothing about that.
    """
    connection = await asyncpg.connect(database.app)
    async with connection.transaction():
        for setting in ("", str(clinics[0].id)):
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", setting)
            for statement in UNBOUND:
                with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
                    await attempt(connection, statement.format(table=table))
    await connection.close()


async def test_login_role_becomes_the_acting_roles_only(database: TestDatabase) -> None:
    """The login role may become the roles of `DatabaseRole` and no other: not the owner, not a definer's role."""
    connection = await asyncpg.connect(database.app)
    names = [row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles ORDER BY 1")]
    allowed = {role.value for role in DatabaseRole} | {"fastlane_app"}
    assert allowed | {"fastlane_owner", "fastlane_auditor", "fastlane_identity"} <= set(names)
    async with connection.transaction():
        for name in names:
            if name in allowed:
                await attempt(connection, f'SET LOCAL ROLE "{name}"')
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await attempt(connection, f'SET LOCAL ROLE "{name}"')
    await connection.close()


@every_table
async def test_bound_sees_its_tenant(
    clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, superuser: asyncpg.Connection, table: str
) -> None:
    """A bound transaction sees all rows of its tenant and none of another; with no tenant it sees nothing."""
    key = tenant_of(table)
    for clinic in clinics:
        stored = await superuser.fetchval(f"SELECT count(*) FROM {table} WHERE {key} = $1", clinic.id)
        async with engine.transaction(scope=scope_of(clinic)) as transaction:
            rows = await transaction.connection.fetch(f"SELECT {key} AS tenant FROM {table}")
        assert [row["tenant"] for row in rows] == [clinic.id] * stored
        assert stored > 0
    async with engine.transaction(scope=Scope(DatabaseRole.tenant, "nobody")) as transaction:
        assert await transaction.connection.fetch(f"SELECT FROM {table}") == []


async def can(connection: Any, table: str, privilege: str) -> bool:
    """Whether the current role has the privilege on the table or on a column of it."""
    return bool(await connection.fetchval("SELECT has_any_column_privilege($1, $2)", table, privilege))


@every_table
async def test_bound_changes_no_foreign_row(clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, table: str) -> None:
    """In a bound transaction an update or delete by a foreign key meets no row, where it is granted at all."""
    own, other = clinics
    column = "name" if table == "tenants" else "id"
    async with engine.transaction(scope=scope_of(own)) as transaction:
        connection = transaction.connection
        may_delete = await connection.fetchval("SELECT has_table_privilege($1, 'DELETE')", table)
        for privilege, granted, statement in (
            ("UPDATE", await can(connection, table, "UPDATE"), f"UPDATE {table} SET {column} = {column} WHERE id = $1"),
            ("DELETE", may_delete, f"DELETE FROM {table} WHERE id = $1"),
        ):
            if granted:
                assert await attempt(connection, statement, other.rows[table]) == f"{privilege} 0"
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await attempt(connection, statement, other.rows[table])


def columns_of(table: str) -> str:
    """The columns that can be written."""
    return ", ".join(column._meta.db_column_name for column in REGISTERED[table]._meta.columns)


def copy_statement(table: str) -> str:
    return COPY.format(table=table, columns=columns_of(table))


def copied(row: UUID, **changes: object) -> tuple[str, UUID]:
    """The arguments of `COPY`."""
    return json.dumps({"id": uuid4(), "auth_id": None, **changes}, default=str), row


@every_table
async def test_bound_inserts_for_nobody_else(
    clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, table: str
) -> None:
    """No row can be inserted for another tenant, nor any while no tenant is bound, be it as an upsert."""
    own, other = clinics
    statement = copy_statement(table)
    upsert = f"{statement} ON CONFLICT (id) DO UPDATE SET id = excluded.id"
    async with engine.transaction(scope=scope_of(own)) as transaction:
        foreign = copied(own.rows[table], tenant_id=other.id)
        for insert in (statement, upsert):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attempt(transaction.connection, insert, *foreign)
        taken = copied(own.rows[table], id=other.rows[table], email="taken@example.com")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt(transaction.connection, upsert, *taken)
    values = json.dumps({"id": str(uuid4()), "tenant_id": str(own.id), "status": "pending"})
    columns = columns_of(table)
    record = f"SELECT (jsonb_populate_record(NULL::{table}, $1::text::jsonb)).*"
    insert = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({record}) AS record"
    async with engine.transaction(scope=Scope(DatabaseRole.tenant, "nobody")) as transaction:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attempt(transaction.connection, insert, values)


# What a task says besides of the ruleset that it points to.
REQUIREMENT: dict[str, Any] = {"ruleset_version": 1, "requirement_kind": "document", "requirement": "Notes"}


@every_table
async def test_no_row_points_abroad(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, table: str) -> None:
    """A reference into another tenant is refused by the key itself, to a superuser too; one at home is not."""
    own, other = clinics
    statement = copy_statement(table)
    # Triggers overrule who chooses what is the database's.
    await superuser.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    for column in key_columns(table):
        name, target = column._meta.name, target_of(table, column)
        if not isinstance(column, ForeignKey) or target == "tenants":
            continue
        asked = (
            {"ruleset_version": 1, "requirement_kind": "document", "requirement": "x"} if name == "ruleset_id" else {}
        )
        async with superuser.transaction():
            at_home = copied(own.rows[table], **{name: own.rows[target]}, **asked)
            assert await attempt(superuser, statement, *at_home) == "INSERT 0 1"
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                await attempt(superuser, statement, *copied(own.rows[table], **{name: other.rows[target]}, **asked))


async def test_nothing_outlives_a_transaction(
    clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, database: TestDatabase, tmp_path: Path
) -> None:
    """After COMMIT, and after ROLLBACK, a connection has neither tenant nor role of the request before."""
    engine.databases = Databases(database.settings(tmp_path, pool_max_size=1))
    await engine.start_connection_pool()
    look = "SELECT session_user = current_user AS login, coalesce(current_setting('app.tenant_id', true), '') AS tenant"
    try:
        for clinic in clinics:
            for statement in ("SELECT 1", "SELECT 1/0"):
                try:
                    async with engine.transaction(scope=scope_of(clinic)) as transaction:
                        await transaction.connection.execute(statement)
                except asyncpg.DivisionByZeroError:
                    pass
                connection = await engine.acquire()
                assert dict(await connection.fetchrow(look)) == {"login": True, "tenant": ""}
                await engine.release(connection)
    finally:
        await engine.close_connection_pool()


def request_of(number: int, own: Clinic, foreign: UUID) -> tuple[int, str, str, dict[str, Any] | None]:
    """One of seven kinds of request: the status that it must have, method, path and body."""
    case = own.rows["cases"]
    return [
        (200, "GET", "/api/cases/?__readable=true", None),
        (404, "GET", f"/api/cases/{foreign}/", None),
        (200, "PATCH", f"/api/cases/{case}/", {"payer": own.slug}),
        (404, "PATCH", f"/api/cases/{foreign}/", {"payer": own.slug}),
        (201, "POST", "/api/tasks/", own.body("tasks", title=own.slug)),
        (422, "POST", "/api/tasks/", own.body("tasks", case_id=str(foreign))),
        (200, "GET", "/api/me/", None),
    ][number // 2 % 7]


async def interleave(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> list[tuple[int, httpx.Response]]:
    """Sends all requests, both tenants in turn, and pairs each answer with the status that it must have."""
    crowd = asyncio.Semaphore(CROWD)

    async def ask(number: int) -> tuple[int, httpx.Response]:
        own, other = clinics[number % 2], clinics[1 - number % 2]
        status, method, path, body = request_of(number, own, other.rows["cases"])
        async with crowd:
            headers = own.headers(list(Role)[number % 3])
            return status, await client.request(method, path, headers=headers, json=body)

    return await asyncio.gather(*(ask(number) for number in range(REQUESTS)))


async def test_interleaved_requests_over_two_connections(
    clinics: tuple[Clinic, Clinic], database: TestDatabase, superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """500 interleaved requests of both tenants over two connections: each is answered, none with a foreign row."""
    async for running in serve(database.settings(tmp_path, pool_max_size=2)):
        pair = Pair(running.client, superuser, *clinics)
        answers = await interleave(running.client, clinics)
        assert_two_connections(running)
    marks = [await pair.marks_of(clinic) for clinic in clinics]
    for number, (expected, answer) in enumerate(answers):
        assert answer.status_code == expected, f"{number}: {answer.text}"
        own, other = clinics[number % 2], clinics[1 - number % 2]
        shown = leaks(answer, marks[1 - number % 2])
        if expected == 404:
            shown = [mark for mark in shown if mark != str(other.rows["cases"])]  # The path that was asked for.
        assert shown == [], f"{number}: {answer.text}"
        if expected < 300:
            assert own.slug in answer.text, f"{number}: {answer.text}"


def assert_two_connections(running: Running) -> None:
    """The pool had two connections, used both, and has both back."""
    pool = running.engine.pool
    assert pool is not None
    assert pool.get_max_size() == pool.get_size() == pool.get_idle_size() == 2
