"""A salt for what is sealed."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T14:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "A salt for what is sealed"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="audit", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "salt_1")
    return manager
