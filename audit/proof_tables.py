"""What the proof of the trail is made of: platform tables, which no tenant reads.

Their rows are written by functions of the database (`audit/sql/seal_1.sql`), and by nobody changed.
"""

from enum import Enum

from piccolo.columns import JSONB, UUID, Array, BigInt, Bytea, ForeignKey, Integer, Serial, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from audit.tables import TRANSACTION_HELP


class PlatformAction(str, Enum):
    """What was done to the trail as a whole, or to what it is about."""

    tenant_deleted = "tenant_deleted"
    redacted = "redacted"
    archived = "archived"
    epoch_started = "epoch_started"


class PlatformLog(Table, tablename="platform_logs", tags=["platform"], help_text="What was done to whole tenants."):
    """Outlives the tenant it is about, to which it has no reference."""

    id = UUID(primary_key=True)
    action = Varchar(length=50, choices=PlatformAction, required=True)
    tenant_id = UUID(null=True, default=None, help_text="The tenant that it is, or was, about.")
    details = JSONB(null=False, default="{}")
    actor = Varchar(length=255, required=True)
    request_id = Varchar(length=100, null=True, default=None)
    created_at = Timestamptz()
    transaction_id = BigInt(default=0, help_text=TRANSACTION_HELP)


class Checkpoint(Table, tablename="checkpoints", tags=["platform"], help_text="A link of the chain over the trail."):
    """Seals every row whose transaction number is from the `upto` before up to, and without, its own `upto`."""

    id = BigInt(primary_key=True, default=None, null=False, help_text="1, 2, 3 … without a gap.")
    previous_hash = Bytea(help_text="`hash` of the checkpoint before; empty for the first.")
    upto = BigInt(default=None, null=False, help_text="All transactions below were over when this was made.")
    next_transaction = BigInt(default=None, null=False, help_text="No transaction from here on had begun to write.")
    entries = Integer(default=None, null=False, help_text="How many rows it seals.")
    parts_digest = Bytea(help_text="SHA-256 over its parts.")
    hash = Bytea(help_text="SHA-256 over all of the above and the time.")
    key_id = Varchar(length=64, required=True, help_text="Which key signed it.")
    signature = Bytea(help_text="Ed25519 over `hash`.")
    created_at = Timestamptz()


class CheckpointPart(Table, tablename="checkpoint_parts", tags=["platform"], help_text="What is sealed, by tenant."):
    """The rows of one table and one tenant in a checkpoint: `ids` and `leaves`, their hashes, in the same order."""

    id = Serial(primary_key=True)
    checkpoint = ForeignKey(Checkpoint, null=False, default=None, on_delete=OnDelete.restrict)
    source = Varchar(length=50, required=True, help_text="The table that the rows are in.")
    tenant_id = UUID(null=True, default=None, help_text="The tenant, which may be deleted by now.")
    ids = Array(base_column=UUID(), default=list, help_text="The rows, in order of their ids.")
    leaves = Bytea(help_text="For each row, 32 bytes: the SHA-256 of its content.")


PROOF_TABLES = (PlatformLog, Checkpoint, CheckpointPart)
