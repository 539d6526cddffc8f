"""Rate limits: the windows in which requests are counted."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-22T22:04:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Rate limits: the windows in which requests are counted"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="tenancy", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "rate_limits_1")
    return manager
