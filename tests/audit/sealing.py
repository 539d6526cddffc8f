"""Seals all of the trail of a test's database, which shares its transaction ids with those of other tests."""

import asyncio

from audit.sealer import Sealer
from tenancy.engine import FastlaneEngine
from tenancy.scoping import platform

_OVER = "SELECT audit.horizon_1() > (SELECT max(transaction_id) FROM audit.sealable_1) AS over"


async def all_over() -> None:
    """Returns when all that was written can be sealed: a transaction of another test holds the numbers up."""
    async with asyncio.timeout(60):
        while True:
            async with platform() as transaction:
                if (await transaction.fetch(_OVER))[0]["over"]:
                    return
            await asyncio.sleep(0.01)


async def seal(engine: FastlaneEngine) -> None:
    """Everything that was written until now."""
    await all_over()
    assert await Sealer(engine).seal_all(wait=True)
