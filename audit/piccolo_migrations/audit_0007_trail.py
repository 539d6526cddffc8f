"""The trail by statement, with the events that its changes tell."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T10:36:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The trail by statement, with the events that its changes tell"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="audit", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "trail_4")
    return manager
