"""Each list and filter of the screens is served by an index that leads with the tenant: the plan says so."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from api.crud.execution import Compiled
from api.crud.plans import Plans, pairs_of
from api.crud.statements import bounded, order_columns, select_keyed_page
from api.query.parse import parse_query
from cases.worklist import statement_of as worklist_of
from tenancy.catalog import served_tables
from tenancy.context import DatabaseRole, Scope
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tests.cluster import TestDatabase
from tests.contracts.lists import CASES, lists_database

TABLES = {table._meta.tablename: table for table in served_tables()}
SOME = UUID(int=7)
LAST_ROW = (datetime(2026, 1, 1, tzinfo=UTC), SOME)
TODAY = "2026-01-01T00:00:00Z"

# As many rows as a page has are read in the order of the index: nothing is sorted.
ORDERED = (
    "cases?",
    "cases?status=pending",
    "cases?status=pending&__total=true",
    "cases?status=pending&priority=urgent",
    "cases?payer=Aetna&payer__match=exact",
    "cases?payer=Aetna&payer__operator=e",
    "cases?payer=Aetna&payer__match=exact&__total=true",
    "cases?priority=high",
    f"cases?created_at__gte={TODAY}",
    "cases?__cursor=",
    "cases?status=pending&__cursor=",
    "cases?payer=Aetna&payer__operator=e&__cursor=",
    "ingestions?",
    "ingestions?status=failed",
    "ingestions?status=failed&__total=true",
    "tasks?",
    "tasks?status=pending",
    "tasks?__order=due_date",
    f"tasks?due_date__lte={TODAY}&__order=due_date",
    "tasks?status__in=pending,in_progress&__order=due_date",
    "case_codes?",
    "rulesets?",
    "rulesets?is_active=true",
    "users?",
    "events?",
    "events?event_type=case_created&event_type__operator=e",
    "audit_logs?",
    "audit_logs?action=update",
)
# The rows that an index finds are few, or are looked through; then they are sorted.
FOUND = (
    "cases?payer=aetna",
    "cases?member_id_hash=0a&member_id_hash__operator=e",
    f"cases?created_by={SOME}",
    f"cases?ingestion_id={SOME}",
    "cases?diagnosis_codes=M17.11&diagnosis_codes__operator=contains",
    f"tasks?assigned_to={SOME}",
    f"tasks?assigned_to={SOME}&status=pending",
    f"tasks?assigned_to={SOME}&status=pending&__order=due_date",
    "tasks?status=pending&__order=due_date",
    f"tasks?status=pending&due_date__lte={TODAY}&__order=due_date",
    f"tasks?case_id={SOME}",
    f"case_codes?case_id={SOME}",
    "case_codes?code=72148&code__operator=e",
    "case_codes?code_type=CPT&code=72148&code__operator=e",
    "rulesets?payer=Aetna&payer__operator=e",
    "rulesets?payer=Aetna&payer__operator=e&procedure=72148&procedure__operator=e",
    "rulesets?procedure=72148&procedure__operator=e",
    "users?role=admin",
    f"events?entity_id={SOME}",
    f"events?entity_type=case&entity_type__operator=e&entity_id={SOME}",
    "events?event_type=created",
    f"audit_logs?entity_id={SOME}",
    f"audit_logs?entity_type=case&entity_type__operator=e&entity_id={SOME}",
    f"audit_logs?user_id={SOME}",
)
# An index, and a list that has no other index of its tenant that the planner would take.
NEEDED = {
    "cases_tenant_id_created_at_id_idx": "cases?",
    "cases_tenant_id_status_created_at_id_idx": "cases?status=pending&__total=true",
    "cases_tenant_id_payer_created_at_id_idx": "cases?payer=Aetna&payer__operator=e",
    "ingestions_tenant_id_status_created_at_id_idx": "ingestions?status=failed&__total=true",
    "case_codes_tenant_id_code_idx": "case_codes?code=72148&code__operator=e",
    "tasks_tenant_id_due_date_id_idx": "tasks?__order=due_date",
    "rulesets_tenant_id_procedure_idx": "rulesets?procedure=72148&procedure__operator=e",
    "events_tenant_id_entity_id_idx": f"events?entity_id={SOME}",
    "audit_logs_tenant_id_entity_id_idx": f"audit_logs?entity_id={SOME}",
}
WORKLISTS: tuple[list[str], ...] = (
    [],
    ["within_hours"],
    ["assigned_to"],
    ["payer"],
    ["within_hours", "assigned_to", "payer"],
)
KEYS = """
SELECT c.relname AS name,
       array(SELECT pg_get_indexdef(i.indexrelid, n, true) FROM generate_series(1, i.indnkeyatts) n) AS columns
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
"""


@pytest.fixture(scope="module")
def loaded() -> TestDatabase:
    return asyncio.run(lists_database())


@pytest_asyncio.fixture
async def superuser(loaded: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(loaded.superuser)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def planning(loaded: TestDatabase, tmp_path: Path) -> AsyncIterator[FastlaneEngine]:
    """An engine with the pool of the service, which may drop an index: it logs in as the superuser."""
    engine = FastlaneEngine(Databases(loaded.settings(tmp_path, database_url=loaded.superuser)))
    await engine.start_connection_pool()
    yield engine
    await engine.close_connection_pool()


@pytest.fixture
async def scope(superuser: asyncpg.Connection) -> Scope:
    tenant = await superuser.fetchval("SELECT id FROM tenants WHERE slug = 'clinic-01'")
    return Scope(DatabaseRole.tenant, "test", tenant_id=tenant)


@pytest.fixture
async def keys(superuser: asyncpg.Connection) -> dict[str, list[str]]:
    """The columns of each index."""
    return {row["name"]: row["columns"] for row in await superuser.fetch(KEYS)}


def statement_of(path: str) -> Compiled:
    """What the API sends for a list; with a cursor, for its second page."""
    name, _, query_string = path.partition("?")
    if "__cursor" not in path:
        return Plans(TABLES[name]).page(query_string.encode()).statement
    query = parse_query(TABLES[name], pairs_of(query_string.encode()))
    page = select_keyed_page(query, LAST_ROW, query.page_size + 1)
    return Compiled(*bounded(page, order_columns(query.order)).compile_string())


async def plan_of(connection: Any, statement: Compiled) -> dict[str, Any]:
    """The plan that a prepared statement is kept with. It holds for all values: those given here are NULL."""
    await connection.execute(f"PREPARE list AS {statement.sql}")
    values = ", ".join(["NULL"] * len(statement.values))
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE list{f'({values})' if values else ''}")
    await connection.execute("DEALLOCATE list")
    plan: dict[str, Any] = json.loads(explained)[0]["Plan"]
    return plan


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def outline(plan: dict[str, Any]) -> list[str]:
    """The plan in a few words, for whoever reads why a test fails."""
    words = ("Node Type", "Index Name", "Index Cond", "Plan Rows", "Total Cost")
    return [" ".join(str(node[word]) for word in words if word in node) for node in nodes_of(plan)]


def faults_of(plan: dict[str, Any], keys: dict[str, list[str]], *, ordered: bool = False) -> list[str]:
    """What reads rows of other tenants, and with `ordered` what sorts."""
    faults = []
    for node in nodes_of(plan):
        kind, index = node["Node Type"], node.get("Index Name")
        if index is not None:
            if keys[index] != ["id"] and (keys[index][0] != "tenant_id" or "tenant_id = " not in node["Index Cond"]):
                faults.append(f"{kind} on {index}")
        elif "Relation Name" in node and kind != "Bitmap Heap Scan":  # The scans below that name their indexes.
            faults.append(f"{kind} on {node['Relation Name']}")
        elif ordered and "Sort" in kind:
            faults.append(kind)
    return faults


async def test_as_many_rows_as_it_says(superuser: asyncpg.Connection) -> None:
    """The plans are made for 200,000 cases of 50 clinics, one of which has a fifth."""
    counts = await superuser.fetch("SELECT count(*) AS cases FROM cases GROUP BY tenant_id ORDER BY 1 DESC")
    assert (len(counts), sum(row["cases"] for row in counts), counts[0]["cases"]) == (50, CASES, CASES // 5)


@pytest.mark.parametrize("path", ORDERED + FOUND)
async def test_list(planning: FastlaneEngine, scope: Scope, keys: dict[str, list[str]], path: str) -> None:
    """A list reads only through indexes that lead with the tenant; one of the first kind sorts nothing."""
    async with planning.transaction(scope=scope) as transaction:
        plan = await plan_of(transaction.connection, statement_of(path))
    assert faults_of(plan, keys, ordered=path in ORDERED) == [], outline(plan)


@pytest.mark.parametrize("given", WORKLISTS, ids=" ".join)
async def test_worklist(planning: FastlaneEngine, scope: Scope, keys: dict[str, list[str]], given: list[str]) -> None:
    """The worklist is read in the order of its index, and nothing is sorted; that of one user is found by the tasks."""
    async with planning.transaction(scope=scope) as transaction:
        plan = await plan_of(transaction.connection, Compiled(*worklist_of(dict.fromkeys(given, 1))))
    of_user = "assigned_to" in given
    assert faults_of(plan, keys, ordered=not of_user) == [], outline(plan)
    index = "tasks_tenant_id_assigned_to_status_idx" if of_user else "cases_tenant_id_decision_due_at_id_idx"
    assert index in [node.get("Index Name") for node in nodes_of(plan)], outline(plan)


@pytest.mark.parametrize("shape", ["", "__include=codes,tasks"])
async def test_row(planning: FastlaneEngine, scope: Scope, keys: dict[str, list[str]], shape: str) -> None:
    """A case is found by its key, and what it includes through indexes that lead with the tenant."""
    statement = Compiled(Plans(TABLES["cases"]).row(shape.encode()).sql, [SOME])
    async with planning.transaction(scope=scope) as transaction:
        plan = await plan_of(transaction.connection, statement)
    assert faults_of(plan, keys) == [], outline(plan)


@pytest.mark.parametrize("index", NEEDED)
async def test_no_index_is_idle(planning: FastlaneEngine, scope: Scope, keys: dict[str, list[str]], index: str) -> None:
    """Without the index, its list reads rows of other tenants, or sorts: the tests above would say so."""
    path = NEEDED[index]
    async with planning.transaction(scope=scope) as transaction:
        await transaction.connection.execute(f"RESET ROLE; DROP INDEX {index}; SET LOCAL ROLE {scope.role.value}")
        plan = await plan_of(transaction.connection, statement_of(path))
        await transaction.rollback()
    assert faults_of(plan, keys, ordered=path in ORDERED)
