"""The trail's functions name the columns of their tables: none is left out, and a new one is noticed and added."""

import json

import asyncpg
import pytest

from tests.audit.test_trail import ENTITIES
from tests.clinics import Clinic

# What each function must say of each column: in the list of a new row, in that of a deleted one, in each comparison.
MISSING = """
WITH tracked AS (
    SELECT tgrelid, prosrc AS body FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE tgname = 'z_audit_insert'
)
SELECT tgrelid::regclass::text || '.' || attname || ' ' || said.place AS missing
  FROM tracked
  JOIN pg_attribute ON attrelid = tgrelid AND attnum > 0 AND NOT attisdropped AND attname <> 'search'
 CROSS JOIN LATERAL (VALUES
    ('insert', format('%1$L, n.%1$I', attname)),
    ('delete', format('%1$L, o.%1$I', attname)),
    ('before', format('n.%1$I IS DISTINCT FROM o.%1$I THEN jsonb_build_object(%1$L, o.%1$I)', attname)),
    ('after', format('n.%1$I IS DISTINCT FROM o.%1$I THEN jsonb_build_object(%1$L, n.%1$I)', attname))
 ) AS said (place, words)
 WHERE strpos(body, said.words) = 0
 ORDER BY missing
"""
PLACES = ("after", "before", "delete", "insert")
TRACKED = [(table, entity, "tenant_id") for table, entity in ENTITIES.items()] + [("tenants", "tenant", "id")]
ENTRIES = "SELECT action, changes FROM audit_logs WHERE entity_type = $1 AND entity_id = $2 AND changes::text LIKE $3"


async def missing(connection: asyncpg.Connection) -> list[str]:
    """The columns, with the place, of which a trail function says nothing."""
    return [row["missing"] for row in await connection.fetch(MISSING)]


async def test_every_column_is_recorded(superuser: asyncpg.Connection) -> None:
    """Each tracked table's own function compares and records every column but `search`."""
    assert await missing(superuser) == []
    tracked = await superuser.fetch(
        "SELECT tgrelid::regclass::text AS name, proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
        "WHERE tgname = 'z_audit_insert'"
    )
    assert {row["name"]: row["proname"] for row in tracked} == {
        name: f"record_{name}" for name in (*ENTITIES, "tenants", "events")
    }


async def test_what_follows_from_the_others_is_not_recorded(superuser: asyncpg.Connection) -> None:
    """No function names the column `search`, though tables have it."""
    have = "SELECT count(*) FROM pg_trigger JOIN pg_attribute ON attrelid = tgrelid WHERE tgname = 'z_audit_insert'"
    assert await superuser.fetchval(f"{have} AND attname = 'search'") > 0
    query = "SELECT proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE tgname = 'z_audit_insert'"
    assert await superuser.fetch(f"{query} AND strpos(prosrc, 'search') > strpos(prosrc, 'BEGIN')") == []


@pytest.mark.parametrize("tracked", TRACKED, ids=[table for table, *_ in TRACKED])
@pytest.mark.parametrize("column", ["note", 'An "odd" column\'s name, 100%'])
async def test_new_column_is_noticed_and_tracked(
    owner: asyncpg.Connection,
    superuser: asyncpg.Connection,
    clinics: tuple[Clinic, Clinic],
    tracked: tuple[str, str, str],
    column: str,
) -> None:
    """A new column is missing until its owner calls `track_table` again; from then on its changes leave an entry."""
    table, entity, tenant_key = tracked
    row_id = clinics[0].rows[table]
    quoted = '"' + column.replace('"', '""') + '"'
    change = f"UPDATE {table} SET {quoted} = $1 WHERE id = $2"
    await owner.execute(f"ALTER TABLE {table} ADD COLUMN {quoted} text")
    assert await missing(superuser) == [f"{table}.{column} {place}" for place in PLACES]
    await superuser.execute(change, "unseen", row_id)
    assert await superuser.fetch(ENTRIES, entity, row_id, "%unseen%") == []

    await owner.fetchval("SELECT audit.track_table($1::text::regclass, $2, $3)", table, entity, tenant_key)
    assert await missing(superuser) == []
    await superuser.execute(change, "seen now", row_id)
    entries = await superuser.fetch(ENTRIES, entity, row_id, "%seen now%")
    assert [row["action"] for row in entries] == ["update"]
    changes = json.loads(entries[0]["changes"])
    assert (changes["before"][column], changes["after"][column]) == ("unseen", "seen now")
    function = f"SELECT proowner::regrole::text FROM pg_proc WHERE oid = 'audit.record_{table}()'::regprocedure"
    assert await superuser.fetchval(function) == "fastlane_auditor"
