"""The catalog check sees the boundary whole, and each part of it that is taken away.

What is taken away is read from the catalog of the migrated database, not from a list here.
Every attempt is rolled back, so that one database serves them all.
"""

from collections.abc import Iterable
from typing import Any

import asyncpg
import pytest

from tenancy.catalog import find_isolation_faults, served_tables, tenant_tables
from tests.cluster import TestDatabase

TABLES = [table._meta.tablename for table in tenant_tables()]
TENANT = "fastlane_tenant"
ACTING_ROLES = (
    TENANT,
    "fastlane_platform",
    "fastlane_authn",
    "fastlane_identity",
    "fastlane_auditor",
    "fastlane_search",
    "fastlane_service",
    "fastlane_sealer",
    "fastlane_restorer",
    "fastlane_keeper",
    "fastlane_registrar",
)

POLICIES = """
SELECT polrelid::regclass::text AS table, polname::text AS name FROM pg_policy
 WHERE polrelid = ANY ($1::text[]::regclass[]) AND $2::text::regrole = ANY (polroles) ORDER BY 1, 2
"""
TRIGGERS = """
SELECT tgrelid::regclass::text AS table, tgname::text AS name, pg_get_triggerdef(oid) AS definition FROM pg_trigger
 WHERE tgrelid = ANY ($1::text[]::regclass[]) AND NOT tgisinternal ORDER BY 1, 2
"""
DEFINERS = "SELECT oid::regprocedure::text AS name FROM pg_proc WHERE prosecdef ORDER BY 1"
FOREIGN_KEYS = """
SELECT conrelid::regclass::text AS table, conname::text AS name, confrelid::regclass::text AS target,
       cardinality(conkey) AS width, pg_get_constraintdef(oid) AS definition,
       (SELECT attname::text FROM pg_attribute
         WHERE attrelid = conrelid AND attnum = ANY (conkey) AND attname <> 'tenant_id') AS column
  FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY ($1::text[]::regclass[]) ORDER BY 1, 2
"""


async def unreported(connection: asyncpg.Connection, attempts: Iterable[tuple[str, str]]) -> list[str]:
    """The attempts (what must be named, the SQL that breaks it) after which nothing names it."""
    missed = []
    for named, breakage in attempts:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(breakage)
        findings = [str(finding) for finding in await find_isolation_faults(connection)]
        await transaction.rollback()
        if not any(named in finding for finding in findings):
            missed.append(f"{breakage} -> {findings}")
    return missed


async def fetch(connection: asyncpg.Connection, query: str, *arguments: Any) -> list[asyncpg.Record]:
    """The rows about all tenant tables; there are some."""
    rows: list[asyncpg.Record] = await connection.fetch(query, TABLES, *arguments)
    assert rows
    return rows


async def test_a_fresh_database_is_whole(database: TestDatabase) -> None:
    """On a migrated database there is nothing to report, whichever role asks."""
    for url in (database.superuser, database.owner, database.app):
        connection = await asyncpg.connect(url)
        assert await find_isolation_faults(connection) == []
        await connection.close()


async def test_missing_policy(superuser: asyncpg.Connection) -> None:
    """Each policy of the tenant role that is dropped is reported; every table has two."""
    policies = await fetch(superuser, POLICIES, TENANT)
    assert len(policies) == 2 * len(TABLES)
    attempts = [(f"{p['table']}.{p['name']}", f"DROP POLICY {p['name']} ON {p['table']}") for p in policies]
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize(
    "change",
    [
        "USING (true)",
        "WITH CHECK (true)",
        "TO fastlane_platform",
        "TO fastlane_authn, fastlane_platform",
        "USING (id IS NOT NULL)",
        "RENAME TO other",
    ],
)
async def test_altered_policy(superuser: asyncpg.Connection, change: str) -> None:
    """Each policy of the tenant role that is altered is reported."""
    attempts = [
        (f"{p['table']}.{p['name']}", f"ALTER POLICY {p['name']} ON {p['table']} {change}")
        for p in await fetch(superuser, POLICIES, TENANT)
    ]
    assert await unreported(superuser, attempts) == []


