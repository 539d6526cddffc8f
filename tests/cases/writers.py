"""Everybody who can write, by every way there is: the API, the admin, SQL."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.operators import fill_form, operator

Values = Mapping[str, Any]
PEOPLE = ("staff", "clinician", "admin")
# The owner is bound by FORCE like anybody, and sees no row of a tenant unless a migration lifts it.
EVERYBODY = (
    *(("api", who) for who in PEOPLE),
    *(("admin", who) for who in (*PEOPLE, "platform")),
    *(("sql", who) for who in (*PEOPLE, "platform", "owner", "superuser")),
)


@dataclass(frozen=True, slots=True)
class Writer(ABC):
    """Somebody of the clinic, or above it. What writing comes to is `ok`, or the status and the fields to blame, such
    as `409 status`."""

    way: str
    who: str
    clinic: Clinic

    @abstractmethod
    async def change(self, table: str, row: UUID, values: Values) -> str:
        """Changes these columns of the row."""

    @abstractmethod
    async def create(self, table: str, values: Values) -> str:
        """Creates a row, valid but for these values."""


@dataclass(frozen=True, slots=True)
class HttpWriter(Writer):
    """A user of the API, or an operator in the admin."""

    client: httpx.AsyncClient

    async def change(self, table: str, row: UUID, values: Values) -> str:
        return _answered(await self._send("PATCH", f"{table}/{row}/", values))

    async def create(self, table: str, values: Values) -> str:
        body = self.clinic.body(table, **values)
        if self.way == "admin":
            if self.who == "platform":
                body |= {"tenant_id": str(self.clinic.id)}
                body |= {"created_by": str(self.clinic.users[Role.admin])} if table == "cases" else {}
            body = await fill_form(self.client, table, body)
        return _answered(await self._send("POST", f"{table}/", body))

    async def _send(self, method: str, path: str, body: Values) -> httpx.Response:
        if self.way == "admin":
            return await self.client.request(method, f"/api/tables/{path}", json=body)
        return await self.client.request(method, f"/api/{path}", json=body, headers=self.clinic.headers(Role(self.who)))


@dataclass(frozen=True, slots=True)
class SqlWriter(Writer):
    """SQL as the tenant's role, the platform's, the tables' owner or a superuser. What the last two do is undone."""

    engine: FastlaneEngine
    connection: asyncpg.Connection | None

    async def change(self, table: str, row: UUID, values: Values) -> str:
        columns = ", ".join(values)
        return await self._run(
            f"UPDATE {table} SET ({columns}) = (SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb)) "
            "WHERE id = $2 RETURNING id",
            json.dumps(values, default=str),
            row,
        )

    async def create(self, table: str, values: Values) -> str:
        body = {"priority": "normal"} if table in ("cases", "tasks") else {}
        body |= {"status": "pending"} | self.clinic.body(table, **values) | {"tenant_id": str(self.clinic.id)}
        if table == "cases" and self.who not in PEOPLE:
            body["created_by"] = str(self.clinic.users[Role.admin])
        columns = ", ".join(body)
        return await self._run(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, $1::jsonb) "
            "RETURNING id",
            json.dumps(body, default=str),
        )

    async def _run(self, statement: str, *arguments: Any) -> str:
        try:
            rows = await self._fetch(statement, *arguments)
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            if not state.startswith("FL"):
                raise
            return " ".join(filter(None, (state[2:], error.column_name)))
        assert len(rows) == 1
        return "ok"

    async def _fetch(self, statement: str, *arguments: Any) -> list[Any]:
        if self.connection is not None:
            undone = self.connection.transaction()
            await undone.start()
            try:
                if self.who == "owner":
                    for table in ("cases", "ingestions", "tasks"):
                        await self.connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
                rows: list[Any] = await self.connection.fetch(statement, *arguments)
            finally:
                await undone.rollback()
            return rows
        scope = Scope(DatabaseRole.platform, actor="test")
        if self.who in PEOPLE:
            role = Role(self.who)
            scope = Scope(DatabaseRole.tenant, "test", self.clinic.id, self.clinic.users[role], role)
        async with self.engine.transaction(scope=scope) as transaction:
            return await transaction.fetch(statement, *arguments)


def _answered(answer: httpx.Response) -> str:
    if answer.is_success:
        return "ok"
    fields = sorted({error["field"] for error in answer.json().get("errors", [])})
    return " ".join((str(answer.status_code), *fields))


@asynccontextmanager
async def writers(running: Running, clinic: Clinic, database: TestDatabase) -> AsyncIterator[list[Writer]]:
    """All of `EVERYBODY`, in that order. The clinic is north: operators act for its users."""
    async with AsyncExitStack() as stack:
        found: list[Writer] = []
        for way, who in EVERYBODY:
            if way == "api":
                found.append(HttpWriter(way, who, clinic, running.client))
            elif way == "admin":
                role = Role(who) if who in PEOPLE else None
                client = await stack.enter_async_context(operator(running.url, role))
                found.append(HttpWriter(way, who, clinic, client))
            else:
                url = {"owner": database.owner, "superuser": database.superuser}.get(who)
                connection = await asyncpg.connect(url) if url else None
                if connection is not None:
                    stack.push_async_callback(connection.close)
                found.append(SqlWriter(way, who, clinic, running.engine, connection))
        yield found
