"""The tables in the database against the seed, and the closed sets against the enums."""

import re

import asyncpg
import pytest
from piccolo.columns import JSON, JSONB, Column
from piccolo.table import Table

from tenancy.catalog import served_tables, tenant_tables
from tests.contracts.seed_schema import Model, read_models

MODELS = read_models()
TYPES = {
    "character varying": "varchar",
    "timestamp with time zone": "timestamptz",
    "double precision": "float8",
    "boolean": "bool",
}
DEFAULTS = {"gen_random_uuid()": "uuid", "CURRENT_TIMESTAMP": "now", "now()": "now", None: ""}
ACTIONS = {"c": "cascade", "n": "set_null", "a": "no_action", "r": "restrict", "d": "set_default"}

COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
       pg_get_expr(d.adbin, d.adrelid) AS default
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
INDEXES = """
SELECT i.indisprimary AS is_primary, i.indisunique AS is_unique, i.indpred IS NOT NULL AS is_partial,
       array(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n) AS columns
  FROM pg_index i WHERE i.indrelid = $1::text::regclass AND i.indisvalid
"""
REFERENCES = """
SELECT k.confrelid::regclass::text AS target, k.confdeltype::text AS deleted, k.confupdtype::text AS updated,
       array(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY AS key(number, place)
               JOIN pg_attribute ON attrelid = k.conrelid AND attnum = key.number ORDER BY key.place) AS columns,
       array(SELECT attname::text FROM pg_attribute
              WHERE attrelid = k.conrelid AND attnum = ANY (k.confdelsetcols)) AS cleared
  FROM pg_constraint k WHERE k.contype = 'f' AND k.convalidated AND k.conrelid = $1::text::regclass
"""
CHECKS = """
SELECT a.attname::text AS column, pg_get_constraintdef(k.oid) AS definition
  FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND ARRAY[a.attnum] = k.conkey
 WHERE k.contype = 'c' AND k.convalidated AND k.conrelid = $1::text::regclass
"""

of_every_table = pytest.mark.parametrize("table", MODELS)


async def stored_columns(connection: asyncpg.Connection, table: str) -> dict[str, tuple[str, bool, str]]:
    """Type, nullability and default of each column, in the words of the seed's table."""
    columns = {}
    for row in await connection.fetch(COLUMNS, table):
        kind = re.sub(r"^[a-z ]+", lambda name: TYPES.get(name[0], name[0]), row["type"])
        default = DEFAULTS.get(row["default"], re.sub(r"^'(.*)'::.*$", r"\1", row["default"] or ""))
        columns[row["name"]] = (kind, row["nullable"], default)
    return columns


async def stored_model(connection: asyncpg.Connection, table: str) -> Model:
    """What the database has, without the tenant's part in composite references."""
    model = Model(columns=await stored_columns(connection, table))
    for row in await connection.fetch(INDEXES, table):
        if not row["is_primary"] and not row["is_partial"]:
            (model.uniques if row["is_unique"] else model.indexes).add(tuple(row["columns"]))
    for row in await connection.fetch(REFERENCES, table):
        names = [name for name in row["columns"] if name != "tenant_id"] or row["columns"]
        model.references[".".join(names)] = (row["target"], ACTIONS[row["deleted"]])
    return model


def test_the_nine_tables_are_registered() -> None:
    """The registry serves the nine tables of the seed and the log of looks; each further tenant table is a decision."""
    assert {table._meta.tablename for table in served_tables()} == {*MODELS, "access_logs"}
    assert {table._meta.tablename for table in tenant_tables()} - set(MODELS) == {
        *("access_logs", "idempotency_keys", "invitations", "known_codes"),
    }


@of_every_table
async def test_columns(superuser: asyncpg.Connection, table: str) -> None:
    """A table has the seed's columns with their types, lengths, nullability and defaults."""
    stored = await stored_columns(superuser, table)
    expected = MODELS[table].columns
    assert {name: stored.get(name) for name in expected} == expected


@of_every_table
async def test_further_columns(superuser: asyncpg.Connection, table: str) -> None:
    """A column that the seed does not have is nullable or has a default."""
    stored = await stored_columns(superuser, table)
    assert [
        name
        for name, (_, nullable, default) in stored.items()
        if name not in MODELS[table].columns and not nullable and not default
    ] == []


@of_every_table
async def test_keys_and_indexes(superuser: asyncpg.Connection, table: str) -> None:
    """A table has the seed's single-column indexes and no others, its composite ones, and its unique keys.

    A further unique key may not forbid what the seed allows: it holds the primary key.
    """
    stored, expected = await stored_model(superuser, table), MODELS[table]
    primary = [row["columns"] for row in await superuser.fetch(INDEXES, table) if row["is_primary"]]
    assert primary == [["id"]]
    assert {columns for columns in stored.indexes if len(columns) == 1} == {
        columns for columns in expected.indexes if len(columns) == 1
    }
    assert expected.indexes <= stored.indexes
    assert {columns for columns in stored.uniques if "id" not in columns} == expected.uniques


@of_every_table
async def test_references(superuser: asyncpg.Connection, table: str) -> None:
    """A table has the seed's references with their actions; clearing one keeps the tenant. A further one clears."""
    stored, expected = (await stored_model(superuser, table)).references, MODELS[table].references
    assert {name: stored.get(name) for name in expected} == expected
    assert {action for name, (_, action) in stored.items() if name not in expected} <= {"set_null"}
    for row in await superuser.fetch(REFERENCES, table):
        assert row["updated"] == "c", row
        assert "tenant_id" in row["columns"], row
        if row["deleted"] == "n":
            assert row["cleared"] == [name for name in row["columns"] if name != "tenant_id"], row


def choices_of(column: Column) -> set[str]:
    choices = column._meta.choices
    assert isinstance(choices, type)
    return {choice.value for choice in choices}


@pytest.mark.parametrize("table", tenant_tables(), ids=lambda table: table._meta.tablename)
async def test_closed_sets(superuser: asyncpg.Connection, table: type[Table]) -> None:
    """The CHECK of a closed set names the values of the column's enum, and every such CHECK has an enum."""
    stored = {
        row["column"]: set(re.findall(r"'([^']*)'", row["definition"]))
        for row in await superuser.fetch(CHECKS, table._meta.tablename)
        if "= ANY" in row["definition"]
    }
    assert stored == {column._meta.name: choices_of(column) for column in table._meta.columns if column._meta.choices}


@pytest.mark.parametrize("table", tenant_tables(), ids=lambda table: table._meta.tablename)
async def test_documents_are_objects(superuser: asyncpg.Connection, table: type[Table]) -> None:
    """Every JSON column has a CHECK that its document is an object."""
    checks = await superuser.fetch(CHECKS, table._meta.tablename)
    stored = {
        row["column"]
        for row in checks
        if row["definition"] == f"CHECK ((jsonb_typeof({row['column']}) = 'object'::text))"
    }
    assert stored == {column._meta.name for column in table._meta.columns if isinstance(column, JSON | JSONB)}
