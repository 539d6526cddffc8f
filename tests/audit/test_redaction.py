"""Redaction: a value is gone from all that there is of one tenant, the proof holds, and nothing is done by half."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from audit.redaction import Refused, forms_of, redact
from audit.verify import verify
from tenancy.catalog import served_tables, tenant_tables
from tenancy.engine import FastlaneEngine
from tenancy.tables import Role
from tests.audit.sealing import seal
from tests.cases.stored import decide_all
from tests.clinics import Clinic
from tests.cluster import TestDatabase

ROOT = Path(__file__).parents[2]
VALUE = "XANTHIPPE-47"
STEM = "xanthipp"  # What the search makes of it.
HEXADECIMAL = VALUE.encode().hex()
COLUMNS = """
SELECT attrelid::regclass::text AS table, attname::text AS name, atttypid::regtype::text AS type
  FROM pg_attribute WHERE attrelid = ANY ($1::text[]::regclass[]) AND attnum > 0 AND NOT attisdropped
   AND atttypid = ANY (ARRAY['text', 'varchar', 'varchar[]', 'text[]', 'jsonb']::regtype[]) ORDER BY 1, attnum
"""
FILLINGS = {
    "text": f"left(id::text, 4) || ' {VALUE}'",
    "character varying": f"left(id::text, 4) || ' {VALUE}'",
    "character varying[]": f"ARRAY['{VALUE}', 'M79.3']",
    "jsonb": f"""jsonb_build_object('a', jsonb_build_array(jsonb_build_object('id', 'n° {VALUE}', '{VALUE}', 1)),
                                    'b', 'or XANTHIPPE47', 'c', id)""",
}
TABLES = """
SELECT c.oid::regclass::text FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""


async def everything(superuser: asyncpg.Connection) -> dict[str, list[str]]:
    """Each row of each table as text, in lower case."""
    found = {}
    for (table,) in await superuser.fetch(TABLES):
        rows = await superuser.fetch(f"SELECT lower(t::text) FROM {table} t ORDER BY 1")
        found[table] = [row[0] for row in rows]
    return found


def holding(dump: dict[str, list[str]], clinic: Clinic | None = None) -> set[str]:
    """The tables in which the value is, in rows of the clinic, or in any."""
    return {
        table
        for table, rows in dump.items()
        for row in rows
        if (STEM in row or HEXADECIMAL in row) and (clinic is None or str(clinic.id) in row)
    }


async def fill(superuser: asyncpg.Connection) -> set[str]:
    """Writes the value into each column that can hold it, of all tenants. Returns the tables."""
    closed = {column._meta.name for table in served_tables() for column in table._meta.columns if column._meta.choices}
    kept = closed | {"slug", "auth_id", "event_type", "entity_type"}
    tables = [table._meta.tablename for table in tenant_tables() if "trail" not in table._meta.tags]
    filled = set()
    kept |= await decide_all(superuser, FILLINGS["text"])
    for column in await superuser.fetch(COLUMNS, tables):
        if column["name"] not in kept:
            assignment = f"{column['name']} = {FILLINGS[column['type']]}"
            await superuser.execute(f"UPDATE {column['table']} SET {assignment}")
            filled.add(column["table"])
    assert filled == set(tables)
    return filled


