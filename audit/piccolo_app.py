"""Registers the app's tables, migrations and commands with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from audit.commands import begin_epoch, public_key, seal, verify
from audit.keep_commands import archive, check_archive, redact
from audit.proof_tables import PROOF_TABLES
from audit.tables import AccessLog, AuditLog, Event

APP_CONFIG = AppConfig(
    app_name="audit",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Event, AuditLog, AccessLog, *PROOF_TABLES],
    migration_dependencies=["tenancy.piccolo_app"],
    commands=[verify, seal, begin_epoch, public_key, redact, archive, check_archive],
)
