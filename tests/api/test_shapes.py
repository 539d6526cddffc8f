"""The shape of an answer: columns along references, and related rows, in lists and in single rows."""

import json
from typing import Any

import asyncpg
import httpx
import pytest_asyncio

from cases.tables import Case
from tenancy.scoping import tenant
from tenancy.tables import Role
from tests.api.lists import refused
from tests.api.shapes import row_of, rows_of
from tests.clinics import TABLES, Clinic

DOCUMENT: dict[str, Any] = {
    "b": [1, {"c": None}],
    "a": 'it\'s "Zoë"',
    "n": 12345678901234567890,
    "t": "2026-01-01 00:00",
}


@pytest_asyncio.fixture
async def bare(north: Clinic, superuser: asyncpg.Connection) -> str:
    """A case of north's staff without ingestion, codes or tasks."""
    async with tenant("north", "staff@north.com"):
        case = Case(
            member_id_hash="hash_bare",
            payer="Bare",
            diagnosis_codes=[],
            confidence_json="{}",
            extracted_data=json.dumps(DOCUMENT),
        )
        await case.save()
    await superuser.execute("UPDATE events SET user_id = NULL WHERE entity_id = $1", case.id)
    return str(case.id)


# -- Columns along references ------------------------------------------------


async def test_columns_along_references(admin: httpx.AsyncClient, north: Clinic, bare: str) -> None:
    """A path in `__visible_fields` is nested under the name it was asked by: a column's or a relation's."""
    case, task = north.rows["cases"], north.rows["tasks"]
    for fields, expected in {
        "payer,ingestion_id.status": {"payer": "Cigna", "ingestion_id": {"status": "pending"}},
        "ingestion.status": {"ingestion": {"status": "pending"}},
        "created_by.email,created_by.role": {"created_by": {"email": "admin@north.com", "role": "admin"}},
        "creator.email,created_by": {
            "creator": {"email": "admin@north.com"},
            "created_by": str(north.users[Role.admin]),
        },
        "tenant_id.slug,tenant.name": {"tenant_id": {"slug": "north"}, "tenant": {"name": "North"}},
        "codes.code": {"codes": [{"code": "97110"}]},
        "codes.code,codes.code_type": {"codes": [{"code": "97110", "code_type": "CPT"}]},
        "tasks.title,tasks.assigned_to.email": {
            "tasks": [{"title": "Review", "assigned_to": {"email": "spare@north.com"}}]
        },
        "creator.tenant.slug": {"creator": {"tenant": {"slug": "north"}}},
    }.items():
        found = await row_of(admin, "cases", case, f"__visible_fields={fields}")
        assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True), fields
    query = "__visible_fields=case_id.ingestion_id.status&__visible_fields=case_id.payer,title"
    found = await row_of(admin, "tasks", task, query)
    assert found == {"title": "Review", "case_id": {"payer": "Cigna", "ingestion_id": {"status": "pending"}}}
    found = await row_of(admin, "cases", bare, "__visible_fields=ingestion_id.status,codes.code,tasks.assignee.email")
    assert found == {"ingestion_id": None, "codes": [], "tasks": []}


