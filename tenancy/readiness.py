"""Whether the service may serve: nothing pending, and in production nothing unsafe."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
from piccolo.conf.apps import Finder

from tenancy.catalog import find_isolation_faults
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import DatabaseUnavailable, FastlaneEngine
from tenancy.provision import login_role_faults
from tenancy.transaction import BoundTransaction

_AUTHN = Scope(role=DatabaseRole.authn, actor="readiness")


def migrations_on_disk() -> set[tuple[str, str]]:
    """App name and ID of every migration of ours."""
    found = set()
    for name, config in Finder().get_app_registry().app_configs.items():
        for path in Path(config.resolved_migrations_folder_path).glob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("ID = "):
                    found.add((name, line.split('"')[1]))
    return found


async def pending_migrations(engine: FastlaneEngine) -> list[str]:
    """Migrations that this database lacks, as `app id`. Raises what `transaction` raises."""
    try:
        async with engine.transaction(scope=_AUTHN) as transaction:
            rows = await transaction.connection.fetch("SELECT * FROM tenancy.applied_migrations_1()")
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InvalidParameterValueError):
        rows = []  # Not even the function, or the role that may call it, is there.
    applied = {(row["app_name"], row["migration_id"]) for row in rows}
    return [" ".join(item) for item in sorted(migrations_on_disk() - applied)]


async def why_not_ready(engine: FastlaneEngine) -> str | None:
    """None when the database answers and has every migration, else the reason."""
    try:
        async with asyncio.timeout(5):
            pending = await pending_migrations(engine)
    except (OSError, TimeoutError, DatabaseUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"the database does not answer ({type(error).__name__})"
    return f"pending migrations: {', '.join(pending)}" if pending else None


async def production_faults(engine: FastlaneEngine) -> list[str]:
    """One line for each reason why production must not start on this database."""
    login = engine.databases.app().user
    try:
        async with BoundTransaction(engine) as transaction:
            connection: Any = transaction.connection
            faults = [f"DATABASE_URL: {fault}" for fault in await login_role_faults(connection, login)]
            faults += [f"DATABASE_URL: {finding}" for finding in await find_isolation_faults(connection)]
    except asyncpg.UndefinedObjectError:
        faults = []  # The roles do not exist yet: the pending migrations below say so.
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return [f"DATABASE_URL: the database cannot be used: {error}"]
    try:
        pending = await pending_migrations(engine)
    except asyncpg.InsufficientPrivilegeError as error:
        return [*faults, f"DATABASE_URL: {error}; run `piccolo tenancy provision`"]
    return faults + [f"DATABASE_URL: pending migration {item}" for item in pending]