async def test_isolation_must_be_restrictive(superuser: asyncpg.Connection) -> None:
    """A policy that keeps its name and condition but becomes permissive is reported."""
    attempts = []
    for policy in await fetch(superuser, POLICIES, TENANT):
        if policy["name"] == "tenant_isolation":
            table, key = policy["table"], "id" if policy["table"] == "tenants" else "tenant_id"
            condition = f"{key} = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid)"
            again = f"CREATE POLICY tenant_isolation ON {table} TO {TENANT} USING ({condition})"
            attempts.append((f"{table}.tenant_isolation", f"DROP POLICY tenant_isolation ON {table}; {again}"))
    assert len(attempts) == len(TABLES)
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize("kind", ["PERMISSIVE", "RESTRICTIVE"])
@pytest.mark.parametrize("command", ["ALL", "SELECT", "INSERT", "UPDATE", "DELETE"])
@pytest.mark.parametrize("grantee", [TENANT, "PUBLIC"])
async def test_added_policy(superuser: asyncpg.Connection, grantee: str, command: str, kind: str) -> None:
    """A further policy for the tenant role, or for everybody, is reported on every table."""
    condition = "WITH CHECK (true)" if command == "INSERT" else "USING (true)"
    attempts = [
        (f"{table}.widened", f"CREATE POLICY widened ON {table} AS {kind} FOR {command} TO {grantee} {condition}")
        for table in TABLES
    ]
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize("change", ["NO FORCE", "DISABLE"])
async def test_security_switched_off(superuser: asyncpg.Connection, change: str) -> None:
    """Row-level security that is not forced, or not enabled, is reported for every table."""
    attempts = [(table, f"ALTER TABLE {table} {change} ROW LEVEL SECURITY") for table in TABLES]
    assert await unreported(superuser, attempts) == []


async def test_missing_reference(superuser: asyncpg.Connection) -> None:
    """Each foreign key of a tenant table that is dropped is reported, as is one that was not validated."""
    attempts = []
    for key in await fetch(superuser, FOREIGN_KEYS):
        drop = f"ALTER TABLE {key['table']} DROP CONSTRAINT {key['name']}"
        named = f"{key['table']}.{key['column'] or 'tenant_id'}"
        again = f"ALTER TABLE {key['table']} ADD CONSTRAINT {key['name']} {key['definition']} NOT VALID"
        attempts += [(named, drop), (named, f"{drop}; {again}")]
    assert await unreported(superuser, attempts) == []


async def test_single_column_reference(superuser: asyncpg.Connection) -> None:
    """A composite key replaced by one over the reference alone is reported, as is such a key beside it."""
    attempts = []
    for key in await fetch(superuser, FOREIGN_KEYS):
        if key["target"] != "tenants":
            assert key["width"] == 2, key
            simple = f"FOREIGN KEY ({key['column']}) REFERENCES {key['target']} (id)"
            drop = f"ALTER TABLE {key['table']} DROP CONSTRAINT {key['name']}"
            attempts += [
                (f"{key['table']}.{key['name']}", f"{drop}, ADD CONSTRAINT {key['name']} {simple}"),
                (f"{key['table']}.beside", f"ALTER TABLE {key['table']} ADD CONSTRAINT beside {simple}"),
            ]
    assert attempts
    assert await unreported(superuser, attempts) == []


async def test_missing_trigger(superuser: asyncpg.Connection) -> None:
    """Each trigger of a tenant table that is dropped is reported."""
    attempts = [
        (f"{trigger['table']}.{trigger['name']}", f"DROP TRIGGER {trigger['name']} ON {trigger['table']}")
        for trigger in await fetch(superuser, TRIGGERS)
    ]
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize("change", ["DISABLE", "ENABLE REPLICA"])
async def test_disabled_trigger(superuser: asyncpg.Connection, change: str) -> None:
    """Each trigger of a tenant table that is there and does not fire is reported."""
    attempts = [
        (f"{trigger['table']}.{trigger['name']}", f"ALTER TABLE {trigger['table']} {change} TRIGGER {trigger['name']}")
        for trigger in await fetch(superuser, TRIGGERS)
    ]
    assert await unreported(superuser, attempts) == []


async def test_hollow_trigger(superuser: asyncpg.Connection) -> None:
    """Each trigger that keeps its name and runs a function that does nothing is reported."""
    hollow = "CREATE FUNCTION public.hollow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    attempts = []
    for trigger in await fetch(superuser, TRIGGERS):
        definition = f"{trigger['definition'].partition(' EXECUTE ')[0]} EXECUTE FUNCTION public.hollow()"
        drop = f"DROP TRIGGER {trigger['name']} ON {trigger['table']}"
        attempts.append((f"{trigger['table']}.{trigger['name']}", f"{hollow}; {drop}; {definition}"))
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize("power", ["SUPERUSER", "BYPASSRLS", "LOGIN", "CREATEROLE"])
async def test_powerful_role(superuser: asyncpg.Connection, power: str) -> None:
    """An acting role that gains a power is reported."""
    attempts = [(role, f"ALTER ROLE {role} {power}") for role in ACTING_ROLES]
    assert await unreported(superuser, attempts) == []


