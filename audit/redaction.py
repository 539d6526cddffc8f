"""Removes a value that slipped in from all that the database holds of a tenant, in one transaction that is recorded.

Found is the value as it is written, and without its blanks and dashes; other spellings are not, nor hashes of it, nor
what is outside of the tables: archives, backups, the server's logs.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from audit.authority import authority_for
from tenancy.catalog import tenant_tables
from tenancy.scoping import database, platform, rollback
from tenancy.tables import Tenant
from tenancy.transaction import BoundTransaction

LEAST_LENGTH = 4
REDACTED = "[redacted]"
# The one of archives too: neither happens during the other.
LOCK = 1_634_296_435
# Redacted by functions of their own.
_OF_THEIR_OWN = ("events", "idempotency_keys")
TAKES_LONG = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"

_LEFT = (Path(__file__).parent / "sql" / "redact_left.sql").read_text(encoding="utf-8")
_ARCHIVES = "SELECT details ->> 'file' AS file FROM platform_logs WHERE action = 'archived' ORDER BY created_at"
_BLANKS_AND_DASHES = re.compile(r"[\s\-\u00ad\u2010-\u2015]+")


class Refused(Exception):
    """Nothing was changed. The message may be shown, and does not say the value."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """How many rows of which table were changed, where it is left, and the archives, which were not searched."""

    tables: dict[str, int]
    left: dict[str, int]
    archives: list[str]


def forms_of(value: str) -> list[str]:
    """What is searched, the longest first. Raises `Refused`."""
    compact = _BLANKS_AND_DASHES.sub("", value)
    forms = [value] if compact == value else [value, compact]
    if len(compact) < LEAST_LENGTH:
        raise Refused(f"a value has at least {LEAST_LENGTH} characters beside blanks and dashes")
    if not value.isprintable() or value.strip() != value:
        raise Refused("a value is one line of printable characters, without blanks around it")
    if any(form in REDACTED for form in forms):
        raise Refused(f"a value is not a part of {REDACTED}, which takes its place")
    try:
        UUID(compact)
    except ValueError:
        return forms
    raise Refused("this is an id, which names a row: delete the row instead")


async def redact(slug: str, forms: list[str], reason: str, *, really: bool) -> Redacted:
    """Removes the forms; unless `really`, undoes it all again, to know what there is. Raises `Refused`."""
    if any(form in reason for form in forms):
        raise Refused("the reason contains the value, and would be kept")
    async with platform() as transaction:
        found = await Tenant.objects().where(Tenant.slug == slug).first()
        if found is None:
            raise Refused(f"no tenant is called {slug!r}")
        await transaction.connection.execute(TAKES_LONG)
        if not (await transaction.fetch("SELECT pg_try_advisory_xact_lock($1) AS held", LOCK))[0]["held"]:
            raise Refused("another redaction, or an archive, is being made")
        try:
            if really:
                tables = await _redact(transaction, found.id, forms, reason)
            else:
                async with rollback():
                    tables = await _redact(transaction, found.id, forms, reason)
        except asyncpg.PostgresError as error:
            raise Refused(_message(error)) from None
        left = {row["place"]: row["rows"] for row in await transaction.fetch(_LEFT, found.id, forms) if row["rows"]}
        return Redacted(tables, left, [row["file"] for row in await transaction.fetch(_ARCHIVES)])


async def _redact(transaction: BoundTransaction, tenant_id: UUID, forms: list[str], reason: str) -> dict[str, int]:
    kept = _kept_columns()
    changed: dict[str, int] = {}
    for table in tenant_tables():
        name = table._meta.tablename
        if "trail" not in table._meta.tags and name not in _OF_THEIR_OWN:
            query = "SELECT audit.redact_rows_1($1::text::regclass, $2, $3, $4) AS rows"
            changed[name] = (await transaction.fetch(query, f"public.{name}", tenant_id, forms, kept))[0]["rows"]
    answers = "SELECT audit.redact_answers_1($1, $2) AS rows"
    changed["idempotency_keys"] = (await transaction.fetch(answers, tenant_id, forms))[0]["rows"]
    query = """SELECT key, value::bigint FROM jsonb_each(audit.redact_2($1, $2, $3, $4,
                 (SELECT jsonb_object_agg(name, rows) FROM unnest($5::text[], $6::bigint[]) AS t (name, rows)), $7))"""
    authority = authority_for(database().databases.settings, "redacted", str(tenant_id))
    arguments: tuple[Any, ...] = (tenant_id, forms, kept, reason, list(changed), list(changed.values()), authority)
    return {row["key"]: row["value"] for row in await transaction.fetch(query, *arguments)}


def _kept_columns() -> list[str]:
    """The columns of closed sets of values, and the server's own, but for what it copies from a client's."""
    tables = tenant_tables()
    closed = {column._meta.name for table in tables for column in table._meta.columns if column._meta.choices}
    own = closed.union(*(getattr(table, "server_columns", ()) for table in tables))
    return sorted(own.difference(*(getattr(table, "copied_columns", ()) for table in tables)))


def _message(error: asyncpg.PostgresError) -> str:
    """Ours say no value; those of PostgreSQL may."""
    if (error.sqlstate or "").startswith("FL"):
        return str(error.args[0])
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return f"{error.constraint_name} of {error.table_name} would not hold without it"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return "somebody else is changing one of its rows; try again"
    return f"the database refused it ({type(error).__name__})"
