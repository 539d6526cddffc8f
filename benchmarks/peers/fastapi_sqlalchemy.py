"""FastAPI with SQLAlchemy's async ORM over asyncpg and Pydantic, under row-level security.

One process on 127.0.0.1:PORT, with POOL_SIZE connections to DATABASE_URL. Each request is one transaction, bound to
the tenant of X-Tenant-Id by its first statement and committed before the answer is sent. The trail is written by hand.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query
from fastapi_models import (
    PAGE_SIZE,
    AuditLog,
    Caller,
    Case,
    CaseCreate,
    CaseDetail,
    CasePage,
    CaseRead,
    Cases,
    CaseUpdate,
    Status,
)
from sqlalchemy import func, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import selectinload

BIND = text("SELECT set_config('role', 'fastlane_tenant', true), set_config('app.tenant_id', :tenant, true)")

engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=0,
    json_serializer=lambda value: orjson.dumps(value).decode(),
    json_deserializer=orjson.loads,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def bound_session(x_tenant_id: Annotated[UUID, Header()]) -> AsyncIterator[AsyncSession]:
    """A transaction that sees the rows of one tenant only."""
    async with sessions.begin() as session:
        await session.execute(BIND, {"tenant": str(x_tenant_id)})
        yield session


# With the scope "function" FastAPI commits before it sends the answer, not after.
Session = Annotated[AsyncSession, Depends(bound_session, scope="function")]
CallerHeaders = Annotated[Caller, Header()]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Connections for as long as the application runs."""
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/api/cases/{case_id}/")
async def read_case(
    session: Session, case_id: UUID, include: Annotated[Literal["codes,tasks"] | None, Query(alias="__include")] = None
) -> CaseDetail | CaseRead:
    """W1, and W6 with its codes and tasks."""
    options = [selectinload(Case.codes), selectinload(Case.tasks)] if include else []
    case = await session.get(Case, case_id, options=options)
    if case is None:
        raise HTTPException(404)
    return CaseDetail.model_validate(case) if include else CaseRead.model_validate(case)


@app.get("/api/cases/")
async def list_cases(
    session: Session, status: Status, total: Annotated[bool, Query(alias="__total")] = False
) -> CasePage | Cases:
    """W2, and W3 with the exact count."""
    newest = select(Case).where(Case.status == status).order_by(Case.created_at.desc(), Case.id).limit(PAGE_SIZE)
    rows = [CaseRead.model_validate(case) for case in await session.scalars(newest)]
    if not total:
        return Cases(rows=rows)
    count = await session.scalar(select(func.count()).select_from(Case).where(Case.status == status)) or 0
    return CasePage(rows=rows, total=count, page=1, page_size=PAGE_SIZE, total_pages=-(-count // PAGE_SIZE))


@app.post("/api/cases/", status_code=201)
async def create_case(session: Session, caller: CallerHeaders, body: CaseCreate) -> CaseRead:
    """W4."""
    case = Case(**body.model_dump(), status="pending", tenant_id=caller.x_tenant_id, created_by=caller.x_user_id)
    session.add(case)
    await session.flush()
    stored = CaseRead.model_validate(case)
    audit(session, caller, case, "create", {"before": {}, "after": stored.model_dump(mode="json")})
    return stored


@app.patch("/api/cases/{case_id}/")
async def update_case(session: Session, caller: CallerHeaders, case_id: UUID, body: CaseUpdate) -> CaseRead:
    """W5."""
    case = await session.get(Case, case_id, with_for_update=True)
    if case is None:
        raise HTTPException(404)
    before = case.status
    case.status, case.updated_at = body.status, func.now()
    audit(session, caller, case, "update", {"before": {"status": before}, "after": {"status": body.status}})
    await session.flush()
    return CaseRead.model_validate(case)


def audit(session: AsyncSession, caller: Caller, case: Case, action: str, changes: dict[str, Any]) -> None:
    """Adds to the trail, in the transaction of the change itself."""
    session.add(
        AuditLog(
            tenant_id=caller.x_tenant_id,
            user_id=caller.x_user_id,
            action=action,
            entity_type="case",
            entity_id=case.id,
            changes=changes,
            ip_address="127.0.0.1",
            user_agent=caller.user_agent,
            actor=f"user:{caller.x_user_id}",
        )
    )


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
