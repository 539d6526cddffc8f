"""Asks PostgreSQL's own catalog whether the boundary stands.

Production refuses to start on a finding; the tests take one part away at a time and see it
reported.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piccolo.columns import ForeignKey
from piccolo.conf.apps import Finder
from piccolo.table import Table

_FINDINGS = (Path(__file__).parent / "sql" / "catalog_findings.sql").read_text(encoding="utf-8")
_TRAIL = "audit_logs"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    rule: str
    object: str

    def __str__(self) -> str:
        return f"{self.object}: {self.rule}"


def tenant_tables() -> list[type[Table]]:
    """Every registered table but those tagged `platform`."""
    registry = Finder().get_app_registry()
    return [
        table
        for config in registry.app_configs.values()
        for table in config.table_classes
        if "platform" not in table._meta.tags
    ]


async def find_isolation_faults(connection: Any) -> list[Finding]:
    """Runs with any role, since catalogs are public. `connection` is asyncpg's."""
    tables = tenant_tables()
    names = [table._meta.tablename for table in tables]
    references = [
        f"{table._meta.tablename}.{column._meta.db_column_name}"
        for table in tables
        for column in table._meta.foreign_key_columns
        if isinstance(column, ForeignKey)
    ]
    rows = await connection.fetch(_FINDINGS, names, references, [name for name in names if name != _TRAIL])
    return [Finding(row["rule"], row["object"]) for row in rows]
