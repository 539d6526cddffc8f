"""What the stock CRUD endpoints get wrong, and ours do not: one test for each fault.

Faults that other tests are about as well stand here only where a test of the fault itself says more.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.columns import JSON, JSONB, Secret, Timestamptz, Varchar
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from pydantic import BaseModel

from api.models import output_model
from api.openapi.schemas import table_schemas
from api.problems import Problem
from api.query.parse import parse_query
from api.query.shape import plain, row_json
from cases.tables import Ruleset
from tenancy.catalog import served_tables
from tenancy.tables import Role
from tests.api.odd_requests import CASE, CASES, Odd, deep, get, send
from tests.api.problems import assert_problem, fields
from tests.clinics import Clinic
from tests.conftest import Running

ZERO = "00000000-0000-0000-0000-000000000000"
RULESETS = "/api/rulesets/"
MERGE = {"Prefer": "resolution=merge-duplicates"}
JSON_COLUMNS = [
    (table._meta.tablename, column._meta.name)
    for table in served_tables()
    for column in table._meta.columns
    if isinstance(column, JSON | JSONB)
]


async def counts(superuser: asyncpg.Connection, *tables: str) -> list[int]:
    return [await superuser.fetchval(f"SELECT count(*) FROM {table}") for table in (*tables, "audit_logs", "events")]


# -- Models and queries of a request -----------------------------------------


@contextmanager
def models_built() -> Iterator[list[str]]:
    """Collects the name of every Pydantic model that this thread, which is the server's too, builds meanwhile."""
    built: list[str] = []
    code = type(BaseModel).__new__.__code__

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code:
            built.append(frame.f_locals["cls_name"])

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield built
    finally:
        sys.setprofile(before)


