"""Typed rows of tenants and users, fetched inside the bound transaction of the caller."""

from datetime import datetime
from typing import Any, TypedDict, cast
from uuid import UUID

from piccolo.table import Table

from tenancy.tables import Tenant, User


class TenantRow(TypedDict):
    """A row of `tenants`."""

    id: UUID
    slug: str
    name: str
    time_zone: str
    phi_guard: str | None
    created_at: datetime
    updated_at: datetime


class UserRow(TypedDict):
    """A row of `users`."""

    id: UUID
    tenant_id: UUID
    email: str
    name: str | None
    role: str
    auth_id: str | None
    is_active: bool
    created_at: datetime
    updated_at: datetime


class UserWithTenant(UserRow):
    """A user and the tenant."""

    tenant: TenantRow


async def row_by_id(table: type[Table], row_id: UUID | None) -> dict[str, Any] | None:
    """The row with JSON columns as dicts; None without an id, or when it is not visible."""
    if row_id is None:
        return None
    return await table.select().where(table._meta.primary_key == row_id).output(load_json=True).first()


async def user_with_tenant(user_id: UUID) -> UserWithTenant | None:
    """None when the caller's transaction sees no such user."""
    user = await row_by_id(User, user_id)
    if user is None:
        return None
    return cast("UserWithTenant", {**user, "tenant": await row_by_id(Tenant, user["tenant_id"])})
