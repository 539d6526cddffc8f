"""On whose behalf a transaction runs."""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from tenancy.tables import Role


class DatabaseRole(str, Enum):
    """The NOLOGIN roles that the login role may become for one transaction."""

    tenant = "fastlane_tenant"
    platform = "fastlane_platform"
    authn = "fastlane_authn"
    service = "fastlane_service"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a transaction is bound to before its first query.

    `actor` outlives the user in the audit trail: `user:<uuid>`, `operator:<name>` or
    `script:<account>`. Address and agent are the client's words, kept for the trail only.
    """

    role: DatabaseRole
    actor: str
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    user_role: Role | None = None
    operator_id: int | None = None
    request_id: str = ""
    ip_address: str = ""
    user_agent: str = ""
