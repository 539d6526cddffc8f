"""What happened: events for people and programs, and the trail of every change."""

from enum import Enum
from typing import ClassVar

from piccolo.columns import JSONB, UUID, ForeignKey, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.readable import Readable

from tenancy.tables import Tenant, TenantTable, User


class Action(str, Enum):
    """What was done to a row."""

    create = "create"
    update = "update"
    delete = "delete"
    view = "view"


class Event(TenantTable, tablename="events", help_text="Something that happened, told by the database."):
    """Written by triggers only, e.g. `case_created` and `case_status_changed`."""

    relation_names: ClassVar[dict[str, tuple[str, str]]] = {"user_id": ("user", "created_events")}

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    user_id = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null)
    event_type = Varchar(length=100, required=True, index=True, help_text="What happened, such as `case_created`.")
    entity_type = Varchar(
        length=100, null=True, default=None, help_text="The kind of row it happened to, such as `case`."
    )
    entity_id = UUID(null=True, default=None, help_text="The row it happened to.")
    metadata = JSONB(null=True, default=None, help_text="What the event tells besides.")
    created_at = Timestamptz(index=True)

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s", columns=[cls.event_type])


class AuditLog(TenantTable, tablename="audit_logs", help_text="Who did what to which row. Append-only."):
    """Written by the audit trigger only, in the transaction of the change itself."""

    triggers: ClassVar[dict[str, str]] = {
        "audit_logs.a_append_only": "audit.refuse_change_1 BEFORE UPDATE DELETE",
        "audit_logs.a_append_only_truncate": "audit.refuse_change_1 BEFORE TRUNCATE",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    user_id = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null, index=True)
    action = Varchar(length=100, choices=Action, required=True, index=True)
    entity_type = Varchar(length=100, required=True, help_text="The kind of row that was changed, such as `case`.")
    entity_id = UUID(default=None, null=False, required=True, help_text="The row that was changed.")
    changes = JSONB(null=True, default=None, help_text="Before and after of the changed columns.")
    ip_address = Varchar(length=45, null=True, default=None, help_text="IPv4 or IPv6 address of the client.")
    user_agent = Text(null=True, default=None, help_text="What the client calls itself.")
    created_at = Timestamptz(index=True)
    actor = Varchar(
        length=255,
        null=True,
        default=None,
        help_text="Who it was, kept when the user is deleted: user:…, operator:…, script:… or sql:…",
    )
    request_id = Varchar(length=100, null=True, default=None, help_text="`X-Request-ID` of the answer.")

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s %s", columns=[cls.action, cls.entity_type])
