"""Versions of a row, and the way back of what was deleted."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T10:36:45:000000"
VERSION = "1.38.0"
DESCRIPTION = "Versions of a row, and the way back of what was deleted"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="audit", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "restore_1")
    return manager