async def test_models_are_not_built_for_a_request(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Stock builds its Pydantic models anew for every request; here no request, of whatever kind, builds one."""
    row, body = f"{RULESETS}{north.rows['rulesets']}/", north.body("rulesets")
    with models_built() as built:
        _ = PiccoloCRUD(Ruleset).pydantic_model  # The instrument sees what stock does for each body.
    assert built == ["RulesetIn"]
    paths = ("", "?payer=Cigna&__visible_fields=id,payer&__readable=true", "schema/", "new/", "ids/", "count/")
    with models_built() as built:
        answers = [
            *[await admin.get(RULESETS + path) for path in (*paths, "references/", "?payer=Cigna&__total=true")],
            *[await admin.get(path) for path in (row, "/api/cases/?__include=codes,tasks")],
            *[await admin.request(method, row, json=body) for method in ("PUT", "PATCH")],
            await admin.post(RULESETS, json=body),
            await admin.post(RULESETS, json=[body, body]),
            await admin.post("/api/users/", json=[north.body("users")], headers=MERGE),
            await admin.patch(f"{RULESETS}?payer=Cigna", json=body),
            await admin.post(RULESETS, json={"payer": 1}),
            await admin.delete(row),
            await admin.delete(f"{RULESETS}?payer=Aetna"),
        ]
    assert sorted({answer.status_code for answer in answers}) == [200, 201, 204, 422]
    assert built == []


async def test_one_query_for_a_read(admin: httpx.AsyncClient, running: Running, north: Clinic) -> None:
    """Stock asks whether a row exists before it reads it; here a read is one query, a total one more."""
    statements: list[str] = []
    pool = running.engine.pool
    assert pool is not None
    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(lambda record: statements.append(record.query))
        await pool.release(connection)
    row, missing = f"{RULESETS}{north.rows['rulesets']}/", f"{RULESETS}{ZERO}/"
    expected = {
        row: 1,
        missing: 1,
        f"{row}?__readable=true": 1,
        RULESETS: 1,
        f"{RULESETS}?payer=Cigna&__order=payer": 1,
        f"{RULESETS}?__total=true": 2,
        f"{RULESETS}?__range_header=true&__total=true": 2,
        f"{RULESETS}ids/": 1,
        f"{RULESETS}count/": 1,
        "/api/rulesets/schema/": 0,
    }
    for path, number in expected.items():
        statements.clear()
        assert (await admin.get(path)).status_code == (404 if path == missing else 200)
        begins = [statement for statement in statements if statement.startswith("BEGIN;")]
        assert len(begins) == statements.count("ROLLBACK" if path == missing else "COMMIT") == 1, statements
        # The look-up of the user, which is kept for seconds, is not about the table.
        assert (path, len([statement for statement in statements if "rulesets" in statement])) == (path, number)


# -- JSON and text -----------------------------------------------------------


@pytest.mark.parametrize(("table", "name"), JSON_COLUMNS)
async def test_json_is_json(admin: httpx.AsyncClient, north: Clinic, table: str, name: str) -> None:
    """Stock sends JSON columns as strings that hold JSON; here each is an object, in every answer that shows it."""
    path = f"/api/{table}/{north.rows[table]}/"
    answers = [await admin.get(path), await admin.get(f"{path}?__visible_fields={name}")]
    lists = [f"/api/{table}/", f"/api/{table}/?__visible_fields={name}", f"/api/{table}/?__cursor="]
    rows = [answer.json() for answer in answers]
    rows += [row for list_path in lists for row in (await admin.get(list_path)).json()["rows"]]
    if table in ("ingestions", "cases", "rulesets"):
        document = {"a": {"b": ["null", 1, None]}}
        for answer in (
            await admin.post(f"/api/{table}/", json=north.body(table, **{name: document})),
            await admin.put(path, json=north.body(table, **{name: document})),
            await admin.patch(path, json={name: document}),
        ):
            assert answer.json()[name] == document, answer.text
    assert rows
    assert {type(row[name]) for row in rows} <= {dict, type(None)}
    if name != "metadata_json":
        assert all(row[name] is not None for row in rows)


async def test_json_in_related_rows(admin: httpx.AsyncClient, north: Clinic) -> None:
    """JSON columns are objects in related rows too."""
    case = (await admin.get(f"/api/cases/{north.rows['cases']}/?__include=ingestion")).json()
    assert case["ingestion"]["source_metadata"] == {}
    task = (await admin.get("/api/tasks/?__visible_fields=id,case.confidence_json")).json()["rows"][0]
    assert task["case"]["confidence_json"] == {"overall": 1}


def test_json_is_documented_as_json() -> None:
    """Stock's models break the making of an OpenAPI document, and type JSON as text; here JSON columns are objects."""
    for table in served_tables():
        schemas = table_schemas(table)
        shown = {name for name, schema in schemas.items() if name.startswith(table.__name__)}
        assert f"{table.__name__}Out" in shown
        for name in shown:
            for column, schema in schemas[name].get("properties", {}).items():
                if (table._meta.tablename, column) in JSON_COLUMNS:
                    kinds = {str(one.get("type", one.get("$ref"))) for one in schema.get("anyOf", [schema])}
                    assert kinds - {"null"}, (name, column, schema)
                    assert not {"string"} & kinds, (name, column, schema)
                    for one in schema.get("anyOf", [schema]):
                        target = schemas[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                        assert target["type"] in ("object", "null"), (name, column, target)


@pytest.mark.parametrize(("table", "name"), [("ingestions", "error_message"), ("users", "name")])
async def test_the_word_null_is_a_word(admin: httpx.AsyncClient, north: Clinic, table: str, name: str) -> None:
    """Stock stores NULL for the text "null"; here it stays the text, however it is written, and is found as such."""
    path = f"/api/{table}/{north.rows[table]}/"
    body = (await admin.get(path)).json() | {name: "null"}
    for answer in (
        await admin.post(f"/api/{table}/", json=north.body(table, **{name: "null"})),
        await admin.put(path, json=body),
        await admin.patch(path, json={name: "null"}),
        await admin.patch(f"/api/{table}/?id={north.rows[table]}", json={name: "null"}),
    ):
        row = answer.json().get("rows", [answer.json()])[0]
        assert (await admin.get(f"/api/{table}/{row['id']}/")).json()[name] == row[name] == "null"
    assert len((await admin.get(f"/api/{table}/?{name}=null&{name}__match=exact")).json()["rows"]) == 2
    nulls = (await admin.get(f"/api/{table}/?{name}__operator=is_null")).json()["rows"]
    assert "null" not in {row[name] for row in nulls}


# -- What was a 500 ----------------------------------------------------------

FORMER_500S: list[Odd] = [
    *(send(method, b"{", 400) for method in ("POST", "PUT", "PATCH")),
    *(send(method, [1], 422) for method in ("POST", "PUT", "PATCH")),
    *(Odd("GET", f"/api/tasks/{path}case_id=x") for path in ("?", "count/?")),
    *(Odd("GET", f"{CASES}{path}status=x") for path in ("?", "count/?")),
    get("__order=nothing"),
    get("status=pending&status=denied", 200),
    get("status=pending&payer=Cigna&status=denied", 200),
    *(get(f"{name}=-1") for name in ("__page_size", "__page")),
    get("__page_size=1&__page_size=2"),
    get("__range_header=true&__range_header_name=a%0d%0ab"),
    send("PUT", {"nothing": 1}),
    send("PATCH", b"{}", 200),
    send("PATCH", b'{"payer": "\xff"}', 400),
    send("PATCH", {"payer": "\x00"}),
    send("PATCH", {"metadata_json": {"a": ["\x00"]}}),
    send("PATCH", b'{"confidence": 1e400}', 400, path="/api/case_codes/{case_codes}/"),
    send("PATCH", {"confidence": 10**40}, path="/api/case_codes/{case_codes}/"),
    *(send("PATCH", deep(levels)) for levels in (150, 900)),
    send("PATCH", deep(100_000), 400),
    *(Odd("HEAD", path, statuses=(200,)) for path in (CASES, CASE, "/api/cases", f"{CASES}ids", f"{CASES}new")),
]


async def test_what_stock_fails_at(admin: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection) -> None:
    """What stock answers with a 500, a 405 for HEAD or a redirect for a slash has its right answer, and changes
    nothing."""
    before, wrong = await counts(superuser, "cases", "case_codes"), {}
    for odd in FORMER_500S:
        path = odd.path.format(**{table: str(row) for table, row in north.rows.items()})
        headers = {"Content-Type": odd.content_type} if odd.body is not None else {}
        answer = await admin.request(odd.method, path, content=odd.body, headers=headers, follow_redirects=False)
        if answer.status_code not in odd.statuses:
            wrong[odd.method, odd.path, (odd.body or b"")[:60]] = (answer.status_code, answer.text[:200])
        elif answer.status_code >= 400:
            assert_problem(answer)
    assert wrong == {}
    assert await counts(superuser, "cases", "case_codes") == before


# -- Rules, trail, constraints -----------------------------------------------


async def test_put_and_bulk_delete_are_like_the_rest(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, north: Clinic, superuser: asyncpg.Connection
) -> None:
    """Stock calls no hook for PUT and for the deletion of many; here both obey the rules and are on the trail."""
    case, body = f"{CASES}{north.rows['cases']}/", north.body("cases")
    before = await counts(superuser, "cases", "users")
    assert_problem(await staff.put(case, json=body | {"status": "approved"}), 403)
    assert_problem(await staff.delete(f"{CASES}?status=pending"), 403)
    creator = f"{north.users[Role.admin]}&id={north.rows['users']}"
    assert "is_active" in assert_problem(await admin.delete(f"/api/users/?id={creator}"), 409)["detail"]
    assert await counts(superuser, "cases", "users") == before
    assert (await staff.put(case, json=body)).status_code == 200
    created = (await admin.post(RULESETS, json=[north.body("rulesets", payer="Gone")] * 3)).json()["rows"]
    assert (await admin.delete(f"{RULESETS}?payer=Gone")).headers["content-range"] == "rulesets */3"
    trail = "SELECT action || ' by ' || actor FROM audit_logs WHERE entity_id = $1 ORDER BY created_at, action"
    for row in created:
        entries = [entry[0] for entry in await superuser.fetch(trail, row["id"])]
        assert entries == [f"{verb} by user:{north.users[Role.admin]}" for verb in ("create", "delete")]
    entries = [entry[0] for entry in await superuser.fetch(trail, north.rows["cases"])]
    assert entries[1:] == [f"update by user:{north.users[Role.staff]}"]


REFUSED: list[tuple[str, str, dict[str, Any], int, list[str]]] = [
    ("rulesets", "ALTER TABLE rulesets ADD CHECK (payer <> 'Refused')", {"payer": "Refused"}, 422, ["payer"]),
    ("rulesets", "ALTER TABLE rulesets ADD UNIQUE (tenant_id, payer)", {"payer": "Cigna"}, 409, ["payer"]),
    ("tasks", "", {"case_id": ZERO}, 422, ["case_id"]),
    (
        "rulesets",
        "CREATE POLICY refused ON rulesets AS RESTRICTIVE TO fastlane_tenant USING (true) "
        "WITH CHECK (payer <> 'Refused')",
        {"payer": "Refused"},
        403,
        [],
    ),
]


@pytest.mark.parametrize("refused", REFUSED, ids=["check", "unique", "foreign key", "row-level security"])
async def test_what_the_database_refuses(
    admin: httpx.AsyncClient,
    running: Running,
    north: Clinic,
    superuser: asyncpg.Connection,
    refused: tuple[str, str, dict[str, Any], int, list[str]],
) -> None:
    """Stock answers a violation inside a broken transaction, and fails at row-level security; here each has its
    answer, nothing of the request stays, and the connection serves the next one."""
    table, statement, spoiled, status, blamed = refused
    await superuser.execute(statement)
    body = north.body(table)
    row = (await admin.post(f"/api/{table}/", json=body)).json()
    path, before = f"/api/{table}/{row['id']}/", await counts(superuser, table)
    for _ in range(2):
        for answer in (
            await admin.post(f"/api/{table}/", json=body | spoiled),
            await admin.post(f"/api/{table}/", json=[body, body | spoiled] if not statement else [body | spoiled]),
            await admin.put(path, json=body | spoiled),
            await admin.patch(path, json=spoiled),
            await admin.patch(f"/api/{table}/?id={row['id']}", json=spoiled),
        ):
            assert fields(answer, status) == blamed
    assert await counts(superuser, table) == before
    assert (await admin.get(path)).json() == row
    pool = running.engine.pool
    assert pool is not None
    assert pool.get_idle_size() == pool.get_size()
    assert (await admin.delete(path)).status_code == 204


# -- Secrets -----------------------------------------------------------------


class Vault(Table, tags=["internal"]):
    """A table that nobody serves, with a column that nobody may see."""

    label = Varchar()
    token = Secret()
    created_at = Timestamptz()


ASKING = ("__order=token", "__order=-token.nullslast", "__visible_fields=id,token", "token=a", "token__gte=a")


@pytest.mark.parametrize("query", [*ASKING, "token__operator=is_null", "token__match=starts&token=a", "__or=(token=a)"])
def test_secrets_are_not_asked_for(query: str) -> None:
    """Stock orders by a secret column, which tells its values bit by bit; here no parameter may name one."""
    with pytest.raises(Problem) as refusal:
        parse_query(Vault, httpx.QueryParams(query).multi_items())
    assert refusal.value.status == 400
    assert "its columns are id, label, created_at" in refusal.value.detail


def test_secrets_are_not_shown() -> None:
    """A row without a choice of columns has no secret one, in the answer or in its documentation."""
    assert "token" not in row_json(plain(Vault), "vault")
    assert "label" in row_json(plain(Vault), "vault")
    assert output_model(Vault).model_fields.keys() == {"id", "label", "created_at"}
