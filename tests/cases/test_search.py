"""Full-text search: what is found, by whom, through which index, and that no row is too large for it."""

import itertools
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from cases.tables import Case, Ruleset, Task
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.scoping import tenant
from tests.clinics import Clinic
from tests.cluster import TestDatabase

TABLES = ("cases", "tasks", "rulesets")
MEBIBYTE = 2**20
SEARCH = "SELECT id, rank FROM cases.search_{table}_1($1)"
# As a list asks: the hits, joined with what the tenant sees.
RANKED = """
SELECT cases.id FROM cases JOIN cases.search_cases_1($1) AS hit ON hit.id = cases.id
 ORDER BY hit.rank DESC, cases.id LIMIT 20
"""
NOTES = ["Chronic lumbar pain, MRI/CT of L4-L5 (72148-26).", {"codes": "M54.50;\nj3490 -97110"}, 4711]
FOUND = [
    ("cases", "texas"),
    ("cases", "M79.3"),
    ("cases", "m79.3"),
    ("cases", "M793"),
    ("cases", "s72.001a"),
    ("cases", "72148"),
    ("cases", "72148-26"),
    ("cases", "97110"),
    ("cases", "m54.50 J3490"),
    ("cases", "ct"),
    ("cases", "MRI/CT"),
    ("cases", "L4-L5"),
    ("cases", "chronically"),
    ("cases", "ramírez"),
    ("cases", '"lumbar pain"'),
    ("cases", "lumbar -cervical"),
    ("cases", "cervical OR lumbar"),
    ("cases", '"blue cross" -"cross blue" M79.3'),
    ("tasks", "payer calling"),
    ("tasks", "session"),
    ("rulesets", "humana 97110"),
    ("rulesets", "weeks therapies"),
]
NOT_FOUND = [
    ("cases", "physiotherapy"),
    ("cases", "humana"),
    ("cases", "secret"),
    ("cases", "codes"),
    ("cases", "4711"),
    ("cases", '"pain lumbar"'),
    ("cases", "lumbar -pain"),
    ("cases", "lumbar -M79.3"),
    ("cases", "lumbar cervical"),
    ("cases", "the"),
    ("tasks", "texas"),
    ("rulesets", "requirements"),
]
STRANGE = [
    "",
    " ",
    "'",
    "''",
    '"',
    ":*",
    "&|!",
    "a & !(b | 'c':*D) <-> d",
    "\\",
    "x" * 10_000,
    "word " * 2_000,
    "or " * 3_333,
    '"a ' * 3_333,
    "-" * 10_000,
    "- " * 5_000,
    "(-" * 5_000,
    "-\u2003" * 500,
    '-"' * 500,
    "-a" * 5_000,
    "\x01\x7f😀İß",
    "'); DROP TABLE cases; --",
    "%s {} $1",
]


@pytest_asyncio.fixture
async def rows(clinics: tuple[Clinic, Clinic]) -> dict[str, UUID]:
    """One row of each table that is searched, of the clinic north."""
    case_id = clinics[0].rows["cases"]
    async with tenant("north", "admin@north.com"):
        case = Case(
            member_id_hash="hash_secret",
            payer="Blue Cross of Texas",
            diagnosis_codes=["M79.3", "S72.001A"],
            confidence_json="{}",
            extracted_data=json.dumps({"a": {"b": NOTES}}),
            metadata_json=json.dumps({"physician": "Ramírez"}),
        )
        task = Task(case_id=case_id, title="Call the payers", description="Ask about physiotherapy sessions")
        rules = {"requirements": ["Six weeks of conservative therapy"]}
        ruleset = Ruleset(payer="Humana", procedure="97110", rules_json=json.dumps(rules))
        for row in (case, task, ruleset):
            await row.save()
    return {"cases": case.id, "tasks": task.id, "rulesets": ruleset.id}


async def search(slug: str, table: str, words: str) -> list[UUID]:
    """What a request of the clinic finds, best first."""
    async with tenant(slug) as transaction:
        hits = await transaction.connection.fetch(SEARCH.format(table=table), words)
    return [hit["id"] for hit in sorted(hits, key=lambda hit: -hit["rank"])]


@pytest.mark.parametrize(("table", "words"), FOUND)
async def test_found(rows: dict[str, UUID], table: str, words: str) -> None:
    """By payer, code, title, words of a document; stemmed; codes in either case; quotes, minus and OR."""
    assert rows[table] in await search("north", table, words)


