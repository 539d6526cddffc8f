"""Registers the app's tables, migrations and commands with Piccolo."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from cases.code_lists import KnownCode
from cases.commands import load_codes
from cases.tables import Case, CaseCode, Ingestion, Ruleset, Task

APP_CONFIG = AppConfig(
    app_name="cases",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Ingestion, Case, CaseCode, Task, Ruleset, KnownCode],
    migration_dependencies=["tenancy.piccolo_app", "audit.piccolo_app"],
    commands=[load_codes],
)
