"""The SQL that reads the versions of a row and brings a deleted one back; `audit/sql/restore_1.sql` has its functions.

A version's row comes as JSON in the shape in which a read shows the row now.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from uuid import UUID

from piccolo.table import Table

from api.crud.execution import Compiled
from api.crud.statements import ANSWER_LIMIT
from api.query.shape import plain, row_json, utc_text


def select_versions(table: type[Table], row_id: UUID, limit: int, offset: int) -> Compiled:
    """One row: `bodies`, one after the other with commas between, the oldest first, NULL where they are larger than
    an answer may be; `length`, how many; `total`, how many there are; `is_known`, whether the row is or was there."""
    return Compiled(_page_sql(table), [row_id, limit, offset])


def select_version_at(table: type[Table], row_id: UUID, moment: datetime) -> Compiled:
    """`body` of the row as it was; no row where it was not there, or nothing is known of that time."""
    return Compiled(_at_sql(table), [row_id, moment])


def select_chosen(table: type[Table], row_id: UUID, version: int | None, moment: datetime | None) -> Compiled:
    """`version` and `body` of the last version in which there was a row, and of the one that is chosen, if any is,
    with `is_chosen` and the columns that are `differing` from the last. The `body` of a deletion is NULL."""
    return Compiled(_chosen_sql(table), [row_id, version, moment])


def write_version(table: type[Table], names: Sequence[str], row_id: UUID, version: int) -> Compiled:
    """Gives columns of a row that is there what the version has in them, to the last digit; its `body`."""
    name, listed = _name(table), ", ".join(f'"{column}"' for column in names)
    restored = ", ".join(f'restored."{column}"' for column in names)
    return Compiled(
        f"UPDATE {name} SET ({listed}) = (SELECT {restored} FROM audit.versions_1('{name}'::regclass, $1) AS v "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{name}, v.document) AS restored WHERE v.version = $2) "
        f"WHERE {name}.id = $1 RETURNING {row_json(plain(table), name)}::text AS body",
        [row_id, version],
    )


def restore(table: type[Table], row_id: UUID, version: int) -> Compiled:
    """Brings a deleted row back as that version had it, and what the same delete took."""
    return Compiled(f"SELECT audit.restore_row_1('{_name(table)}'::regclass, $1, $2)", [row_id, version])


@cache
def _page_sql(table: type[Table]) -> str:
    about = f"""v.version, v.action, {utc_text("v.at")} AS at, v.user_id, v.actor, v.request_id, v.changes"""
    return f"""
        WITH {_versions(table)}, page AS MATERIALIZED (
            SELECT v.version, row_to_json(j)::text AS body
              FROM (SELECT * FROM versions WHERE version > 0 ORDER BY version LIMIT $2 OFFSET $3) AS v
             CROSS JOIN LATERAL {_populated(table)}
             CROSS JOIN LATERAL (SELECT {about}, {_row(table)} AS "row") AS j
        )
        SELECT CASE WHEN coalesce(sum(octet_length(body)), 0) <= {ANSWER_LIMIT}
                    THEN coalesce(string_agg(body, ',' ORDER BY version), '') END AS bodies,
               count(*) AS length,
               (SELECT count(*) FROM versions WHERE version > 0) AS total,
               EXISTS (SELECT FROM versions) AS is_known
          FROM page"""


@cache
def _at_sql(table: type[Table]) -> str:
    return f"""
        WITH {_versions(table)}
        SELECT {_row(table)}::text AS body
          FROM (SELECT * FROM versions WHERE at <= $2 ORDER BY version DESC LIMIT 1) AS v
         CROSS JOIN LATERAL {_populated(table)}
         WHERE v.document IS NOT NULL"""


@cache
def _chosen_sql(table: type[Table]) -> str:
    return f"""
        WITH {_versions(table)}, chosen AS (
            SELECT max(version) AS version FROM versions WHERE version = $2 OR at <= $3
        ), last AS (
            SELECT version, document FROM versions WHERE document IS NOT NULL ORDER BY version DESC LIMIT 1
        )
        SELECT v.version, {_row(table)}::text AS body,
               coalesce(v.version = chosen.version, false) AS is_chosen,
               ARRAY(SELECT key FROM jsonb_object_keys(v.document) AS key
                      WHERE v.document -> key IS DISTINCT FROM last.document -> key) AS differing
          FROM chosen CROSS JOIN last JOIN versions AS v ON v.version IN (chosen.version, last.version)
         CROSS JOIN LATERAL {_populated(table)}"""


def _versions(table: type[Table]) -> str:
    return f"versions AS MATERIALIZED (SELECT * FROM audit.versions_1('{_name(table)}'::regclass, $1))"


def _populated(table: type[Table]) -> str:
    return f"audit.typed_1(NULL::{_name(table)}, v.document) AS {_name(table)}"


def _row(table: type[Table]) -> str:
    return f"CASE WHEN v.document IS NOT NULL THEN {row_json(plain(table), _name(table))} END"


def _name(table: type[Table]) -> str:
    return f'"{table._meta.tablename}"'
