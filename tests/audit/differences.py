"""What the trail must say of an operation, whatever it was: computed from the rows before it and after it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

ENTITIES = {
    "tenants": "tenant",
    "users": "user",
    "ingestions": "ingestion",
    "cases": "case",
    "case_codes": "case_code",
    "tasks": "task",
    "rulesets": "ruleset",
    "events": "event",
}
Row = dict[str, Any]
Entry = tuple[str, str, str, str]
"""Action, entity, the row's id, and what changed as JSON."""


async def every_row(connection: asyncpg.Connection) -> dict[tuple[str, UUID], Row]:
    """Each tracked row as the trail would write it, by entity and id."""
    await connection.execute("SET timezone = 'UTC'")
    found: dict[tuple[str, UUID], Row] = {}
    for table, entity in ENTITIES.items():
        rows = await connection.fetch(f"SELECT id, (to_jsonb(t) - 'search')::text AS document FROM {table} t")
        found |= {(entity, row["id"]): json.loads(row["document"]) for row in rows}
    return found


def expected_entries(before: dict[tuple[str, UUID], Row], after: dict[tuple[str, UUID], Row]) -> list[Entry]:
    """One entry for each row that differs, with the columns that do."""
    entries = []
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        action = "create" if old is None else "delete" if new is None else "update"
        was, now = old or {}, new or {}
        names = [name for name in was | now if old is None or new is None or was[name] != now[name]]
        changes = {
            "before": {name: was[name] for name in names if name in was},
            "after": {name: now[name] for name in names if name in now},
        }
        entries.append((action, key[0], str(key[1]), json.dumps(changes, sort_keys=True)))
    return sorted(entries)


@asynccontextmanager
async def exactly_recorded(connection: asyncpg.Connection) -> AsyncIterator[list[Entry]]:
    """Fails unless what happens inside leaves one entry for each changed row, and none besides.

    Yields the entries, which are there when the block has ended. Views are no changes.
    """
    known = {row["id"] for row in await connection.fetch("SELECT id FROM audit_logs")}
    before = await every_row(connection)
    found: list[Entry] = []
    yield found
    after = await every_row(connection)
    for row in await connection.fetch("SELECT * FROM audit_logs WHERE action <> 'view'"):
        if row["id"] not in known:
            changes = json.dumps(json.loads(row["changes"]), sort_keys=True)
            found.append((row["action"], row["entity_type"], str(row["entity_id"]), changes))
    found.sort()
    assert found == expected_entries(before, after)
