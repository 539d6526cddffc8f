"""Registers the app's tables, migrations and commands with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from audit.tables import AuditLog, Event

APP_CONFIG = AppConfig(
    app_name="audit",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Event, AuditLog],
    migration_dependencies=["tenancy.piccolo_app"],
    commands=[],
)