async def test_stored_answers(
    client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """What came over HTTP is gone from the case, the search, the event and the trail; a stored answer with it is
    forgotten, and one without it is given again."""
    requests = []
    for clinic in clinics:
        for key, payer in (("holds", f"Payer {VALUE}"), ("does-not", "Payer")):
            body = clinic.body("cases", payer=payer, extracted_data={"notes": [payer, {"deep": payer}]})
            requests.append((clinic.headers() | {"Idempotency-Key": key}, body))
    for headers, body in requests:
        assert (await client.post("/api/cases/", headers=headers, json=body)).status_code == 201
    before = await everything(superuser)
    assert holding(before, clinics[0]) == {"cases", "events", "audit_logs", "idempotency_keys"}
    done = await redact("north", forms_of(VALUE), "", really=True)
    assert done.tables == {"cases": 1, "events": 1, "audit_logs": 2, "idempotency_keys": 1}
    assert holding(await everything(superuser)) == holding(before, clinics[1])
    assert holding(await everything(superuser), clinics[0]) == set()
    answers = [await client.post("/api/cases/", headers=headers, json=body) for headers, body in requests]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true", "true"]


async def test_value_is_gone(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Wherever the value was, of one tenant it is nowhere any more, the other has all of it, and every sealed row is
    as it was sealed or as the record of the redaction says."""
    north, south = clinics
    for clinic in clinics:
        insert = "INSERT INTO idempotency_keys (tenant_id, user_id, key, fingerprint, status, headers, body) "
        values = "VALUES ($1, $2, '', sha256(''), 200, '{}', '')"
        await superuser.execute(insert + values, clinic.id, clinic.users[Role.admin])
    await seal(engine)
    tables = await fill(superuser)
    before = await everything(superuser)
    assert holding(before, north) == holding(before, south) == tables | {"audit_logs"}
    others = {table: [row for row in rows if str(north.id) not in row] for table, rows in before.items()}

    planned = await redact("north", forms_of(VALUE), "A member's id in a title.", really=False)
    assert await everything(superuser) == before
    done = await redact("north", forms_of(VALUE), "A member's id in a title.", really=True)
    assert planned == done
    assert done.tables.keys() == tables | {"audit_logs"}
    assert done.tables["audit_logs"] == sum(STEM in row and str(north.id) in row for row in before["audit_logs"])
    after = await everything(superuser)
    assert holding(after, north) == set()
    assert holding(after) == holding(after, south) == tables | {"audit_logs"}
    for table, rows in others.items():
        assert [row for row in rows if row not in after[table]] == [], table

    record = await superuser.fetchrow("SELECT * FROM platform_logs WHERE action = 'redacted'")
    assert record is not None
    details = json.loads(record["details"])
    assert details.keys() == {"tenant", "reason", "tables", "entries", "authority"}
    assert (details["tenant"], details["tables"]) == ("north", done.tables)
    assert len(details["entries"]) == done.tables["audit_logs"]
    await seal(engine)
    sealed_before = len(details["entries"])
    assert (await verify(engine)).redacted == sealed_before
    assert (await redact("north", forms_of(VALUE), "", really=True)).tables == {}

    # Once more, for another value in the rows that were sealed after the first time.
    again = await redact("north", ["n° ["], "", really=True)
    assert again.tables["audit_logs"] > 0
    await seal(engine)
    assert (await verify(engine)).redacted > sealed_before


async def test_trail_of_a_redaction(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """Each row that was changed is on the trail once, without the value before or after."""
    tables = await fill(superuser) - {"idempotency_keys"}
    entries = "SELECT changes FROM audit_logs WHERE tenant_id = $1"
    before = await superuser.fetchval("SELECT count(*) FROM audit_logs")
    done = await redact("north", forms_of(VALUE), "", really=True)
    query = f"{entries} AND transaction_id = (SELECT transaction_id FROM platform_logs WHERE action = 'redacted')"
    written = [json.loads(row["changes"]) for row in await superuser.fetch(query, clinics[0].id)]
    assert len(written) == sum(done.tables[table] for table in tables)
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs") == before + len(written)
    assert all(change["before"].keys() == change["after"].keys() for change in written)
    for name in ("denial_reason", "authorization_number"):  # Final to anybody else.
        (decision,) = [change["after"][name] for change in written if name in change["after"]]
        assert decision.endswith(" [redacted]")
    title = next(change for change in written if "title" in change["after"])
    assert title["before"]["title"] == title["after"]["title"] == title["after"]["title"][:4] + " [redacted]"


DOCUMENTS: list[tuple[str, list[str], Any, Any]] = [
    ("a string, a part of one, and a key", ["abcd"], {"abcd": "abcd", "x": ["1 abcd abcd"]},
     {"[redacted]": "[redacted]", "x": ["1 [redacted] [redacted]"]}),
    ("keys that would become one", ["abcd", "wxyz"], {"abcd": 1, "wxyz": 2, "[redacted]": 3},
     {"[redacted] (2)": 1, "[redacted] (3)": 2, "[redacted]": 3}),
    ("numbers that are it", ["1234"], [1234, -1234, 12345, 1234.5, 0.1234, "1234"],
     ["[redacted]", -1234, 12345, 1234.5, 0.1234, "[redacted]"]),
    ("what only the text of the document has", ["n123", ": tr", "null", '", "', "\\\\n1"], ["\n123", {"a": True}, None],
     ["\n123", {"a": True}, None]),
    ("quotes, backslashes, letters of all kinds", ['a"\\b', "Zoë"], {"x": 'a"\\b', "y": "Zoë é"},
     {"x": "[redacted]", "y": "[redacted] é"}),
    ("ids and digests contain it by accident", ["1234"],
     ["12341234-1234-1234-1234-123412341234", "1234" * 16, "1234" * 7],
     ["12341234-1234-1234-1234-123412341234", "1234" * 16, "[redacted]" * 7]),
    ("a digest that is it", ["ab12" * 16], ["ab12" * 16], ["[redacted]"]),
]  # fmt: skip


async def test_documents(superuser: asyncpg.Connection) -> None:
    """In a document, however deep, the value is replaced in strings, keys and numbers, and nothing else."""
    query = "SELECT audit.redacted_document_1($1, $2)::text"
    for what, forms, document, expected in DOCUMENTS:
        found = json.loads(await superuser.fetchval(query, json.dumps(document), forms))
        assert (what, found) == (what, expected)
        deep = await superuser.fetchval(query, "[" * 5_000 + json.dumps(document) + "]" * 5_000, forms)
        assert (what, json.loads(deep[5_000:-5_000])) == (what, expected)


NOTHING = "SELECT"
LATE = "ALTER TABLE platform_logs ADD CONSTRAINT late CHECK (action <> 'redacted')"
EARLY = "ALTER TABLE rulesets ADD CONSTRAINT early CHECK (payer NOT LIKE '%[redacted]%')"


OBSTACLES = [
    (LATE, "ALTER TABLE platform_logs DROP CONSTRAINT late", VALUE, "late of platform_logs"),
    (EARLY, "ALTER TABLE rulesets DROP CONSTRAINT early", VALUE, "early of rulesets"),
    (NOTHING, NOTHING, "clin", "users.role contains it"),
    (NOTHING, NOTHING, "nort", "tenants.slug contains it"),
    (NOTHING, NOTHING, "created", "type of an event"),
    (
        "UPDATE users SET auth_id = 'sub-4711' WHERE email = 'staff@north.com'",
        NOTHING,
        "sub-4711",
        "users.auth_id contains it",
    ),
]


async def test_all_or_nothing(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """A row that cannot be without the value, the last one too, leaves every row of every table as it was."""
    for obstacle, removal, value, message in OBSTACLES:
        await superuser.execute("UPDATE rulesets SET payer = $1", f"Payer {value}")
        await superuser.execute("UPDATE tasks SET title = $1", f"Call {value}")
        await superuser.execute(obstacle)
        before = await everything(superuser)
        with pytest.raises(Refused, match=message):
            await redact("north", forms_of(value), "", really=True)
        assert (message, await everything(superuser)) == (message, before)
        await superuser.execute(removal)


@pytest.mark.parametrize(
    "value",
    ["", "abc", "a - b", "- - - -", "dact", "[redacted]", " 1234", "12\x0034", "3f8a6b1c-0000-4000-8000-0123456789ab"],
)
def test_values_that_are_refused(value: str) -> None:
    """What is short but for blanks and dashes, stands in its own replacement, or is an id, is not redacted."""
    with pytest.raises(Refused):
        forms_of(value)


async def test_function_refuses_too(clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """The database holds it by itself: no short value, none in the reason, and nobody but the platform."""
    call = "SELECT audit.redact_1($1, $2, '{}', $3, '{}', '{}')"
    for forms, reason in ((["abc"], ""), ([], ""), ([VALUE], f"It was {VALUE}.")):
        with pytest.raises(asyncpg.PostgresError, match="at least four characters"):
            await superuser.fetch(call, clinics[0].id, forms, reason)
    query = "SELECT has_function_privilege(r, p.oid, 'EXECUTE') FROM pg_proc p WHERE proname = $2"
    for name in ("redact_1", "archive_1"):
        for role in ("fastlane_tenant", "fastlane_service", "fastlane_authn", "public"):
            assert await superuser.fetchval(query.replace("(r,", "($1::text,"), role, name) is False, (role, name)


async def run(database: TestDatabase, data_dir: Path, value: str, *arguments: str) -> tuple[int, str, str]:
    """`piccolo audit redact`, with the value on stdin."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    urls = {"DATABASE_URL": database.app, "DIRECT_DATABASE_URL": database.owner, "DATA_DIR": str(data_dir)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "piccolo.main", "audit", "redact", *arguments),
        cwd=ROOT,
        env=inherited | urls,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(f"{value}\n".encode()), 60)
    return process.returncode or 0, output.decode(), errors.decode()


async def test_command(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """The command takes the value from stdin, says counts and never the value, and asks unless it is told not to."""
    await superuser.execute("UPDATE tasks SET title = $1", f"Call {VALUE}")
    await superuser.execute(
        "INSERT INTO access_logs (id, tenant_id, actor, access, method, path, status, user_agent, created_at) "
        "SELECT gen_random_uuid(), id, 'nobody', 'list', 'GET', '/', 200, $1, now() FROM tenants", f"Agent {VALUE}"
    )  # fmt: skip
    before = await everything(superuser)
    refused = await run(database, tmp_path, VALUE, "--tenant=north")
    assert refused[0] == 1
    assert "tasks: 1 rows would be changed" in refused[1]
    assert "nothing was changed" in refused[2]
    assert await everything(superuser) == before
    assert (await run(database, tmp_path, "abc", "--tenant=north", "--yes"))[0] == 1
    assert (await run(database, tmp_path, VALUE, "--tenant=north", "--yes", f"--reason=It is {VALUE}"))[0] == 1
    assert (await run(database, tmp_path, VALUE, "--tenant=nowhere", "--yes"))[0] == 1
    assert await everything(superuser) == before

    done = await run(database, tmp_path, VALUE, "--tenant=north", "--yes", "--reason=Slipped in.")
    assert done[0] == 0, done
    assert "tasks: 1 rows changed" in done[1]
    assert "access_logs.user_agent: 1 rows contain it and keep it" in done[2]
    assert await superuser.fetchval("SELECT actor FROM platform_logs WHERE action = 'redacted'") != ""
    assert all(VALUE not in text for answer in (refused, done) for text in answer[1:])
    assert holding(await everything(superuser), clinics[0]) == {"access_logs"}
