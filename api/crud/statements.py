"""The SQL of the CRUD protocol. Rows come as JSON that PostgreSQL has built.

A statement holds names from the tables and placeholders; values travel beside it. All of it
runs in the request's bound transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from piccolo.columns import Column
from piccolo.querystring import QueryString
from piccolo.table import Table

from api.problems import Problem
from api.query.filters import all_of, escape_like
from api.query.order import OrderTerm, rows_after
from api.query.parse import ListQuery
from api.query.shape import Shape, plain, row_json
from tenancy.scoping import database

EXACT_UP_TO = 1000
SAMPLED_ROWS = 50_000
ANSWER_LIMIT = 32 * 1024 * 1024


async def fetch(statement: QueryString) -> list[Any]:
    """Runs a statement in the request's transaction. Raises `asyncpg.PostgresError`."""
    transaction = database().current_transaction.get()
    assert transaction is not None, "outside of a bound request"
    sql, values = statement.compile_string()
    rows: list[Any] = await transaction.connection.fetch(sql, *values)
    return rows


def bounded(statement: QueryString, columns: Sequence[str] = (), limit: int = ANSWER_LIMIT) -> QueryString:
    """The statement with `body` NULL in the rows that would make the answer larger than `limit`
    bytes, and with its other `columns`. The service then holds no more than that."""
    others = "".join(f", {column}" for column in columns)
    return QueryString(
        f"WITH page AS ({{}}) SELECT CASE WHEN size <= {limit} THEN body END AS body{others} "
        "FROM (SELECT page.*, sum(octet_length(body)) OVER (ROWS UNBOUNDED PRECEDING) AS size FROM page) AS page",
        statement,
    )


def bodies_of(rows: Sequence[Any]) -> list[bytes]:
    """The JSON of `bounded` rows. Raises `Problem` 400 when the answer would be too large."""
    if any(row["body"] is None for row in rows):
        raise Problem(
            400, f"The answer would have more than {ANSWER_LIMIT} bytes. Ask for fewer rows, or for fewer fields."
        )
    return [row["body"].encode() for row in rows]


# -- Reading -----------------------------------------------------------------


def select_page(query: ListQuery, after: Sequence[Any] | None, limit: int) -> QueryString:
    """A page: `body` is a row's JSON, `k0`, `k1`, … its order values. JSON is made of the rows
    of the page only, not of those that an offset skips."""
    name = _name(query.shape.table)
    where = [*query.where, rows_after(query.order, after)] if after is not None else query.where
    rank = ", hit.rank AS rank" if query.search is not None else ""
    # Ordered by rank, a row carries it: the condition on it needs a level of its own.
    source = QueryString(f"SELECT {name}.*{rank} FROM {{}}", _source(query))
    if rank:
        source = QueryString(f"SELECT {name}.* FROM ({{}}) AS {name}", source)
    source = QueryString("{}{}", source, _where(where))
    order = ", ".join(term.sql for term in query.order)
    keys = "".join(f", {term.expression} AS k{index}" for index, term in enumerate(query.order))
    return QueryString(
        f"SELECT {row_json(query.shape, name)}::text AS body{keys} "
        f"FROM ({{}} ORDER BY {order} LIMIT {{}} OFFSET {{}}) AS {name}",
        source,
        limit,
        query.offset,
    )


def order_columns(terms: Sequence[OrderTerm]) -> list[str]:
    """The columns in which `select_page` gives the order values."""
    return [f"k{index}" for index in range(len(terms))]


def order_values(row: Any, terms: Sequence[OrderTerm]) -> list[Any]:
    """The order values of a row of `select_page`."""
    return [row[column] for column in order_columns(terms)]


def select_one(shape: Shape, row_id: UUID) -> QueryString:
    """`body`, and `plain`, the JSON of the row as it is stored, where the shape is another."""
    name = _name(shape.table)
    stored = "" if shape.is_plain else f", {row_json(plain(shape.table), name)}::text AS plain"
    return QueryString(
        f"SELECT {row_json(shape, name)}::text AS body{stored} FROM {name} WHERE {name}.id = {{}}",
        row_id,
    )


def lock_one(table: type[Table], row_id: UUID) -> QueryString:
    """`body`, of a row that nobody else changes until the transaction ends."""
    return QueryString("{} FOR NO KEY UPDATE", select_one(plain(table), row_id))


def lock_matching(query: ListQuery, limit: int) -> QueryString:
    """`id` and `body`, of what is short, of the rows that a bulk change is about, by their keys."""
    name = _name(query.shape.table)
    return QueryString(
        f"SELECT {name}.id, {row_json(query.shape, name)}::text AS body FROM {{}}{{}} "
        f"ORDER BY {name}.id LIMIT {{}} FOR NO KEY UPDATE OF {name}",
        _source(query),
        _where(query.where),
        limit,
    )


