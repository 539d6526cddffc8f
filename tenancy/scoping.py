"""For scripts and shells: run queries as one tenant, as the platform, or without a trace.

async with tenant("test-clinic"):
    cases = await Case.select()
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any, Generic, TypeVar

from piccolo.engine.finder import engine_finder

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine, script_actor
from tenancy.tables import Role, Tenant, User
from tenancy.transaction import BoundTransaction

Row = TypeVar("Row")


class UnknownTenant(LookupError):
    """No tenant has this slug."""


class UnknownUser(LookupError):
    """No user of the tenant has this email."""


@cache
def database() -> FastlaneEngine:
    """The engine of `piccolo_conf.py`, which is one for the process."""
    engine = engine_finder()
    assert isinstance(engine, FastlaneEngine)
    return engine


@asynccontextmanager
async def tenant(slug: str, email: str | None = None) -> AsyncIterator[BoundTransaction]:
    """One transaction confined to a tenant; as one of its users when an email is given.

    Commits at the end, rolls back on an exception. Raises `UnknownTenant`, `UnknownUser`.
    """
    async with platform():
        found = await Tenant.objects().where(Tenant.slug == slug).first()
        if found is None:
            raise UnknownTenant(f"no tenant is called {slug!r}")
        user = None
        if email is not None:
            user = await User.objects().where((User.tenant_id == found.id) & (User.email == email)).first()
            if user is None:
                raise UnknownUser(f"{slug!r} has no user {email!r}")
    scope = Scope(
        role=DatabaseRole.tenant,
        actor=f"user:{user.id}" if user else script_actor(),
        tenant_id=found.id,
        user_id=user.id if user else None,
        user_role=Role(user.role) if user else Role.admin,
    )
    async with database().transaction(allow_nested=False, scope=scope) as transaction:
        yield transaction


@asynccontextmanager
async def platform() -> AsyncIterator[BoundTransaction]:
    """One transaction that sees all tenants."""
    scope = Scope(role=DatabaseRole.platform, actor=script_actor())
    async with database().transaction(allow_nested=False, scope=scope) as transaction:
        yield transaction


@asynccontextmanager
async def rollback() -> AsyncIterator[None]:
    """Undoes, inside a transaction, whatever the block did to the database."""
    transaction = database().current_transaction.get()
    if transaction is None:
        raise RuntimeError("rollback() works inside tenant() or platform()")
    savepoint = await transaction.savepoint()
    try:
        yield
    finally:
        await savepoint.rollback_to()  # type: ignore[no-untyped-call]  # Piccolo's has no annotations.


async def is_healthy() -> bool:
    """Whether the database answers."""
    try:
        async with database().transaction() as transaction:
            return bool(await transaction.connection.fetchval("SELECT true"))
    except Exception:  # noqa: BLE001  # Whatever is wrong, the answer is no.
        return False


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a query; pages count from 1."""

    data: list[Row]
    total: int
    page: int
    page_size: int
    total_pages: int


async def paginate(query: Any, page: int = 1, page_size: int = 20) -> Page[Any]:
    """A page of a Piccolo select or objects query, and how many rows it has in all.

    Raises `ValueError` for a page or size below 1.
    """
    if page < 1 or page_size < 1:
        raise ValueError("page and page_size are at least 1")
    counted = query.table.count()
    counted.where_delegate = query.where_delegate
    total = await counted
    data = await query.limit(page_size).offset((page - 1) * page_size)
    return Page(data=data, total=total, page=page, page_size=page_size, total_pages=ceil(total / page_size))
