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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    rule: str
    object: str

    def __str__(self) -> str:
        return f"{self.object}: {self.rule}"


def tenant_tables() -> list[type[Table]]:
    """Every table whose rows belong to tenants, isolated by the database: all but those tagged `platform`."""
    registry = Finder().get_app_registry()
    return [
        table
        for config in registry.app_configs.values()
        for table in config.table_classes
        if "platform" not in table._meta.tags
    ]


def served_tables() -> list[type[Table]]:
    """The tenant tables that people read and write, under permissions and a trail: all but those tagged `internal`."""
    return [table for table in tenant_tables() if not _is_internal(table)]


async def find_isolation_faults(connection: Any) -> list[Finding]:
    """Runs with any role, since catalogs are public. `connection` is asyncpg's."""
    tables = tenant_tables()
    names = [table._meta.tablename for table in tables]
    references = [_describe(column) for table in tables for column in table._meta.foreign_key_columns]
    triggers = [trigger for table in tables for trigger in _triggers(table)]
    rows = await connection.fetch(_FINDINGS, names, references, triggers)
    return [Finding(row["rule"], row["object"]) for row in rows]


def _is_internal(table: type[Table]) -> bool:
    """Whether the service alone uses the table: isolated like every other, but neither served nor audited."""
    return "internal" in table._meta.tags


def _describe(column: ForeignKey[Any]) -> str:
    target = column._foreign_key_meta.resolved_references._meta.tablename
    return f"{column._meta.table._meta.tablename}.{column._meta.db_column_name}>{target}"


def _triggers(table: type[Table]) -> list[str]:
    """What `isolate_table` and `track_table` attach, and what the table says it has besides."""
    name = table._meta.tablename
    columns = {column._meta.name for column in table._meta.columns}
    is_audited = not {"internal", "trail"} & set(table._meta.tags)
    # Events that the trail's own function tells are on the trail already.
    is_told = " WHEN" if name == "events" else ""
    record = f"audit.record_{name} AFTER"
    functions = {
        "b_stamp_created": "tenancy.stamp_created_1 BEFORE INSERT WHEN",
        "c_keep_identity": "tenancy.keep_identity_1 BEFORE UPDATE WHEN",
        **({"a_assign_tenant": "tenancy.assign_tenant_1 BEFORE INSERT WHEN"} if "tenant_id" in columns else {}),
        **({"d_stamp_updated": "tenancy.stamp_updated_1 BEFORE INSERT UPDATE"} if "updated_at" in columns else {}),
        **({"z_audit_insert": f"{record} INSERT{is_told}"} if is_audited else {}),
        **({"z_audit_update": f"{record} UPDATE", "z_audit_delete": f"{record} DELETE"} if is_audited else {}),
        **({"z_audit_truncate": "audit.refuse_truncate_1 BEFORE TRUNCATE"} if is_audited else {}),
    }
    own: dict[str, str] = getattr(table, "triggers", {})
    described = {f"{name}.{trigger}": function for trigger, function in functions.items()} | own
    return [f"{trigger}={function}" for trigger, function in described.items()]
