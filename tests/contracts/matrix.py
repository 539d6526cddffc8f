"""What the isolation matrix is made of: every call, two tenants, and what must never be seen."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from piccolo import columns
from piccolo.columns import Column, ForeignKey

from tenancy.catalog import served_tables
from tenancy.permissions import PERMISSIONS, Operation, is_allowed
from tenancy.tables import Role
from tests.clinics import RECORDED_LOOKS, TABLES, Clinic

Body = dict[str, Any] | bytes | None


@dataclass(frozen=True, slots=True)
class Call:
    """A verb on a path below `/api/{table}/`; a path of None is the row's."""

    method: str
    path: str | None
    operation: Operation
    success: int = 200

    def __str__(self) -> str:
        return f"{self.method} {'{id}/' if self.path is None else self.path}"


COLLECTION_CALLS = (
    *(Call(method, "", Operation.read) for method in ("GET", "HEAD")),
    *(
        Call(method, f"{name}/", Operation.read)
        for name in ("ids", "count", "new", "schema", "references")
        for method in ("GET", "HEAD")
    ),
    Call("POST", "", Operation.create, 201),
)
ROW_CALLS = (
    Call("GET", None, Operation.read),
    Call("HEAD", None, Operation.read),
    Call("PUT", None, Operation.update),
    Call("PATCH", None, Operation.update),
    Call("DELETE", None, Operation.delete, 204),
)
BULK_PATCH = Call("PATCH", "?id={row}", Operation.update)
# After the row's own DELETE: what is gone is no failure to a filter that finds nothing.
BULK_DELETE = Call("DELETE", "?id={row}", Operation.delete, 204)
CALLS = (*COLLECTION_CALLS, BULK_PATCH, *ROW_CALLS, BULK_DELETE)
WRITES = tuple(call for call in CALLS if call.method in ("POST", "PUT", "PATCH"))
CELLS = list(PERMISSIONS)
REGISTERED = {table._meta.tablename: table for table in served_tables()}


def name_of(value: object) -> str:
    """How a parameter is called in a test's name."""
    return value.value if isinstance(value, Role) else str(value)


def calls(role: Role, table: str, *, allowed: bool) -> Iterator[Call]:
    """The calls that the permission table allows, or those that it does not."""
    return (call for call in CALLS if is_allowed(role, table, call.operation) is allowed)


@dataclass
class Pair:
    """Two clinics behind one app. The client acts as somebody of `own`."""

    client: httpx.AsyncClient
    superuser: asyncpg.Connection
    own: Clinic
    other: Clinic

    def valid_body(self, table: str, method: str) -> Body:
        """A body that the call accepts from whoever may make it; no two claim the same email."""
        if method not in ("POST", "PUT", "PATCH"):
            return None
        changes = {"email": f"{method.lower()}@example.com"} if table == "users" else {}
        return self.own.body(table, **changes)

    async def send(
        self, call: Call, table: str, row: UUID, headers: dict[str, str], body: Body = None
    ) -> httpx.Response:
        """Makes the call on a row, or on the table."""
        path = f"/api/{table}/" + (f"{row}/" if call.path is None else call.path.format(row=row))
        if isinstance(body, bytes):
            return await self.client.request(call.method, path, headers=headers, content=body)
        return await self.client.request(call.method, path, headers=headers, json=body)

    async def ids(self, clinic: Clinic, table: str) -> set[str]:
        """The keys of all rows of the clinic, as nothing confined sees them."""
        key = "id" if table == "tenants" else "tenant_id"
        rows = await self.superuser.fetch(f"SELECT id FROM {table} WHERE {key} = $1", clinic.id)
        return {str(row["id"]) for row in rows}

    async def snapshot(self, clinic: Clinic) -> dict[str, list[str]]:
        """Every row of the clinic in full, by table, but for those that come by looking."""
        found = {}
        for table in TABLES:
            key = "id" if table == "tenants" else "tenant_id"
            looks = RECORDED_LOOKS.get(table, "false")
            rows = await self.superuser.fetch(
                f"SELECT t::text AS row, {looks} AS is_look FROM {table} t WHERE {key} = $1 ORDER BY 1", clinic.id
            )
            assert rows, f"{clinic.slug} has no {table}: nothing could leak"
            found[table] = [row["row"] for row in rows if not row["is_look"]]
        return found

    async def marks_of(self, clinic: Clinic) -> set[str]:
        """What gives the clinic away: each key of each row, and the word that all its texts hold."""
        keys = [await self.ids(clinic, table) for table in TABLES]
        return {clinic.slug, clinic.slug.title()}.union(*keys)


def leaks(response: httpx.Response, marks: set[str]) -> list[str]:
    """The marks that an answer shows, in its body or a header."""
    text = response.text + str(response.headers)
    return [mark for mark in marks if mark in text]


def said(response: httpx.Response) -> tuple[int, dict[str, str], Any]:
    """All of an answer but what names the request itself: two that say the same are equal."""
    headers = {name: value for name, value in response.headers.items() if name not in ("date", "x-request-id")}
    try:
        body = response.json()
    except ValueError:
        body = response.text
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ("instance", "request_id")}
    return response.status_code, headers, body


@asynccontextmanager
async def unchanged(pair: Pair, *watched: Clinic) -> AsyncIterator[None]:
    """Fails when a row of the clinics has changed, come or gone between its two steps."""
    before = [await pair.snapshot(clinic) for clinic in watched]
    yield
    assert [await pair.snapshot(clinic) for clinic in watched] == before


def key_columns(table: str) -> list[Column]:
    """The columns that hold a key: the row's own, the tenant's, another row's."""
    return [column for column in REGISTERED[table]._meta.columns if isinstance(column, columns.UUID | ForeignKey)]


def target_of(table: str, column: Column) -> str:
    """The table whose key the column holds."""
    if isinstance(column, ForeignKey):
        return column._foreign_key_meta.resolved_references._meta.tablename
    return table
