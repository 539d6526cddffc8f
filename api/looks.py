"""What somebody looked at, or was refused, as the trail is to say it: recorded before the answer leaves.

An endpoint leaves a note of what it read; when the outcome is known, whoever sends the answer has it recorded. A
refusal is worded from the request and its sender alone, so that it tells nothing of what exists elsewhere.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from api.exchange import Client, Scope, is_head
from api.masking import Masks
from api.problems import Problem, from_exception
from tenancy.context import DatabaseRole
from tenancy.context import Scope as TenantScope

REFUSED = (403, 404)
_LOOKS = "fastlane.looks"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LONGEST_SUBJECT = 200


class View(NamedTuple):
    """One row was read whose every look counts. `tenant_id` where it is not the reader's own."""

    entity: str
    entity_id: UUID
    tenant_id: UUID | None = None


class Listing(NamedTuple):
    """Rows were read that nobody named one by one; `rows` is how many the answer has, None where it has none.

    `tenant_id` where all of them are of one tenant, and the reader is of none."""

    access: Literal["list", "export"]
    rows: int | None
    tenant_id: UUID | None = None


Look = View | Listing


def expect_looks(scope: MutableMapping[str, Any]) -> list[Look]:
    """Where `leave_look` will leave its notes: a scope is copied on its way down."""
    left: list[Look] = []
    scope[_LOOKS] = left
    return left


def leave_look(scope: Mapping[str, Any], look: Look) -> None:
    """For an endpoint, about what its answer tells. It counts if the answer is a success."""
    scope[_LOOKS].append(look)


class Recorder(Protocol):
    """Who writes it down."""

    async def record(self, views: Sequence[Mapping[str, Any]], accesses: Sequence[Mapping[str, Any]]) -> None: ...


class Looks:
    """Words looks and has them recorded. Without `views` those at single rows are not."""

    def __init__(self, recorder: Recorder, masks: Masks, *, views: bool) -> None:
        self._recorder = recorder
        self._masks = masks
        self._views = views

    async def record(self, scope: Scope, who: TenantScope, left: Sequence[Look], status: int) -> None:
        """Returns when it is recorded what `who` saw, or was refused. Raises what the recorder does."""
        views: list[Mapping[str, Any]] = []
        accesses: list[Mapping[str, Any]] = []
        if status in REFUSED:
            accesses.append(self._access(scope, who, "refusal", None, status))
        elif status < 400:
            for look in left:
                if isinstance(look, Listing):
                    access = self._access(scope, who, look.access, look.rows, status)
                    accesses.append({**access, "tenant_id": look.tenant_id or who.tenant_id})
                elif self._views:
                    views.append(_view(who, look))
        if views or accesses:
            await self._recorder.record(views, accesses)

    async def refused(self, scope: Scope, who: TenantScope, error: Exception) -> Problem:
        """The problem that an exception stands for, recorded where it is a refusal."""
        problem = from_exception(error)
        await self.record(scope, who, (), problem.status)
        return problem

    def _access(self, scope: Scope, who: TenantScope, access: str, rows: int | None, status: int) -> Mapping[str, Any]:
        path = Client.of(scope).path
        method = "HEAD" if is_head(scope) else scope["method"]
        return {
            "tenant_id": who.tenant_id,
            "user_id": who.user_id,
            "actor": who.actor,
            "access": access,
            "method": method if method in _METHODS or is_head(scope) else "OTHER",
            "path": self._masks.path(path),
            "filter": self._masks.filter(path, scope["query_string"]),
            "row_count": rows,
            "status": status,
            "ip_address": who.ip_address,
            "user_agent": who.user_agent,
            "request_id": who.request_id,
        }


def _view(who: TenantScope, look: View) -> Mapping[str, Any]:
    return {
        "tenant_id": look.tenant_id or who.tenant_id,
        "user_id": who.user_id,
        "actor": who.actor,
        "entity_type": look.entity,
        "entity_id": look.entity_id,
        "ip_address": who.ip_address,
        "user_agent": who.user_agent,
        "request_id": who.request_id,
    }


def nobody(subject: str, client: Client) -> TenantScope:
    """Who has a valid token and is no user: known by what the identity provider calls them."""
    return TenantScope(
        role=DatabaseRole.tenant,
        actor=f"subject:{subject[:_LONGEST_SUBJECT]}",
        request_id=client.request_id,
        ip_address=client.ip_address,
        user_agent=client.user_agent,
    )
