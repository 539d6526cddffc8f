"""The answers that a repeated request gets again: one row an `Idempotency-Key` of a user."""

from piccolo.columns import JSONB, UUID, Bytea, ForeignKey, SmallInt, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique

from tenancy.tables import Tenant, TenantTable, User


class IdempotencyKey(
    TenantTable,
    tablename="idempotency_keys",
    tags=["internal"],
    help_text="The answer to a request, for whoever repeats it.",
):
    """Written with the effect of its request, in one transaction; of use for 24 hours.

    Internal: isolated like any tenant's table, but neither served nor audited.
    """

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade)
    user_id = ForeignKey(User, null=False, default=None, on_delete=OnDelete.cascade)
    key = Varchar(length=255, required=True, help_text="The `Idempotency-Key`, without its quotes.")
    fingerprint = Bytea(required=True, help_text="HMAC-SHA256 of the request: a key is for one request only.")
    status = SmallInt(required=True, help_text="Status of the answer.")
    headers = JSONB(required=True, help_text="Headers of the answer that are worth repeating, by name.")
    body = Bytea(required=True, help_text="Body of the answer.")
    created_at = Timestamptz()

    idempotency_keys_tenant_id_user_id_key_key = Unique([tenant_id, user_id, key])