@pytest.mark.parametrize(("table", "words"), NOT_FOUND)
async def test_not_found(rows: dict[str, UUID], table: str, words: str) -> None:
    """Not by another row's words, a key, a number, the member's hash, or words in another order."""
    assert rows[table] not in await search("north", table, words)


async def test_order(clinics: tuple[Clinic, Clinic], rows: dict[str, UUID]) -> None:
    """A word of the payer weighs more than the same word in a document."""
    async with tenant("north"):
        mention = json.dumps({"note": "transferred from Texas"})
        await Case.update({Case.extracted_data: mention}).where(Case.id == clinics[0].rows["cases"])
    assert await search("north", "cases", "texas") == [rows["cases"], clinics[0].rows["cases"]]


async def test_changed_row(rows: dict[str, UUID]) -> None:
    """After a change the new words find the row, the old ones do not, and the trail knows the change alone."""
    async with tenant("north") as transaction:
        await Case.update({Case.payer: "Molina"}).where(Case.id == rows["cases"])
        query = "SELECT changes FROM audit_logs WHERE entity_id = $1 ORDER BY action"
        trail = [json.loads(row[0]) for row in await transaction.connection.fetch(query, rows["cases"])]
    assert await search("north", "cases", "molina") == [rows["cases"]]
    assert await search("north", "cases", "texas") == []
    assert [set(changes["before"]) for changes in trail] == [set(), {"payer", "updated_at"}]


@pytest.mark.parametrize("table", TABLES)
async def test_trail_has_no_search_column(rows: dict[str, UUID], superuser: asyncpg.Connection, table: str) -> None:
    """Neither a created nor a changed nor a deleted row brings its search column to the trail."""
    name = "title" if table == "tasks" else "payer"
    assert await superuser.fetchval(f"SELECT count(*) FROM {table} WHERE search IS NULL") == 0
    await superuser.execute(f"UPDATE {table} SET {name} = 'Other' WHERE id = $1", rows[table])
    await superuser.execute(f"DELETE FROM {table} WHERE id = $1", rows[table])
    entries = await superuser.fetch("SELECT changes FROM audit_logs WHERE entity_id = $1", rows[table])
    assert len(entries) == 3
    assert not [entry for entry in entries if '"search"' in entry["changes"]]


@pytest.mark.parametrize("words", STRANGE, ids=range(len(STRANGE)))
async def test_strange_input(rows: dict[str, UUID], words: str) -> None:
    """Whatever is asked, no search fails."""
    assert rows
    for table in TABLES:
        await search("north", table, words)


async def test_another_tenant_is_never_found(clinics: tuple[Clinic, Clinic]) -> None:
    """Both clinics have the same words, and each finds its own rows alone, by what is there and by what is not."""
    for clinic in clinics:
        for table, words in itertools.product(TABLES, ("cigna OR review", "-nothing")):
            assert await search(clinic.slug, table, words) == [clinic.rows[table]]


async def test_unbound_finds_nothing(clinics: tuple[Clinic, Clinic], engine: FastlaneEngine) -> None:
    """The tenant's role finds nothing while no tenant is bound."""
    assert clinics
    async with engine.transaction(scope=Scope(DatabaseRole.tenant, "nobody")) as transaction:
        for table in TABLES:
            assert await transaction.connection.fetch(SEARCH.format(table=table), "-nothing") == []


