"""Who a request is: looked up in the database, remembered for a few seconds.

Tenant and role come from the row whose `auth_id` is the token's subject, and from nothing
else. The lookup runs as a role that may execute two functions and read nothing.
"""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.operators import digest
from tenancy.tables import PhiGuard, Role

REMEMBER_SECONDS = 5.0
REMEMBERED_SUBJECTS = 10_000
_AUTHN = Scope(role=DatabaseRole.authn, actor="authn")


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of a tenant, as the users table has them."""

    user_id: UUID
    tenant_id: UUID
    role: Role
    is_active: bool
    phi_guard: PhiGuard = PhiGuard.block


@dataclass(frozen=True, slots=True)
class OperatorIdentity:
    """An operator with a live session. Without a tenant: of the whole platform."""

    operator_id: int
    username: str
    tenant_id: UUID | None
    user_id: UUID | None
    role: Role | None
    phi_guard: PhiGuard = PhiGuard.block


class IdentityDirectory:
    """Finds identities. A change of a user, or of the tenant's settings, has its effect within `REMEMBER_SECONDS`.

    `phi_guard` is what holds for a tenant that says nothing else, and for the platform.
    """

    def __init__(self, engine: FastlaneEngine, phi_guard: PhiGuard = PhiGuard.block) -> None:
        self._engine = engine
        self._phi_guard = phi_guard
        self._remembered: dict[str, tuple[Identity, float]] = {}

    async def of_subject(self, subject: str) -> Identity | None:
        """The user whose `auth_id` is `subject`, active or not."""
        remembered = self._remembered.get(subject)
        if remembered is not None and remembered[1] > time.monotonic():
            return remembered[0]
        row = await self._fetch_one("SELECT * FROM tenancy.identify_subject_2($1)", subject)
        if row is None:
            self._remembered.pop(subject, None)
            return None
        identity = Identity(
            row["user_id"], row["tenant_id"], Role(row["role"]), row["is_active"], self._guard(row["phi_guard"])
        )
        if len(self._remembered) >= REMEMBERED_SUBJECTS:
            self._remembered.clear()
        self._remembered[subject] = (identity, time.monotonic() + REMEMBER_SECONDS)
        return identity

    async def of_session(self, token: str) -> OperatorIdentity | None:
        """The operator that a session cookie belongs to."""
        row = await self._fetch_one("SELECT * FROM tenancy.identify_session_2($1)", digest(token))
        if row is None:
            return None
        role = Role(row["role"]) if row["role"] else None
        guard = self._guard(row["phi_guard"])
        return OperatorIdentity(row["operator_id"], row["username"], row["tenant_id"], row["user_id"], role, guard)

    def _guard(self, chosen: str | None) -> PhiGuard:
        return PhiGuard(chosen) if chosen else self._phi_guard

    def forget(self) -> None:
        """Everyone, because a user was changed here: the next request asks the database."""
        self._remembered.clear()

    async def _fetch_one(self, query: str, argument: str) -> Any:
        async with self._engine.transaction(scope=_AUTHN) as transaction:
            return await transaction.connection.fetchrow(query, argument)
