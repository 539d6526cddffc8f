"""The floor: what a careful handler costs that does nothing but bind, ask and answer.

A Litestar route with asyncpg: the tenant is taken from a header, bound under row-level security with
BEGIN in one message, PostgreSQL builds the JSON, the trail is written by hand, with views and the log of lists. Three
round trips.
"""

import os
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import uvicorn
from litestar import Litestar, Request, Response, get, patch, post
from litestar.datastructures import State

SQL = Path(__file__).parents[1] / "sql"
ONE, LIST, INCLUDED, CREATE, UPDATE = (
    (SQL / f"floor_{name}.sql").read_text(encoding="utf-8") for name in ("one", "list", "included", "create", "update")
)
COUNT = "SELECT count(*) FROM cases WHERE status = $1"

AnyRequest = Request[Any, Any, State]


class Bound:
    """A pooled connection in a transaction of the tenant that the headers name."""

    def __init__(self, request: AnyRequest, *, waits_for_disk: bool = True) -> None:
        self._pool: asyncpg.Pool = request.app.state.pool
        self.tenant = uuid.UUID(request.headers["x-tenant-id"])
        self.user = uuid.UUID(request.headers["x-user-id"])
        self._more = "" if waits_for_disk else ",set_config('synchronous_commit','off',true)"
        self.about = ("127.0.0.1", request.headers.get("user-agent", ""), str(uuid.uuid4()))

    async def __aenter__(self) -> Any:
        self._connection = await self._pool.acquire()
        await self._connection.execute(
            "BEGIN;SELECT set_config('role','fastlane_tenant',true),"
            f"set_config('app.tenant_id','{self.tenant}',true){self._more}"
        )
        return self._connection

    async def __aexit__(self, failed: object, *_: object) -> None:
        await self._connection.execute("ROLLBACK" if failed else "COMMIT")
        await self._pool.release(self._connection)


def answer(body: str, status: int = 200) -> Response[bytes]:
    """JSON that PostgreSQL has built."""
    return Response(body.encode(), status_code=status, media_type="application/json")


@get("/api/cases/{case_id:uuid}")
async def one(request: AnyRequest, case_id: uuid.UUID) -> Response[bytes]:
    """W1 and W6. As with ours, a look may be lost with the machine: nobody waits for the disk."""
    statement = INCLUDED if "__include" in request.query_params else ONE
    bound = Bound(request, waits_for_disk=False)
    async with bound as connection:
        body = await connection.fetchval(statement, bound.tenant, bound.user, case_id, *bound.about)
    return answer(body or "null", 200 if body else 404)


@get("/api/cases")
async def many(request: AnyRequest, status: str) -> Response[bytes]:
    """W2, and W3 with its total."""
    total = ""
    bound = Bound(request, waits_for_disk=False)
    async with bound as connection:
        if "__total" in request.query_params:
            total = f',"total":{await connection.fetchval(COUNT, status)}'
        body = await connection.fetchval(LIST, bound.tenant, bound.user, status, *bound.about)
    return answer(f"{body}{total}}}")


@post("/api/cases")
async def create(request: AnyRequest) -> Response[bytes]:
    """W4."""
    case = orjson.loads(await request.body())
    documents = (orjson.dumps(case[name]).decode() for name in ("confidence_json", "extracted_data"))
    values = (case["member_id_hash"], case["payer"], case["priority"], case["diagnosis_codes"], *documents)
    bound = Bound(request)
    async with bound as connection:
        body = await connection.fetchval(CREATE, bound.tenant, bound.user, *values, *bound.about)
    return answer(body, 201)


@patch("/api/cases/{case_id:uuid}")
async def update(request: AnyRequest, case_id: uuid.UUID) -> Response[bytes]:
    """W5."""
    status = orjson.loads(await request.body())["status"]
    bound = Bound(request)
    async with bound as connection:
        body = await connection.fetchval(UPDATE, bound.tenant, bound.user, case_id, status, *bound.about)
    return answer(body or "null", 200 if body else 404)


async def nothing_to_reset(connection: Any) -> None:
    """Every setting is the transaction's: no round trip more when a connection goes back."""


async def open_pool(app: Litestar) -> None:
    """As many connections as everybody has."""
    size = int(os.environ["POOL_SIZE"])
    app.state.pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=size, max_size=size, reset=nothing_to_reset
    )


app = Litestar([one, many, create, update], on_startup=[open_pool], openapi_config=None, logging_config=None)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="warning")