def select_many(table: type[Table], ids: Sequence[UUID]) -> QueryString:
    """`body` of each row, as it is stored."""
    name = _name(table)
    return QueryString(
        f"SELECT {row_json(plain(table), name)}::text AS body FROM {name} WHERE {name}.id = ANY({{}})", list(ids)
    )


def select_ids(table: type[Table], search: str, limit: int, offset: int) -> QueryString:
    """`id` and `readable`, by name."""
    named = table.select(table._meta.primary_key, table.get_readable()).querystrings[0]
    return QueryString(
        "SELECT item.id, item.readable FROM ({}) AS item WHERE item.readable ILIKE {} "
        "ORDER BY item.readable, item.id LIMIT {} OFFSET {}",
        named,
        f"%{escape_like(search)}%",
        limit,
        offset,
    )


def count_exactly(query: ListQuery) -> QueryString:
    """`total`."""
    return QueryString("SELECT count(*) AS total FROM {}{}", _source(query), _where(query.where))


def count_some(query: ListQuery) -> QueryString:
    """`total`, at most one more than `EXACT_UP_TO`."""
    return QueryString(
        "SELECT count(*) AS total FROM (SELECT 1 FROM {}{} LIMIT {}) AS found",
        _source(query),
        _where(query.where),
        EXACT_UP_TO + 1,
    )


def count_sampled(query: ListQuery) -> QueryString:
    """`total`, scaled up from a sample of the table's pages. The planner's own estimate would be
    made of statistics over all tenants, and tell one what others have."""
    name = _name(query.shape.table)
    table = query.shape.table._meta.tablename
    return QueryString(
        "SELECT (count(*) * 100 / sample.percent)::bigint AS total FROM "
        f"(SELECT least(100, 100.0 * {SAMPLED_ROWS} / greatest(reltuples, 1))::real AS percent "
        f"FROM pg_class WHERE oid = '{table}'::regclass) AS sample "
        f"CROSS JOIN LATERAL (SELECT 1 FROM {name} TABLESAMPLE SYSTEM (sample.percent) REPEATABLE (1){{}}) AS found "
        "GROUP BY sample.percent",
        _where(query.where),
    )


def _name(table: type[Table]) -> str:
    return f'"{table._meta.tablename}"'


def _source(query: ListQuery) -> QueryString:
    name = _name(query.shape.table)
    if query.search is None:
        return QueryString(name)
    function: str = query.shape.table.search_function  # type: ignore[attr-defined]
    return QueryString(f"{name} JOIN {function}({{}}) AS hit ON hit.id = {name}.id", query.search)


def _where(clauses: Sequence[Any]) -> QueryString:
    return QueryString(" WHERE {}", all_of(clauses).querystring) if clauses else QueryString("")


# -- Writing -----------------------------------------------------------------


def insert(table: type[Table], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> QueryString:
    """All rows in one statement; `body` for each, in their order."""
    return QueryString("{} RETURNING {}", _insert(table, columns, rows), _returned(table))


def upsert(
    table: type[Table],
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    key: Sequence[str],
    changed: Sequence[str],
) -> QueryString:
    """Inserts rows, or changes what has the same unique key; `created` tells which.

    https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """
    # Writing the key onto itself makes PostgreSQL return a row of which nothing else changes.
    assignments = ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in (changed or key))
    target = ", ".join(f'"{name}"' for name in key)
    return QueryString(
        f"{{}} ON CONFLICT ({target}) DO UPDATE SET {assignments} RETURNING {{}}, (xmax = 0) AS created",
        _insert(table, columns, rows),
        _returned(table),
    )


def update(table: type[Table], changes: Mapping[str, Any], ids: Sequence[UUID]) -> QueryString:
    """The same change to each row; `body` for each."""
    name, names = _name(table), ", ".join(f'"{column}"' for column in changes)
    return QueryString(
        f"UPDATE {name} SET ({names}) = (SELECT {names} FROM jsonb_populate_record(NULL::{name}, {{}}::jsonb)) "
        f"WHERE {name}.id = ANY({{}}) RETURNING {{}}",
        orjson.dumps(changes).decode(),
        list(ids),
        _returned(table),
    )


def delete(table: type[Table], ids: Sequence[UUID]) -> QueryString:
    """`id` of each row that was there."""
    name = _name(table)
    return QueryString(f"DELETE FROM {name} WHERE {name}.id = ANY({{}}) RETURNING {name}.id", list(ids))


def _insert(table: type[Table], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> QueryString:
    # Only what a client may write: the rest is the database's to fill.
    name, names = _name(table), ", ".join(f'"{column._meta.db_column_name}"' for column in columns)
    return QueryString(
        f"INSERT INTO {name} ({names}) SELECT {names} FROM jsonb_populate_recordset(NULL::{name}, {{}}::jsonb)",
        orjson.dumps(rows).decode(),
    )


def _returned(table: type[Table]) -> QueryString:
    return QueryString(f"{row_json(plain(table), _name(table))}::text AS body")
