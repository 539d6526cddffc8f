"""Logins and invitations: sessions that end, attempts, second factors; accepting; the last admin."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from tenancy.migration import add_sql

ID = "2026-11-24T15:12:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Logins and invitations"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="tenancy", description=DESCRIPTION)
    add_sql(manager, Path(__file__).parents[1] / "sql", "logins_1")
    add_sql(manager, Path(__file__).parents[1] / "sql", "invitations_1")
    return manager
