"""The SQL that reads. Rows come as JSON that PostgreSQL has built.

A statement holds names from the tables and placeholders; values travel beside it.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from piccolo.querystring import QueryString
from piccolo.table import Table

from api.problems import Problem
from api.query.filters import all_of, escape_like
from api.query.order import OrderTerm, rows_after
from api.query.parse import ListQuery
from api.query.shape import Shape, extended_json, plain, row_fields, row_json

EXACT_UP_TO = 1000
SAMPLED_ROWS = 50_000
ANSWER_LIMIT = 32 * 1024 * 1024


def bounded(statement: QueryString, columns: Sequence[str] = (), limit: int = ANSWER_LIMIT) -> QueryString:
    """The statement with `body` NULL in the rows that would make the answer larger than `limit`
    bytes, and with its other `columns`. The service then holds no more than that."""
    others = "".join(f", {column}" for column in columns)
    return QueryString(  # Materialized: the JSON would be made twice, to be measured and to be sent.
        f"WITH page AS MATERIALIZED ({{}}) SELECT CASE WHEN size <= {limit} THEN body END AS body{others} "
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


# Between the rows of a page: a control character stands in no JSON that PostgreSQL makes.
BETWEEN = b"\x1e"


def gathered(statement: QueryString, rows: int, total: QueryString | None) -> QueryString:
    """A page in one row: `bodies`, one after the other; `is_whole`; and the `total`, if it is asked for.

    Cheaper than `bounded` where it applies: when none of so many rows has more than its share of the
    limit. Else `is_whole` is false, and something is missing.
    """
    counted = QueryString(", ({}) AS total", total) if total else QueryString("")
    return QueryString(
        "SELECT string_agg(body, E'\\x1e') AS bodies, count(*) = count(body) AS is_whole{} FROM ("
        f"SELECT CASE WHEN octet_length(body) <= {ANSWER_LIMIT // rows} THEN body END AS body "
        "FROM ({} OFFSET 0) AS made) AS page",  # OFFSET 0 keeps it apart, or the JSON would be made twice.
        counted,
        statement,
    )


# -- Reading -----------------------------------------------------------------


def select_page(query: ListQuery, limit: int) -> QueryString:
    """A page: `body` is a row's JSON, made of the rows of the page only, not of those that an offset skips."""
    rows = _page_source(query, None, limit)
    fields = row_fields(query.shape, _name(query.shape.table))
    return QueryString(f"SELECT row_to_json(j)::text AS body FROM (SELECT {fields} FROM {{}}) AS j", rows)


def select_keyed_page(query: ListQuery, after: Sequence[Any] | None, limit: int) -> QueryString:
    """A page after the row with these order values: `body`, and `k0`, `k1`, … for the order values of each row."""
    name = _name(query.shape.table)
    keys = "".join(f", {term.expression} AS k{index}" for index, term in enumerate(query.order))
    rows = _page_source(query, after, limit)
    return QueryString(f"SELECT {row_json(query.shape, name)}::text AS body{keys} FROM {{}}", rows)


def _page_source(query: ListQuery, after: Sequence[Any] | None, limit: int) -> QueryString:
    name = _name(query.shape.table)
    where = [*query.where, rows_after(query.order, after)] if after is not None else query.where
    rank = ", hit.rank AS rank" if query.search is not None else ""
    # Ordered by rank, a row carries it: the condition on it needs a level of its own.
    source = QueryString(f"SELECT {name}.*{rank} FROM {{}}", _source(query))
    if rank:
        source = QueryString(f"SELECT {name}.* FROM ({{}}) AS {name}", source)
    source = QueryString("{}{}", source, _where(where))
    order = ", ".join(term.sql for term in query.order)
    # As numbers: a plan that is kept must know that they are small.
    return QueryString(f"({{}} ORDER BY {order} LIMIT {limit:d} OFFSET {query.offset:d}) AS {name}", source)


def order_columns(terms: Sequence[OrderTerm]) -> list[str]:
    """The columns in which `select_keyed_page` gives the order values."""
    return [f"k{index}" for index in range(len(terms))]


def order_values(row: Any, terms: Sequence[OrderTerm]) -> list[Any]:
    """The order values of a row of `select_keyed_page`."""
    return [row[column] for column in order_columns(terms)]


def select_one(shape: Shape, row_id: UUID) -> QueryString:
    """`body`, NULL where it is larger than `ANSWER_LIMIT`. In a shape that is not the row as it is stored also
    `stored`, the JSON of that, or where the body begins with it `size`, its length."""
    name = _name(shape.table)
    row = QueryString(f"{name} WHERE {name}.id = {{}}", row_id)
    stored = f"{row_json(plain(shape.table), name)}::text"
    if shape.is_plain:
        return QueryString(f"SELECT {stored} AS body FROM {{}}", row)
    if shape.is_extended:
        row = QueryString(f"(SELECT {name}.*, {stored} AS stored FROM {{}} OFFSET 0) AS {name}", row)
        body, column, about = extended_json(shape, name, f"{name}.stored"), "size", f"octet_length({name}.stored)"
    else:
        body, column, about = f"{row_json(shape, name)}::text", "stored", stored
    return QueryString(
        f"SELECT CASE WHEN octet_length(body) <= {ANSWER_LIMIT} THEN body END AS body, {column} "
        f"FROM (SELECT {body} AS body, {about} AS {column} FROM {{}} OFFSET 0) AS made",
        row,
    )


def lock_one(table: type[Table], row_id: UUID) -> QueryString:
    """`body`, of a row that nobody else changes until the transaction ends."""
    return QueryString("{} FOR NO KEY UPDATE", select_one(plain(table), row_id))


def lock_matching(query: ListQuery, limit: int) -> QueryString:
    """`id` and `body`, of what is short, of the rows that a bulk change is about, by their keys."""
    name = _name(query.shape.table)
    return QueryString(
        f"SELECT {name}.id, {row_json(query.shape, name)}::text AS body FROM {{}}{{}} "
        f"ORDER BY {name}.id LIMIT {limit:d} FOR NO KEY UPDATE OF {name}",
        _source(query),
        _where(query.where),
    )


def select_many(table: type[Table], ids: Sequence[UUID]) -> QueryString:
    """`id` and `body` of each row, as it is stored."""
    name = _name(table)
    return QueryString(
        f"SELECT {name}.id, {row_json(plain(table), name)}::text AS body FROM {name} WHERE {name}.id = ANY({{}})",
        list(ids),
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
        f"SELECT count(*) AS total FROM (SELECT 1 FROM {{}}{{}} LIMIT {EXACT_UP_TO + 1}) AS found",
        _source(query),
        _where(query.where),
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
