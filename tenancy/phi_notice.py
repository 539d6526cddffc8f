"""Says, loudly and at each start, where what identifies patients is not refused."""

import asyncio

import asyncpg
import structlog

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import DatabaseUnavailable, FastlaneEngine
from tenancy.tables import PhiGuard

PATIENCE_SECONDS = 5
_AUTHN = Scope(role=DatabaseRole.authn, actor="start")

log = structlog.get_logger()


async def announce_gaps(engine: FastlaneEngine, phi_guard: PhiGuard) -> None:
    """A warning when the setting is off, and one for each tenant that has it off. A database that is away delays the
    start by a few seconds at most, and fails nothing."""
    if phi_guard is PhiGuard.off:
        log.warning(
            "PHI guard off", setting="PHI_GUARD=off", meaning="what identifies patients is stored as it is sent"
        )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), engine.transaction(scope=_AUTHN) as transaction:
            rows = await transaction.connection.fetch("SELECT slug FROM tenancy.unguarded_tenants_1()")
    except (OSError, TimeoutError, DatabaseUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        log.warning("PHI guard of tenants unknown", error=type(error).__name__)
        return
    for row in rows:
        log.warning("PHI guard off", tenant=row["slug"], meaning="what identifies patients is stored as it is sent")
