"""What happened: events for people and programs, the trail of every change, and the log of every look."""

from enum import Enum
from typing import ClassVar

from piccolo.columns import JSONB, UUID, BigInt, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.readable import Readable

from tenancy.tables import Tenant, TenantTable, User


class Action(str, Enum):
    """What was done to a row."""

    create = "create"
    update = "update"
    delete = "delete"
    view = "view"


class Access(str, Enum):
    """What is about no single row: a page of a list, all of a list, something refused."""

    list = "list"
    export = "export"
    refusal = "refusal"


TRANSACTION_HELP = "The number of the transaction that wrote it: rows of one transaction have the same."


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
    transaction_id = BigInt(default=0, help_text=TRANSACTION_HELP)

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s", columns=[cls.event_type])


class AuditLog(
    TenantTable, tablename="audit_logs", tags=["trail"], help_text="Who did what to which row. Append-only."
):
    """Written by the audit trigger only, in the transaction of the change itself."""

    triggers: ClassVar[dict[str, str]] = {
        "audit_logs.a_append_only": "audit.refuse_change_2 BEFORE UPDATE DELETE WHEN",
        "audit_logs.a_append_only_truncate": "audit.refuse_change_2 BEFORE TRUNCATE",
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
    transaction_id = BigInt(default=0, help_text=TRANSACTION_HELP)

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s %s", columns=[cls.action, cls.entity_type])


class AccessLog(
    TenantTable, tablename="access_logs", tags=["trail"], help_text="Who looked at, or was refused, what. Append-only."
):
    """Written by the service before its answer leaves. Without a tenant: a look across tenants, or nobody's user."""

    triggers: ClassVar[dict[str, str]] = {
        "access_logs.a_append_only": "audit.refuse_change_2 BEFORE UPDATE DELETE WHEN",
        "access_logs.a_append_only_truncate": "audit.refuse_change_2 BEFORE TRUNCATE",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=True, default=None, on_delete=OnDelete.cascade)
    user_id = UUID(null=True, default=None, help_text="The user, who may be deleted by now.")
    actor = Varchar(length=255, required=True, help_text="Who it was: user:… or operator:…")
    access = Varchar(length=50, choices=Access, required=True)
    method = Varchar(length=10, required=True)
    path = Text(required=True, help_text="What was asked for; what is neither a name of ours nor an id is a star.")
    filter = Text(null=True, default=None, help_text="The query string, without values that may identify somebody.")
    row_count = Integer(null=True, default=None, help_text="How many rows the answer had.")
    status = Integer(default=None, null=False, required=True, help_text="The HTTP status of the answer.")
    ip_address = Varchar(length=45, null=True, default=None, help_text="IPv4 or IPv6 address of the client.")
    user_agent = Text(null=True, default=None, help_text="What the client calls itself.")
    request_id = Varchar(length=100, null=True, default=None, help_text="`X-Request-ID` of the answer.")
    created_at = Timestamptz()
    transaction_id = BigInt(default=0, help_text=TRANSACTION_HELP)

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s %s", columns=[cls.access, cls.path])
