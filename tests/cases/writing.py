"""Every way to write a row of a case: the API's, the admin's, and SQL as the roles that a client's request acts as."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from tenancy.tables import Role
from tests.clinics import Clinic
from tests.operators import fill_form, operator

CSV = {"content-type": "text/csv"}
OVER_HTTP = ("post", "put", "patch", "list", "csv", "filter")
BELOW = ("admin's post", "admin's patch", "sql insert", "sql update", "owner's insert")
WAYS = (*OVER_HTTP, *BELOW)
AS_TENANT = """
SELECT set_config('app.tenant_id', $1, true), set_config('app.user_id', $2, true),
       set_config('app.user_role', 'admin', true), set_config('role', 'fastlane_tenant', true)
"""
RECORD = """
INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{table}, $1) RETURNING to_jsonb({table})
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was said: the fields that are to blame, and all of it."""

    fields: list[str]
    text: str


@dataclass
class Writer:
    """Writes rows of a clinic, each way."""

    api: httpx.AsyncClient
    admin: httpx.AsyncClient
    superuser: asyncpg.Connection
    clinic: Clinic

    async def write(self, way: str, table: str, **changes: Any) -> dict[str, Any] | Refused:
        """A new row with these values, or the clinic's own row changed to them: as it is stored."""
        if way in OVER_HTTP:
            return await self._over_http(way, table, changes)
        if way.startswith("admin's"):
            return await self._in_the_admin(way, table, changes)
        return await self._in_sql(way, table, changes)

    async def _over_http(self, way: str, table: str, changes: dict[str, Any]) -> dict[str, Any] | Refused:
        headers, body = self.clinic.headers(), self.clinic.body(table, **changes)
        path = f"/api/{table}/"
        row = f"{path}{self.clinic.rows[table]}/"
        match way:
            case "post":
                answer = await self.api.post(path, headers=headers, json=body)
            case "put":
                answer = await self.api.put(row, headers=headers, json=body)
            case "patch":
                answer = await self.api.patch(row, headers=headers, json=changes)
            case "list":
                answer = await self.api.post(path, headers=headers, json=[body])
            case "csv":
                answer = await self.api.post(path, headers=headers | CSV, content=as_csv(body))
            case _:
                query = {"id": str(self.clinic.rows[table])}
                answer = await self.api.patch(path, headers=headers, params=query, json=changes)
        return outcome(answer)

    async def _in_the_admin(self, way: str, table: str, changes: dict[str, Any]) -> dict[str, Any] | Refused:
        path = f"/api/tables/{table}/"
        if way == "admin's post":
            answer = await self.admin.post(
                path, json=await fill_form(self.admin, table, self.clinic.body(table, **changes))
            )
            row_id = answer.json()[0]["id"] if answer.is_success else None
        else:
            row_id = self.clinic.rows[table]
            answer = await self.admin.patch(f"{path}{row_id}/", json=texts(changes))
        return outcome(answer) if row_id is None or not answer.is_success else await self.stored(table, row_id)

    async def _in_sql(self, way: str, table: str, changes: dict[str, Any]) -> dict[str, Any] | Refused:
        body = self.clinic.body(table, **changes)
        try:
            async with self.superuser.transaction():
                if way == "owner's insert":
                    body |= {"tenant_id": str(self.clinic.id), "created_by": str(self.clinic.users[Role.admin])}
                    await self.superuser.execute("SET LOCAL ROLE fastlane_owner")
                    setting = "SELECT set_config('app.tenant_id', $1, true)"
                    await self.superuser.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
                    await self.superuser.fetch(setting, str(self.clinic.id))
                else:
                    await self.superuser.fetch(AS_TENANT, str(self.clinic.id), str(self.clinic.users[Role.admin]))
                if way == "sql update":
                    names = ", ".join(f"{name} = r.{name}" for name in changes)
                    statement = f"""UPDATE {table} SET {names} FROM jsonb_populate_record(NULL::{table}, $1) AS r
                                     WHERE {table}.id = $2 RETURNING to_jsonb({table})"""
                    row = await self.superuser.fetchval(statement, json.dumps(changes), self.clinic.rows[table])
                else:
                    names = ", ".join(name for name in body if name != "created_by" or table == "cases")
                    row = await self.superuser.fetchval(RECORD.format(table=table, names=names), json.dumps(body))
        except asyncpg.PostgresError as error:
            if error.sqlstate != "FL422":
                raise
            return Refused([error.column_name], str(error))
        found: dict[str, Any] = json.loads(row)
        return found

    async def stored(self, table: str, row_id: object) -> dict[str, Any]:
        """The row as it is."""
        query = f"SELECT to_jsonb(t) FROM {table} t WHERE id = $1"
        found: dict[str, Any] = json.loads(await self.superuser.fetchval(query, str(row_id)))
        return found


@asynccontextmanager
async def writer(client: httpx.AsyncClient, superuser: asyncpg.Connection, clinic: Clinic) -> AsyncIterator[Writer]:
    """For a clinic, with an operator's session in the admin."""
    url = str(client.base_url).rstrip("/")
    async with operator(url) as admin:
        yield Writer(client, admin, superuser, clinic)


def outcome(answer: httpx.Response) -> dict[str, Any] | Refused:
    """The row, or what was said; anything but a 422 is no refusal of a value."""
    body = answer.json()
    if not answer.is_success:
        assert (answer.status_code, "errors" in body) == (422, True), answer.text
        return Refused([error["field"] for error in body["errors"]], answer.text)
    found: dict[str, Any] = body["rows"][0] if "rows" in body else body
    return found


def texts(values: dict[str, Any]) -> dict[str, Any]:
    """As the admin's page sends them: documents as texts."""
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}


def as_csv(body: dict[str, Any]) -> str:
    """A header, and the row."""
    cells = [value if isinstance(value, str) else json.dumps(value) for value in body.values()]
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
    return f"{','.join(body)}\r\n{quoted}\r\n"
