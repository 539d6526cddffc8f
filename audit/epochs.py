"""Transaction numbers after a restore into another cluster, where transaction ids start anew.

Until a new epoch has begun nothing can be sealed, and what is written has numbers that were given before.
"""

from audit.ledger import READER
from tenancy.engine import FastlaneEngine
from tenancy.transaction import BoundTransaction

RESTORED = "SELECT audit.is_restored_1() AS restored"


async def is_restored(engine: FastlaneEngine) -> bool:
    """Whether the database was restored and has not begun an epoch. Asks as the platform."""
    async with engine.transaction(allow_nested=False, scope=READER) as transaction:
        return bool((await transaction.fetch(RESTORED))[0]["restored"])


async def begin_epoch(engine: FastlaneEngine, *, regardless: bool = False) -> int | None:
    """Begins an epoch as the owner, and returns from which number on transactions count; None where it is not needed,
    unless `regardless`. Raises what a transaction raises."""
    with engine.as_owner():
        async with BoundTransaction(engine, allow_nested=False) as transaction:
            if not regardless and not (await transaction.fetch(RESTORED))[0]["restored"]:
                return None
            return int((await transaction.fetch("SELECT audit.begin_epoch_1() AS base"))[0]["base"])
