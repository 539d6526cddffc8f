"""The tenant and its people: the two tables that every other one hangs from."""

from enum import Enum
from typing import Any, ClassVar

from piccolo.columns import UUID, Boolean, Column, ForeignKey, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.readable import Readable
from piccolo.constraints import Unique
from piccolo.table import Table


class Role(str, Enum):
    """What a user may do; `tenancy.permissions` holds the table."""

    admin = "admin"
    clinician = "clinician"
    staff = "staff"


class PhiGuard(str, Enum):
    """What happens to a value that could identify a patient."""

    block = "block"
    off = "off"


class Tenant(Table, tablename="tenants", help_text="A clinic, isolated from all others."):
    """Root of isolation: every domain row belongs to exactly one tenant. Its settings are the platform's to change."""

    server_columns: ClassVar[tuple[str, ...]] = ("slug", "time_zone", "phi_guard")
    triggers: ClassVar[dict[str, str]] = {
        "tenants.e_keep_slug": "tenancy.keep_slug_1 BEFORE UPDATE",
        "tenants.z_record_deletion": "audit.record_tenant_deletion_1 AFTER DELETE",
    }

    id = UUID(primary_key=True)
    slug = Varchar(length=100, unique=True, required=True, help_text="URL-safe identifier.")
    name = Varchar(length=255, required=True, help_text="Display name.")
    time_zone = Varchar(
        length=64, default="UTC", help_text="Where its business days are counted, as in the tz database."
    )
    phi_guard = Varchar(
        length=10,
        choices=PhiGuard,
        null=True,
        default=None,
        help_text="Whether PHI is refused; empty: as PHI_GUARD says.",
    )
    created_at = Timestamptz()
    updated_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s", columns=[cls.name])


class TenantTable(Table):
    """Base of a table whose rows belong to a tenant.

    The database knows what a row leaves out, above all its tenant: leaving it out is no
    error in Python, as it is in Piccolo.
    """

    def __init__(
        self,
        _data: dict[Column, Any] | None = None,
        _ignore_missing: bool = True,
        _exists_in_db: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(_data, _ignore_missing, _exists_in_db, **kwargs)


class User(TenantTable, tablename="users", help_text="A person of one tenant, signed in through Neon Auth."):
    """`auth_id` is the token's `sub`; the role comes from this row and nowhere else."""

    server_columns: ClassVar[tuple[str, ...]] = ("auth_id",)
    triggers: ClassVar[dict[str, str]] = {
        "users.e_keep_subject": "tenancy.keep_subject_1 BEFORE INSERT UPDATE",
        "users.f_end_sessions": "tenancy.end_sessions_1 AFTER UPDATE OF WHEN",
        "users.f_keep_active": "tenancy.keep_an_admin_1 AFTER UPDATE OF WHEN",
        "users.f_keep_admin": "tenancy.keep_an_admin_1 AFTER UPDATE OF WHEN",
        "users.f_keep_row": "tenancy.keep_an_admin_1 AFTER DELETE WHEN",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    email = Varchar(length=255, required=True, help_text="Unique within the tenant.")
    name = Varchar(length=255, null=True, default=None, help_text="Full name.")
    role = Varchar(length=50, choices=Role, required=True)
    auth_id = Varchar(
        length=255,
        null=True,
        default=None,
        unique=True,
        index=True,
        help_text="Neon Auth user ID: the `sub` of this person's tokens.",
    )
    is_active = Boolean(default=True, help_text="Off: this person's tokens are refused.")
    created_at = Timestamptz()
    updated_at = Timestamptz()

    users_email_tenant_id_key = Unique([email, tenant_id])

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s", columns=[cls.email])
