"""Triggers that are called where they have something to do."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T06:00:30:000000"
VERSION = "1.38.0"
DESCRIPTION = "Triggers that are called where they have something to do"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="tenancy", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "boundary_2")
    return manager
