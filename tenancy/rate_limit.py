"""How many requests a user and a tenant may make in a minute, counted over all processes.

The database counts; `tenancy/sql/rate_limits_1.sql` says how. So as not to ask it for each
request, a process takes a hundredth of a limit at once and serves it from memory, and
remembers a refusal until the window ends. What is left of such a lease when a window ends is
lost: near its limit a user of many processes may be granted some requests less, never more.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal, TypeVar
from uuid import UUID

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings

WINDOW_SECONDS = 60
PRODUCTION_LIMIT = 600
USERS_OF_A_TENANT = 10
LEASES_OF_A_LIMIT = 100
REMEMBERED_KEYS = 10_000
_AUTHN = Scope(role=DatabaseRole.authn, actor="authn")
_TAKE = "SELECT * FROM tenancy.take_requests_1($1, $2, $3, $4, $5)"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a request may go on, and where its user stands with the tighter of the two limits."""

    is_granted: bool
    name: Literal["user", "tenant"]
    limit: int
    remaining: int
    reset_seconds: int


@dataclass(slots=True)
class _Window:
    """What the database last said of a user's or a tenant's window. `end` is a monotonic time."""

    remaining: int = 0
    end: float = 0.0

    def is_spent(self) -> bool:
        """Nothing remains, for as long as the window lasts: there is no need to ask."""
        return self.remaining == 0 and monotonic() < self.end


@dataclass(slots=True)
class _Lease:
    """Requests of one user that are counted in the database and not made yet."""

    left: int = 0
    end: float = 0.0
    user: _Window = field(default_factory=_Window)
    waiting: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_usable(self) -> bool:
        return self.left > 0 and monotonic() < self.end


class RateLimiter:
    """Grants requests. Raises the database's errors, when it has to ask and cannot."""

    def __init__(self, engine: FastlaneEngine, user_limit: int, tenant_limit: int) -> None:
        self._engine = engine
        self._user_limit = user_limit
        self._tenant_limit = tenant_limit
        self._batch = max(1, min(user_limit, tenant_limit) // LEASES_OF_A_LIMIT)
        self._leases: dict[UUID, _Lease] = {}
        self._tenants: dict[UUID, _Window] = {}

    @classmethod
    def from_settings(cls, engine: FastlaneEngine, settings: Settings) -> "RateLimiter | None":
        """None when nothing is limited. With a tenant's limit alone, each user has all of it."""
        user_limit, tenant_limit = settings.rate_limit, settings.tenant_rate_limit
        if user_limit is None:
            user_limit = PRODUCTION_LIMIT if settings.is_production else tenant_limit
        if user_limit is None:
            return None
        return cls(engine, user_limit, tenant_limit or USERS_OF_A_TENANT * user_limit)

    async def take(self, user_id: UUID, tenant_id: UUID) -> Allowance:
        """Takes one request of the user, from both limits, or says which of them refuses it."""
        lease = _recall(self._leases, user_id, _Lease)
        allowance = self._from_memory(lease, tenant_id)
        if allowance is not None:
            return allowance
        lease.waiting += 1
        try:
            async with lease.lock:
                allowance = self._from_memory(lease, tenant_id)
                return allowance or await self._from_database(lease, user_id, tenant_id)
        finally:
            lease.waiting -= 1

    def _from_memory(self, lease: _Lease, tenant_id: UUID) -> Allowance | None:
        if lease.is_usable():
            return self._spend(lease, self._tenants.get(tenant_id) or _Window(self._tenant_limit, lease.end))
        tenant = self._tenants.get(tenant_id)
        if lease.user.is_spent():
            return self._allowance(False, "user", 0, lease.user.end)
        if tenant is not None and tenant.is_spent():
            return self._allowance(False, "tenant", 0, tenant.end)
        return None

    async def _from_database(self, lease: _Lease, user_id: UUID, tenant_id: UUID) -> Allowance:
        # Enough for everyone who waits for this answer, so that the next need not ask too.
        wanted = max(self._batch, lease.waiting)
        asked, row = await self._fetch(user_id, tenant_id, wanted)
        lease.user = _Window(row["user_remaining"], asked + row["user_seconds"])
        tenant = _recall(self._tenants, tenant_id, _Window)
        tenant.remaining, tenant.end = row["tenant_remaining"], asked + row["tenant_seconds"]
        lease.left, lease.end = row["granted"], min(lease.user.end, tenant.end)
        if lease.left > 0:
            return self._spend(lease, tenant)
        if lease.user.remaining == 0:
            return self._allowance(False, "user", 0, lease.user.end)
        return self._allowance(False, "tenant", 0, tenant.end)

    async def _fetch(self, user_id: UUID, tenant_id: UUID, wanted: int) -> tuple[float, Any]:
        """The answer and when it was asked for: counted from there, a lease ends too early, never too late."""
        async with self._engine.transaction(scope=_AUTHN) as transaction:
            asked = monotonic()
            limits = (self._user_limit, self._tenant_limit)
            return asked, await transaction.connection.fetchrow(_TAKE, user_id, tenant_id, wanted, *limits)

    def _spend(self, lease: _Lease, tenant: _Window) -> Allowance:
        lease.left -= 1
        of_user, of_tenant = lease.user.remaining + lease.left, tenant.remaining + lease.left
        if of_user <= of_tenant:
            return self._allowance(True, "user", of_user, lease.user.end)
        return self._allowance(True, "tenant", of_tenant, tenant.end)

    def _allowance(self, granted: bool, name: Literal["user", "tenant"], remaining: int, end: float) -> Allowance:
        limit = self._user_limit if name == "user" else self._tenant_limit
        return Allowance(granted, name, limit, remaining, max(1, math.ceil(end - monotonic())))


def _recall(memory: dict[UUID, _T], key: UUID, new: Callable[[], _T]) -> _T:
    """What is remembered of `key`, or a new one. Of too many keys the one recalled longest ago is forgotten."""
    found = memory.pop(key, None)
    memory[key] = found = new() if found is None else found
    if len(memory) > REMEMBERED_KEYS:
        del memory[next(iter(memory))]
    return found
