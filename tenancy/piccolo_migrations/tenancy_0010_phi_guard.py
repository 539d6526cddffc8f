"""Identities know whether PHI is refused."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T13:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Identities know whether PHI is refused"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="tenancy", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "phi_guard_1")
    return manager
