"""The SQL that writes. Rows go in as JSON, and come back as the JSON that PostgreSQL builds of what it stored.

What one row needs is built once for each table and set of columns.
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import orjson
from piccolo.querystring import QueryString
from piccolo.table import Table

from api.crud.execution import Compiled
from api.crud.models import writable_columns
from api.query.shape import plain, row_json

KEPT_CHANGES = 500


def insert(table: type[Table], rows: Sequence[Mapping[str, Any]]) -> Compiled:
    """All rows in one statement; `body` for each, in their order."""
    return Compiled(f"{_insert_sql(table)} RETURNING {_returned(table)}", [orjson.dumps(rows).decode()])


def upsert(
    table: type[Table], rows: Sequence[Mapping[str, Any]], key: Sequence[str], changed: Sequence[str]
) -> Compiled:
    """Inserts rows, or changes what has the same unique key; `created` tells which.

    https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """
    # Writing the key onto itself makes PostgreSQL return a row of which nothing else changes.
    assignments = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in (changed or key))
    return Compiled(
        f"{_insert_sql(table)} ON CONFLICT ({_listed(key)}) DO UPDATE SET {assignments} "
        f"RETURNING {_returned(table)}, (xmax = 0) AS created",
        [orjson.dumps(rows).decode()],
    )


def update(table: type[Table], changes: Mapping[str, Any], ids: Sequence[UUID]) -> QueryString:
    """The same change to each row; `body` for each."""
    return QueryString(
        f"UPDATE {_name(table)} SET {_assigned(table, tuple(changes), '{}')} "
        f"WHERE {_name(table)}.id = ANY({{}}) RETURNING {_returned(table)}",
        orjson.dumps(changes).decode(),
        list(ids),
    )


def update_one(table: type[Table], changes: Mapping[str, Any], row_id: UUID) -> Compiled:
    """A change to one row; its `body`, and whether it `is_changed` by that."""
    return Compiled(_update_one_sql(table, tuple(changes)), [orjson.dumps(changes).decode(), row_id])


def delete(table: type[Table], ids: Sequence[UUID]) -> Compiled:
    """`id` of each row that was there."""
    name = _name(table)
    return Compiled(f"DELETE FROM {name} WHERE {name}.id = ANY($1) RETURNING {name}.id", [list(ids)])


@lru_cache(KEPT_CHANGES)
def _update_one_sql(table: type[Table], names: tuple[str, ...]) -> str:
    name = _name(table)
    keeps_time = any(column._meta.name == "updated_at" for column in table._meta.columns)
    is_changed = f"{name}.updated_at = now()" if keeps_time else "true"  # Set by trigger, of what differs.
    return (
        f"UPDATE {name} SET {_assigned(table, names, '$1')} WHERE {name}.id = $2 "
        f"RETURNING {_returned(table)}, {is_changed} AS is_changed"
    )


@cache
def _insert_sql(table: type[Table]) -> str:
    # Only what a client may write: the rest is the database's to fill.
    name, listed = _name(table), _listed([column._meta.db_column_name for column in writable_columns(table)])
    return f"INSERT INTO {name} ({listed}) SELECT {listed} FROM jsonb_populate_recordset(NULL::{name}, $1::jsonb)"


@cache
def _returned(table: type[Table]) -> str:
    return f"{row_json(plain(table), _name(table))}::text AS body"


def _assigned(table: type[Table], names: Sequence[str], document: str) -> str:
    source = f"jsonb_populate_record(NULL::{_name(table)}, {document}::jsonb)"
    return f"({_listed(names)}) = (SELECT {_listed(names)} FROM {source})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _name(table: type[Table]) -> str:
    return f'"{table._meta.tablename}"'