@pytest.mark.parametrize("table", TABLES)
async def test_other_roles_are_denied(clinics: tuple[Clinic, Clinic], database: TestDatabase, table: str) -> None:
    """Neither the login role nor an acting role but the tenant's may search, whichever tenant they name."""
    connection = await asyncpg.connect(database.app)
    for role in ("none", DatabaseRole.platform.value, DatabaseRole.authn.value):
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(clinics[0].id))
        await connection.execute(f"SET ROLE {role}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(SEARCH.format(table=table), "cigna")
    await connection.close()


async def test_the_role_that_searches_reads_three_columns(superuser: asyncpg.Connection) -> None:
    """`fastlane_search` reads id, tenant_id and search of the three tables, and may nothing else."""
    grants = await superuser.fetch(
        """
        SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges
         WHERE grantee = 'fastlane_search' ORDER BY 1, 2
        """
    )
    columns = ("id", "search", "tenant_id")
    assert [tuple(row) for row in grants] == [(table, name, "SELECT") for table in sorted(TABLES) for name in columns]


MANY = """
INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, status, priority, diagnosis_codes,
                   confidence_json, extracted_data, created_at, updated_at)
SELECT gen_random_uuid(), t.id, gen_random_uuid(), 'hash_many', 'Aetna', 'pending', 'normal',
       ARRAY['M' || n % 90 + 10 || '.1'], '{}', jsonb_build_object('note', 'patient number ' || n), now(), now()
  FROM (SELECT id FROM tenants UNION ALL SELECT gen_random_uuid() FROM generate_series(1, 8)) t,
       generate_series(1, 2000) n
"""
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log;
"""


@pytest.mark.parametrize("plan_cache_mode", ["auto", "force_generic_plan"])
async def test_the_index_serves(
    clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, plan_cache_mode: str
) -> None:
    """Among 20,000 cases of ten tenants the index is asked for tenant and words at once, be these rare or common."""
    # As a replica, which fires no triggers but the one that must always fire: the others are of no interest here.
    await superuser.execute("ALTER TABLE cases ENABLE ALWAYS TRIGGER c_search")
    await superuser.execute(f"SET session_replication_role = replica; {MANY}; RESET session_replication_role; ANALYZE")
    plans: list[str] = []
    superuser.add_log_listener(lambda _, message: plans.append(message.message))
    await superuser.execute(f"{EXPLAIN} SET plan_cache_mode = {plan_cache_mode}")
    async with superuser.transaction():
        await superuser.execute("SELECT set_config('app.tenant_id', $1, true)", str(clinics[0].id))
        await superuser.execute("SET LOCAL ROLE fastlane_tenant")
        assert len(await superuser.fetch(RANKED, "M19.1 1989")) == 1
        assert len(await superuser.fetch(RANKED, "patients")) == 20
    asked = [plan for plan in plans if "FROM public.cases t" in plan and "\nBitmap Heap Scan" in plan]
    assert len(asked) == 2, plans
    for plan in asked:
        index = plan.partition("Bitmap Index Scan on cases_tenant_id_search_idx")[2]
        condition = index.partition("Index Cond: ")[2].partition("\n")[0]
        assert "tenant_id = " in condition, plan
        assert "search @@ " in condition, plan
    joined = [plan for plan in plans if "JOIN cases.search_cases_1" in plan]
    assert len(joined) == 2
    assert all("Index Scan using cases_pkey" in plan and "Seq Scan" not in plan for plan in joined), joined


def unique_words() -> str:
    """A MiB of words that are all different, which the index could not hold."""
    text = " ".join(f"{number:06x}" for number in range(MEBIBYTE // 7))
    return f"lumbar {text}"[: MEBIBYTE - 200]


def wide_words() -> str:
    """Pairs of four-byte letters: of all text, what takes most room in a tsvector."""
    pairs = ((0x20000 + number % 42_000, 0x20000 + number % 41_999) for number in range(60_000))
    return "lumbar " + " ".join(f"{chr(one)}-{chr(other)}" for one, other in pairs)


@pytest.mark.parametrize(
    "words", [unique_words(), wide_words(), "x" * MEBIBYTE, "a-1/" * 200_000], ids=["unique", "wide", "one", "codes"]
)
async def test_large_rows(rows: dict[str, UUID], superuser: asyncpg.Connection, words: str) -> None:
    """A row may hold 1 MiB of different words in each document and text, and is found by the first of them."""
    changes: dict[str, dict[str, Any]] = {
        "cases": {"extracted_data": json.dumps({"a": words}), "metadata_json": json.dumps({"a": words})},
        "tasks": {"description": words},
        "rulesets": {"rules_json": json.dumps({"a": words.split(" ")})},
    }
    codes = [f"M{n // 500:02}.{n % 500:03}X" for n in range(50_000)]
    await superuser.execute("UPDATE cases SET diagnosis_codes = $2 WHERE id = $1", rows["cases"], codes)
    for table, values in changes.items():
        for name, value in values.items():
            await superuser.execute(f"UPDATE {table} SET {name} = $2 WHERE id = $1", rows[table], value)
        found = await search("north", table, "lumbar")
        assert (rows[table] in found) == words.startswith("lumbar")


async def test_deep_document(rows: dict[str, UUID], superuser: asyncpg.Connection) -> None:
    """A document as deep as jsonb takes it is stored; what lies deeper than 100 levels is not found."""
    for depth in (14_000, 90):
        document = '{"a":' * depth + '"abyss"' + "}" * depth
        await superuser.execute("UPDATE rulesets SET rules_json = $2 WHERE id = $1", rows["rulesets"], document)
        assert await search("north", "rulesets", "abyss") == ([rows["rulesets"]] if depth < 100 else [])
