"""PiccoloCRUD as it comes, in Litestar: no tenants, no row-level security, no trail.

One process on 127.0.0.1:PORT, with POOL_SIZE connections to DATABASE_URL. The table has the columns of `cases`, and
nothing of PiccoloCRUD is changed: its filters, its JSON columns as strings, its answers.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvicorn
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
from piccolo.columns import JSONB, UUID, Array, Date, Integer, Text, Timestamptz, Varchar
from piccolo.engine.postgres import PostgresEngine
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD

POOL_SIZE = int(os.environ["POOL_SIZE"])
DB = PostgresEngine(config={"dsn": os.environ["DATABASE_URL"]})


class Case(Table, tablename="cases", db=DB):
    """A request for prior authorization, in a table that this program did not make."""

    id = UUID(primary_key=True)
    tenant_id = UUID(default=None, required=True)
    ingestion_id = UUID(null=True, default=None)
    created_by = UUID(default=None, required=True)
    member_id_hash = Varchar(length=255, required=True)
    payer = Varchar(length=255, required=True)
    status = Varchar(length=50, default="pending")
    priority = Varchar(length=50, default="normal")
    diagnosis_codes = Array(Varchar(length=20), default=list)
    confidence_json = JSONB(required=True)
    extracted_data = JSONB(required=True)
    metadata_json = JSONB(null=True, default=None)
    unknown_codes = Array(Varchar(length=20), null=True, default=None)
    previous_case_id = UUID(null=True, default=None)
    follow_up = Text(null=True, default=None)
    submitted_at = Timestamptz(null=True, default=None)
    decision_due_at = Timestamptz(null=True, default=None)
    due_ruleset_id = UUID(null=True, default=None)
    due_ruleset_version = Integer(null=True, default=None)
    extended_until = Timestamptz(null=True, default=None)
    extension_reason = Text(null=True, default=None)
    paused_at = Timestamptz(null=True, default=None)
    paused_seconds = Integer(default=0)
    decided_at = Timestamptz(null=True, default=None)
    decided_by = UUID(null=True, default=None)
    denial_reason = Text(null=True, default=None)
    authorization_number = Text(null=True, default=None)
    valid_from = Date(null=True, default=None)
    valid_until = Date(null=True, default=None)
    approved_units = Integer(null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz(auto_update=lambda: datetime.now(UTC))


crud = PiccoloCRUD(table=Case, read_only=False, page_size=20)


@asgi("/api/cases/", is_mount=True, copy_scope=True)
async def cases(scope: Scope, receive: Receive, send: Send) -> None:
    """Everything below this path is PiccoloCRUD's."""
    await crud(scope, receive, send)


@asynccontextmanager
async def pool(_: Litestar) -> AsyncIterator[None]:
    """Connections for as long as the application runs."""
    await DB.start_connection_pool(min_size=POOL_SIZE, max_size=POOL_SIZE)
    try:
        yield
    finally:
        await DB.close_connection_pool()


app = Litestar(route_handlers=[cases], lifespan=[pool])


if __name__ == "__main__":
    # Uvicorn stops gracefully and then raises the signal again, for this handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
