"""Who may redact and archive: whoever holds the key that signs checkpoints, which the database does not.

A record of either has a signature over what was done and a number that is used once. Without it `verify` finds fault:
the functions alone, which the service's role can call, leave no record that is believed.
"""

import json
from typing import Any
from uuid import uuid4

from audit.chain import Fault
from audit.signing import KeyRing, SigningKey
from tenancy.settings import Settings
from tenancy.transaction import BoundTransaction

_ACTS = """
SELECT id, action, details -> 'authority' ->> 'number' AS number, details -> 'authority' ->> 'key_id' AS key_id,
       details -> 'authority' ->> 'signature' AS signature,
       CASE action WHEN 'redacted' THEN tenant_id::text
                   ELSE concat_ws(' ', details ->> 'upto_checkpoint', details ->> 'sha256') END AS subject
  FROM platform_logs WHERE action IN ('redacted', 'archived') ORDER BY transaction_id, created_at, id
"""


def authority_for(settings: Settings, action: str, subject: str) -> str:
    """What the record of one act is to hold, as JSON. Raises `LookupError` as `SigningKey` does."""
    key, number = SigningKey.from_settings(settings), str(uuid4())
    signature = key.sign(_message(action, subject, number)).hex()
    return json.dumps({"number": number, "key_id": key.key_id, "signature": signature})


async def require_authority(transaction: BoundTransaction, ring: KeyRing) -> None:
    """Raises `Fault` for the first record that nobody with the key has made, or that was made of another."""
    used: set[str] = set()
    for row in await transaction.fetch(_ACTS):
        if row["number"] in used or not _is_signed(row, ring):
            raise Fault(f"platform_logs row {row['id']}: nobody who may has {row['action']} this")
        used.add(row["number"])


def _is_signed(row: Any, ring: KeyRing) -> bool:
    if not (row["number"] and row["key_id"] and row["signature"] and row["subject"]):
        return False
    try:
        signature = bytes.fromhex(row["signature"])
    except ValueError:
        return False
    return ring.has_signed(row["key_id"], signature, _message(row["action"], row["subject"], row["number"]))


def _message(action: str, subject: str, number: str) -> bytes:
    return f"{action} {subject} {number}".encode()