async def test_paths_refused(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A path to what is not there is a 400 that names the parameter and lists what is."""
    case = north.rows["cases"]
    for query, *words in (
        ("__visible_fields=ingestion_id.nothing", "__visible_fields", "storage_path"),
        (
            "__visible_fields=nothing.status",
            "__visible_fields",
            "codes, creator, decider, due_ruleset, follow_ups, ingestion",
        ),
        ("__visible_fields=payer.status", "__visible_fields", "codes, creator"),
        ("__visible_fields=ingestion_id.", "__visible_fields", "storage_path"),
        ("__visible_fields=.status", "__visible_fields", "codes, creator"),
        ("__visible_fields=ingestion_id,ingestion_id.status", "ingestion_id", "as a column and as a relation"),
        ("__visible_fields=tasks.case.tasks.case.id", "__visible_fields", "up to 3"),
        ("__visible_fields=codes.search", "__visible_fields", "code_type"),
        ("__include=nothing", "__include", "codes, creator, decider, due_ruleset, follow_ups, ingestion"),
        ("__include=payer", "__include", "codes, creator, decider, due_ruleset, follow_ups, ingestion"),
        ("__include=", "__include", "codes, creator, decider, due_ruleset, follow_ups, ingestion"),
        ("__include=codes,", "__include", "codes, creator"),
        ("__include=codes.nothing", "__include", "case, tenant"),
        ("__include=tasks.case.tasks.case", "__include", "up to 3"),
        ("__include=created_by", "created_by", "as a column and as a relation"),
    ):
        for path in ("/api/cases/", f"/api/cases/{case}/"):
            detail = await refused(admin, f"{path}?{query}")
            assert [word for word in words if word not in detail] == [], (query, detail)


# -- Related rows ------------------------------------------------------------


RELATIONS: dict[str, dict[str, str | list[str]]] = {
    "users": {
        "tenant": "tenants",
        "created_cases": ["cases"],
        "decided_cases": ["cases"],
        "assigned_tasks": ["tasks"],
        "created_events": ["events"],
        "audit_logs": ["audit_logs"],
    },
    "ingestions": {"tenant": "tenants", "cases": ["cases"]},
    "cases": {
        "tenant": "tenants",
        "ingestion": "ingestions",
        "creator": "users",
        "decider": "users",
        "previous_case": "cases",
        "follow_ups": ["cases"],
        "due_ruleset": "rulesets",
        "codes": ["case_codes"],
        "tasks": ["tasks"],
    },
    "case_codes": {"tenant": "tenants", "case": "cases"},
    "tasks": {"tenant": "tenants", "case": "cases", "assignee": "users", "ruleset": "rulesets"},
    "rulesets": {"tenant": "tenants", "tasks": ["tasks"], "due_cases": ["cases"]},
    "events": {"tenant": "tenants", "user": "users"},
    "audit_logs": {"tenant": "tenants", "user": "users"},
    "tenants": {table: [table] for table in TABLES[1:]},
}
KEYS = {"creator": "created_by", "assignee": "assigned_to", "decider": "decided_by"}
BACK = {
    **dict.fromkeys(("codes", "tasks"), "case_id"),
    "cases": "ingestion_id",
    "created_cases": "created_by",
    "decided_cases": "decided_by",
    "follow_ups": "previous_case_id",
    "due_cases": "due_ruleset_id",
    "rulesets.tasks": "ruleset_id",
    "assigned_tasks": "assigned_to",
    **dict.fromkeys(("created_events", "audit_logs"), "user_id"),
}


async def test_every_relation(admin: httpx.AsyncClient, south: Clinic, bare: str) -> None:
    """Each relation of each table, both ways, brings what its own list shows, of the own clinic only."""
    assert bare
    stored = {table: await rows_of(admin, f"/api/{table}/?__page_size=1000") for table in TABLES}
    logged = {row["id"] for row in stored["access_logs"]}  # What comes later tells of the looks below.
    foreign = {str(south.id), *(str(row_id) for row_id in (*south.rows.values(), *south.users.values()))}
    for table, relations in RELATIONS.items():
        offered = await refused(admin, f"/api/{table}/?__include=nothing")
        assert offered.endswith(f"its relations are {', '.join(sorted(relations))}."), offered
        for name, target in relations.items():
            rows = await rows_of(admin, f"/api/{table}/?__page_size=100&__include={name}")
            assert [{**row, name: None} for row in rows] == [{**row, name: None} for row in stored[table]], (
                table,
                name,
            )
            assert not foreign & set(json.dumps(rows).replace('"', " ").split()), (table, name)
            for row in rows:
                if name == "access_logs":
                    row[name] = [other for other in row[name] if other["id"] in logged]
                if isinstance(target, str):
                    key = row[KEYS.get(name, f"{name}_id")]
                    expected: Any = next((other for other in stored[target] if other["id"] == key), None)
                    assert (expected is None) is (key is None)
                else:
                    column = "tenant_id" if table == "tenants" else BACK.get(f"{table}.{name}") or BACK[name]
                    expected = [other for other in stored[target[0]] if other[column] == row["id"]]
                assert row[name] == expected, (table, name)


async def test_several_relations(admin: httpx.AsyncClient, north: Clinic, bare: str) -> None:
    """Relations come together and nested, null for no row, an empty list for none, beside chosen columns."""
    query = "__include=codes,tasks,ingestion,creator,tenant&__include=tasks.assignee"
    row = await row_of(admin, "cases", north.rows["cases"], query)
    assert row["tenant"]["slug"] == "north"
    assert row["ingestion"]["source_metadata"] == {}
    assert row["creator"]["email"] == "admin@north.com"
    assert [code["code"] for code in row["codes"]] == ["97110"]
    assert [task["assignee"]["email"] for task in row["tasks"]] == ["spare@north.com"]
    assert row["tasks"][0]["assigned_to"] == row["tasks"][0]["assignee"]["id"]
    empty = await row_of(admin, "cases", bare, query)
    assert empty.keys() == row.keys()
    assert (empty["ingestion"], empty["codes"], empty["tasks"]) == (None, [], [])
    query = "__visible_fields=payer,tasks.title&__include=tasks.assignee,codes"
    row = await row_of(admin, "cases", north.rows["cases"], query)
    assert row.keys() == {"payer", "tasks", "codes"}
    assert [(task.keys(), task["title"]) for task in row["tasks"]] == [({"title", "assignee"}, "Review")]
    assert row["codes"][0]["case_id"] == str(north.rows["cases"])
    row = await row_of(admin, "tasks", north.rows["tasks"], "__include=case.codes,case.creator.tenant")
    assert row["case"]["codes"][0]["code"] == "97110"
    assert row["case"]["creator"]["tenant"]["slug"] == "north"
