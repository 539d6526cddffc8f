"""Relations of a table, both ways along its foreign keys, under names that read well.

A reference is called as its column without `_id`, what refers to a row as its table;
`relation_names` of a table class says otherwise: column -> (name there, name back).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from piccolo.columns import ForeignKey
from piccolo.table import Table

HIDDEN_TAGS = frozenset({"platform", "internal"})


@dataclass(frozen=True, slots=True)
class Relation:
    """From a row to the one that its `column` refers to, or to the many whose `column` refers to it."""

    name: str
    target: type[Table]
    column: ForeignKey[Any]
    is_many: bool

    @property
    def column_name(self) -> str:
        return str(self.column._meta.name)


@cache
def relations_of(table: type[Table]) -> dict[str, Relation]:
    """By name. Only tables that the API serves."""
    forward = [
        Relation(_names(column)[0], column._foreign_key_meta.resolved_references, column, is_many=False)
        for column in table._meta.foreign_key_columns
    ]
    backward = [
        Relation(_names(column)[1], column._meta.table, column, is_many=True)
        for column in table._meta.foreign_key_references
        if not HIDDEN_TAGS & set(column._meta.table._meta.tags)
    ]
    return {relation.name: relation for relation in (*forward, *backward)}


def _names(column: ForeignKey[Any]) -> tuple[str, str]:
    table = column._meta.table
    own: dict[str, tuple[str, str]] = getattr(table, "relation_names", {})
    name = column._meta.name
    return own.get(name, (name.removesuffix("_id"), table._meta.tablename))