async def test_role_that_owns(superuser: asyncpg.Connection) -> None:
    """A tenant table that belongs to an acting role is reported."""
    attempts = [(table, f"ALTER TABLE {table} OWNER TO {role}") for table in TABLES for role in ACTING_ROLES]
    assert await unreported(superuser, attempts) == []


@pytest.mark.parametrize("grantee", [TENANT, "PUBLIC"])
async def test_grants_that_go_too_far(superuser: asyncpg.Connection, grantee: str) -> None:
    """TRUNCATE on any table, which no policy stops, and any write on the trail, are reported."""
    attempts = [(table, f"GRANT TRUNCATE ON {table} TO {grantee}") for table in TABLES]
    attempts += [
        ("audit_logs", f"GRANT {privilege} ON audit_logs TO {grantee}")
        for privilege in ("INSERT", "UPDATE", "DELETE", "UPDATE (changes)", "INSERT (changes)")
    ]
    assert await unreported(superuser, attempts) == []


async def test_narrowed_trigger(superuser: asyncpg.Connection) -> None:
    """A trigger that fires for fewer changes, or under a condition, is reported."""
    attempts = []
    for trigger in await fetch(superuser, TRIGGERS):
        if trigger["name"] == "d_stamp_updated":
            fewer = trigger["definition"].replace("INSERT OR UPDATE", "INSERT")
        elif trigger["name"].startswith("z_audit_") and " WHEN " not in trigger["definition"]:
            fewer = trigger["definition"].replace(" EXECUTE ", " WHEN (false) EXECUTE ")
        else:
            continue
        named = f"{trigger['table']}.{trigger['name']}"
        attempts.append((named, f"DROP TRIGGER {trigger['name']} ON {trigger['table']}; {fewer}"))
    tracked = [table for table in served_tables() if "trail" not in table._meta.tags]
    assert len(attempts) > 3 * len(tracked)
    assert await unreported(superuser, attempts) == []


async def test_side_doors(superuser: asyncpg.Connection) -> None:
    """A right of the login role itself, a way from role to role, a view of the owner's, a forged event."""
    attempts = [
        ("fastlane_app on cases", "GRANT SELECT ON cases TO fastlane_app"),
        ("fastlane_app on users", "GRANT SELECT (email) ON users TO fastlane_app"),
        ("events by fastlane_tenant", "GRANT INSERT ON events TO fastlane_tenant"),
        ("audit_logs by fastlane_platform", "GRANT UPDATE ON audit_logs TO fastlane_platform"),
        ("fastlane_tenant of fastlane_platform", "GRANT fastlane_platform TO fastlane_tenant"),
        ("peephole", "CREATE VIEW peephole AS SELECT * FROM cases; GRANT SELECT ON peephole TO fastlane_tenant"),
    ]
    assert await unreported(superuser, attempts) == []
    invoker = "CREATE VIEW honest WITH (security_invoker = true) AS SELECT * FROM cases; GRANT SELECT ON honest TO {}"
    await superuser.execute(invoker.format(TENANT))
    assert await find_isolation_faults(superuser) == []


async def test_definer_functions(superuser: asyncpg.Connection) -> None:
    """A definer function of any but the roles that own them, without its search path, or for all, is reported."""
    attempts = []
    for function in await superuser.fetch(DEFINERS):
        alter = f"ALTER FUNCTION {function['name']}"
        attempts += [(function["name"], f"{alter} OWNER TO {owner}") for owner in ("fastlane_owner", TENANT)]
        attempts.append((function["name"], f"{alter} RESET search_path"))
        attempts.append((function["name"], f"{alter} SET search_path = ''"))
        attempts.append((function["name"], f"GRANT EXECUTE ON FUNCTION {function['name']} TO PUBLIC"))
    assert {"cases.search_cases_1(text)", "audit.record_cases()"} <= {name for name, _ in attempts}
    assert await unreported(superuser, attempts) == []


async def test_missing_table(superuser: asyncpg.Connection) -> None:
    """A registered table that is not there is reported."""
    assert await unreported(superuser, [(table, f"ALTER TABLE {table} RENAME TO gone") for table in TABLES]) == []
