"""The shape of a row: which columns, which related rows, and the SQL that makes JSON of it.

PostgreSQL builds the JSON, related rows and all, in one query. A shape holds names of
tables and columns only, nothing that a client wrote.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from piccolo.columns import JSON, JSONB, Column, ForeignKey, Text, Timestamptz
from piccolo.table import Table

from api.query.relations import Relation, relations_of
from api.query.values import find_column, refuse, visible_columns
from phi.masking import shown

MAX_DEPTH = 3
MAX_RELATED = 1000
MAX_RELATED_TWICE = 100
_RFC_3339 = """'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"""


@dataclass
class Shape:
    """`related` is keyed by the name in the JSON: the relation's, or the foreign key's column."""

    table: type[Table]
    columns: list[Column] = field(default_factory=list)
    related: dict[str, tuple[Relation, "Shape"]] = field(default_factory=dict)
    readable: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether this is the row as it is stored, no more and no less."""
        return not self.related and self.is_extended

    @property
    def is_extended(self) -> bool:
        """Whether this is the row as it is stored, followed by related ones."""
        return not self.readable and len(self.columns) == len(visible_columns(self.table))

    def tables(self) -> Iterator[type[Table]]:
        """Every table that the shape reads besides its own."""
        for relation, shape in self.related.values():
            yield relation.target
            yield from shape.tables()

    def has_many(self) -> bool:
        """Whether one row brings any number of others along."""
        return any(relation.is_many or shape.has_many() for relation, shape in self.related.values())


def compact(table: type[Table]) -> Shape:
    """What is short: no documents, no texts without a length."""
    return Shape(table, [c for c in visible_columns(table) if not isinstance(c, JSON | JSONB | Text)])


def plain(table: type[Table]) -> Shape:
    """All columns, nothing else."""
    return Shape(table, visible_columns(table))


def parse_shape(table: type[Table], visible: Sequence[str], included: Sequence[str], *, readable: bool) -> Shape:
    """`visible` are columns, or paths such as `ingestion_id.status`; `included` are relations,
    or paths of them. Raises `Problem` 400."""
    shape = Shape(table, readable=readable)
    for path in dict.fromkeys(visible):
        *way, last = path.split(".")
        end = _walk(shape, way, "__visible_fields")
        end.columns.append(find_column(end.table, last, "__visible_fields"))
    if not visible:
        shape.columns = visible_columns(table)
    for path in dict.fromkeys(included):
        end = _walk(shape, path.split("."), "__include", complete=True)
        end.columns = visible_columns(end.table)
    _refuse_two_meanings(shape)
    return shape


def _walk(shape: Shape, way: Sequence[str], parameter: str, *, complete: bool = False) -> Shape:
    if len(way) > MAX_DEPTH:
        refuse(parameter, f"accepts paths of up to {MAX_DEPTH} relations")
    came_by: Relation | None = None
    for key in way:
        relation = _relation(shape.table, key, parameter)
        if came_by and came_by.is_many and not relation.is_many and came_by.column is relation.column:
            refuse(parameter, f"goes back with {key} to where it came from")
        came_by = relation
        if key not in shape.related:
            columns = visible_columns(relation.target) if complete else []
            shape.related[key] = (relation, Shape(relation.target, columns))
        shape = shape.related[key][1]
    return shape


def _relation(table: type[Table], key: str, parameter: str) -> Relation:
    relations = relations_of(table)
    by_column = {relation.column_name: relation for relation in relations.values() if not relation.is_many}
    found = relations.get(key) or by_column.get(key)
    if found is None:
        name = table._meta.tablename
        refuse(
            parameter, f"names {shown(key)!r}, no relation of {name}; its relations are {', '.join(sorted(relations))}"
        )
    return found


def _refuse_two_meanings(shape: Shape) -> None:
    for column in shape.columns:
        name = column._meta.name
        if name in shape.related:
            refuse("__visible_fields", f"asks for {name} as a column and as a relation")
    for _, nested in shape.related.values():
        _refuse_two_meanings(nested)


def row_json(shape: Shape, alias: str) -> str:
    """A SQL expression: one row of `alias` as JSON."""
    return _as_json(shape, alias, _aliases())


def row_fields(shape: Shape, alias: str) -> str:
    """What `row_json` makes JSON of, as the columns of a query on `alias`."""
    return ", ".join(_fields(shape, alias, _aliases(), of_many=False))


def extended_json(shape: Shape, alias: str, stored: str) -> str:
    """A SQL expression: `stored`, the text of one row of `alias` as JSON, followed by its related rows."""
    next_alias = _aliases()
    related = "".join(
        f""" || ',"{key}":' || coalesce({_related(relation, nested, alias, next_alias, of_many=False)}::text, 'null')"""
        for key, (relation, nested) in shape.related.items()
    )
    return f"left({stored}, -1){related} || chr(125)"  # A brace, which Piccolo would take for a placeholder.


def _aliases() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"r{next(numbers)}"


def _as_json(shape: Shape, alias: str, next_alias: Callable[[], str], *, of_many: bool = False) -> str:
    fields = ", ".join(_fields(shape, alias, next_alias, of_many=of_many))
    return f"(SELECT row_to_json(j) FROM (SELECT {fields}) AS j)"


def _fields(shape: Shape, alias: str, next_alias: Callable[[], str], *, of_many: bool) -> list[str]:
    fields = [f'{_value(column, alias)} AS "{column._meta.name}"' for column in shape.columns]
    if shape.readable:
        fields += [
            f'{_readable(column, alias, next_alias())} AS "{column._meta.name}_readable"'
            for column in shape.columns
            if isinstance(column, ForeignKey)
        ]
    fields += [
        f'{_related(relation, nested, alias, next_alias, of_many=of_many)} AS "{key}"'
        for key, (relation, nested) in shape.related.items()
    ]
    return fields


def _value(column: Column, alias: str) -> str:
    name = f'{alias}."{column._meta.db_column_name}"'
    if not isinstance(column, Timestamptz):
        return name
    return utc_text(name)


def utc_text(moment: str) -> str:
    """A SQL expression: a time as it stands in JSON."""
    return f"replace(to_char({moment} AT TIME ZONE 'UTC', {_RFC_3339}), '.000000', '')"


def _related(relation: Relation, shape: Shape, alias: str, next_alias: Callable[[], str], *, of_many: bool) -> str:
    """`of_many`: the row that it is related to is one of many itself."""
    inner = next_alias()
    target, column = relation.target._meta.tablename, relation.column_name
    limit = MAX_RELATED_TWICE if of_many or shape.has_many() else MAX_RELATED
    fields = ", ".join(_fields(shape, inner, next_alias, of_many=of_many or relation.is_many))
    if not relation.is_many:
        rows = f'SELECT {fields} FROM "{target}" AS {inner} WHERE {inner}."id" = {alias}."{column}"'
        return f"(SELECT row_to_json({inner}) FROM ({rows}) AS {inner})"
    # Both columns, as the composite foreign key and its index have them.
    parent = relation.column._foreign_key_meta.resolved_references
    same_tenant = f' AND {inner}."tenant_id" = {alias}."tenant_id"' if _has_tenant(parent) else ""
    found = (
        f'SELECT {inner}.* FROM "{target}" AS {inner} WHERE {inner}."{column}" = {alias}."id"{same_tenant} '
        f'ORDER BY {inner}."created_at" DESC, {inner}."id" LIMIT {limit}'
    )
    return f"(SELECT coalesce(json_agg({inner}), '[]') FROM (SELECT {fields} FROM ({found}) AS {inner}) AS {inner})"


def _has_tenant(table: type[Table]) -> bool:
    return any(column._meta.name == "tenant_id" for column in table._meta.columns)


def _readable(column: ForeignKey[Any], alias: str, inner: str) -> str:
    target = column._foreign_key_meta.resolved_references
    readable = target.get_readable()
    arguments = "".join(f", {_value(part, inner)}" for part in readable.columns)
    template = readable.template.replace("'", "''")
    return (
        f"(SELECT format('{template}'{arguments}) FROM \"{target._meta.tablename}\" AS {inner} "
        f'WHERE {inner}."id" = {alias}."{column._meta.name}")'
    )
