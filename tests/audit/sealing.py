"""Seals all of the trail of a test's database."""

import asyncio

import asyncpg

from audit.sealer import Sealer
from tenancy.engine import FastlaneEngine

_BEHIND = """
SELECT coalesce((SELECT max(upto) FROM checkpoints), 0)
       <= greatest((SELECT max(transaction_id) FROM audit_logs), (SELECT max(transaction_id) FROM platform_logs))
"""


async def seal(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """Until everything that was written is sealed: transactions of other tests hold the numbers up."""
    while await superuser.fetchval(_BEHIND):
        await Sealer(engine).seal_all(wait=True)
        await asyncio.sleep(0.01)
