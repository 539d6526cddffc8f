"""The life of a row over HTTP: create, read, replace, change, delete, on every table that allows it."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clinics import TABLES, Clinic

WRITABLE = ("users", "ingestions", "cases", "case_codes", "tasks", "rulesets")
ZERO = "00000000-0000-0000-0000-000000000000"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
DEFAULTS: dict[str, dict[str, Any]] = {
    "users": {"name": None, "auth_id": None, "is_active": True},
    "ingestions": {"storage_path": None, "error_message": None},
    "cases": {"priority": "normal", "ingestion_id": None, "metadata_json": None},
    "case_codes": {"description": None, "confidence": None},
    "tasks": {"status": "pending", "priority": "normal", "assigned_to": None, "due_date": None, "completed_at": None},
    "rulesets": {"is_active": True},
}
# A change, and the column that PUT without it sets back to its default.
CHANGES: dict[str, dict[str, Any]] = {
    "users": {"name": "Zoë 🏥"},
    "ingestions": {"error_message": "unreadable"},
    "cases": {"priority": "urgent"},
    "case_codes": {"confidence": 0.125},
    "tasks": {"due_date": "2026-03-04T05:06:07.089012Z"},
    "rulesets": {"is_active": False},
}
OPTIONS = ("", "?__visible_fields=id", "ids/", "count/", "new/", "schema/", "references/")


async def create(client: httpx.AsyncClient, clinic: Clinic, table: str, **changes: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/{table}/", json=clinic.body(table, **changes))
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


async def stored(client: httpx.AsyncClient, table: str, row_id: str) -> dict[str, Any]:
    answer = await client.get(f"/api/{table}/{row_id}/")
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    return row


@pytest.mark.parametrize("table", WRITABLE)
async def test_create(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """POST answers 201 with the row as stored, defaults and server columns included, and its Location."""
    before = datetime.now(UTC)
    answer = await admin.post(f"/api/{table}/", json=north.body(table))
    assert answer.status_code == 201
    row = answer.json()
    assert answer.headers["location"] == f"/api/{table}/{row['id']}/"
    assert (await admin.get(answer.headers["location"])).json() == row
    assert row.items() >= (north.body(table) | DEFAULTS[table]).items()
    assert row["tenant_id"] == str(north.id)
    for name in {"created_at", "updated_at"} & row.keys():
        assert TIME.fullmatch(row[name])
        assert before <= datetime.fromisoformat(row[name]) <= datetime.now(UTC)


@pytest.mark.parametrize("table", WRITABLE)
async def test_patch_and_put(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """PATCH changes what it names and keeps the rest; PUT sets what it leaves out to its default."""
    row = await create(admin, north, table)
    path = f"/api/{table}/{row['id']}/"
    patched = await admin.patch(path, json=CHANGES[table])
    assert patched.status_code == 200
    changed = row | CHANGES[table] | {name: patched.json()[name] for name in ("updated_at", "version") if name in row}
    if table == "cases":  # What is urgent is due earlier, at the same time of the day.
        due = date.fromisoformat(row["submitted_at"][:10]) + timedelta(days=3)
        changed["decision_due_at"] = due.isoformat() + row["submitted_at"][10:]
    assert patched.json() == changed == await stored(admin, table, row["id"])
    assert changed.get("updated_at", "z") > row.get("updated_at", "")

    replaced = await admin.put(path, json=north.body(table))
    assert replaced.status_code == 200
    again = row | {name: replaced.json()[name] for name in ("updated_at", "version") if name in row}
    assert replaced.json() == again == await stored(admin, table, row["id"])


@pytest.mark.parametrize("table", WRITABLE)
async def test_put_needs_a_whole_row(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """PUT, like POST, names every required column that is missing; PATCH requires none."""
    path = f"/api/{table}/{north.rows[table]}/"
    before = await stored(admin, table, str(north.rows[table]))
    missing = fields(await admin.put(path, json={}))
    assert missing
    assert missing == fields(await admin.post(f"/api/{table}/", json={}))
    assert (await admin.patch(path, json={})).json() == before
    assert await stored(admin, table, str(north.rows[table])) == before


@pytest.mark.parametrize("table", WRITABLE)
async def test_delete(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """DELETE answers 204 without a body; the row is gone then, for every verb."""
    row = await create(admin, north, table)
    path = f"/api/{table}/{row['id']}/"
    answer = await admin.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for gone in (admin.get(path), admin.delete(path), admin.patch(path, json={}), admin.put(path, json={})):
        assert_problem(await gone, 404)


@pytest.mark.parametrize("table", [*WRITABLE, "tenants"])
async def test_server_columns_sent_back(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """A row sent back whole is accepted, by PUT and PATCH; nothing changes, its updated_at neither."""
    row = await stored(admin, table, str(north.rows[table]))
    path = f"/api/{table}/{row['id']}/"
    for answer in (await admin.put(path, json=row), await admin.patch(path, json=row)):
        assert answer.status_code == 200, answer.text
        assert answer.json() == row


@pytest.mark.parametrize("table", [*WRITABLE, "tenants"])
async def test_server_columns_changed(admin: httpx.AsyncClient, north: Clinic, south: Clinic, table: str) -> None:
    """A server's column that is changed is a 422 that names it, and nothing of that request is stored."""
    row = await stored(admin, table, str(north.rows[table]))
    path = f"/api/{table}/{row['id']}/"
    spoiled = {
        "id": str(south.rows[table]),
        "tenant_id": str(south.id),
        "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00.000001Z",
        "created_by": str(south.users[Role.admin]),
        "auth_id": "south-admin",
        "slug": "south",
    }
    changed = {name: value for name, value in spoiled.items() if name in row}
    for name, value in changed.items():
        bads: list[Any] = [value, None, 1, "", [], {}]
        for bad in bads:
            if bad != row[name]:
                assert fields(await admin.patch(path, json={name: bad, **CHANGES.get(table, {})})) == [name]
    assert fields(await admin.put(path, json=row | changed)) == sorted(changed)
    assert await stored(admin, table, row["id"]) == row


@pytest.mark.parametrize("table", WRITABLE)
async def test_server_columns_at_creation(admin: httpx.AsyncClient, north: Clinic, south: Clinic, table: str) -> None:
    """Who creates a row cannot choose its id, tenant, times or creator."""
    chosen = {"id": ZERO, "tenant_id": str(south.id), "created_at": "2020-01-01T00:00:00Z"}
    if table == "cases":
        chosen["created_by"] = str(north.users[Role.staff])
    if table == "users":
        chosen["auth_id"] = "somebody"
    for name, value in chosen.items():
        answer = await admin.post(f"/api/{table}/", json=north.body(table, **{name: value}))
        assert fields(answer) == [name]


@pytest.mark.parametrize("table", WRITABLE)
async def test_unknown_fields(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """Fields that the table does not have are a 422 that names each, on every way to write."""
    path = f"/api/{table}/{north.rows[table]}/"
    unknown = {"nothing": 1, "secret": None, "tenant": {"id": ZERO}}
    assert fields(await admin.post(f"/api/{table}/", json=north.body(table) | unknown)) == sorted(unknown)
    assert fields(await admin.put(path, json=north.body(table) | unknown)) == sorted(unknown)
    assert fields(await admin.patch(path, json=unknown)) == sorted(unknown)


@pytest.mark.parametrize("table", TABLES)
async def test_slash_and_head(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """A path without its last slash is the same path, and HEAD is GET without a body, wherever GET works."""
    # Of the log every list differs from the one before.
    options = OPTIONS if table != "access_logs" else ("new/", "schema/", "references/")
    for rest in (*options, f"{north.rows[table]}/"):
        path = f"/api/{table}/{rest}"
        answer = await admin.get(path)
        assert answer.status_code == 200, path
        if "?" not in path:
            bare = await admin.get(path.rstrip("/"))
            assert (bare.status_code, bare.content) == (200, answer.content)
        head = await admin.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == answer.headers["content-type"] == "application/json"
        assert head.headers["content-length"] == str(len(answer.content))
    assert (await admin.head(f"/api/{table}/{ZERO}/")).status_code == 404
    assert (await admin.head("/api/me")).status_code == 200


async def test_write_without_slash(admin: httpx.AsyncClient, north: Clinic) -> None:
    """Writes, too, are the same without the last slash."""
    answer = await admin.post("/api/tasks", json=north.body("tasks"))
    assert answer.status_code == 201
    path = answer.headers["location"].rstrip("/")
    assert (await admin.patch(path, json={"title": "New"})).json()["title"] == "New"
    assert (await admin.put(path, json=north.body("tasks"))).status_code == 200
    assert (await admin.delete(path)).status_code == 204


DOCUMENTS: list[dict[str, Any]] = [
    {},
    {"a": {"b": [1, 2.5, True, None, "x", {}]}},
    {"text": "null", "quote": "\"';--", "unicode": "Zoë 東京 🏥", "": "empty key"},
    {"json": json.dumps({"inside": "a string"}), "number": 9007199254740993, "small": 1e-7},
]


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_json_columns(admin: httpx.AsyncClient, north: Clinic, document: dict[str, Any]) -> None:
    """JSON columns go in and come out as JSON, equal to the last value, never as a string that holds JSON."""
    row = await create(admin, north, "cases", confidence_json=document, extracted_data=document, metadata_json=document)
    for found in (row, await stored(admin, "cases", row["id"])):
        assert found["confidence_json"] == found["extracted_data"] == found["metadata_json"] == document
    listed = (await admin.get("/api/cases/", params={"id": row["id"]})).json()["rows"][0]
    assert listed["metadata_json"] == document
    path = f"/api/cases/{row['id']}/"
    assert (await admin.patch(path, json={"metadata_json": None})).json()["metadata_json"] is None
    assert (await admin.patch(path, json={"metadata_json": document})).json()["metadata_json"] == document


NO_OBJECTS: list[Any] = ["{}", '{"a": 1}', "null", [], [{}], 1, True, "x"]


@pytest.mark.parametrize("name", ["confidence_json", "extracted_data", "metadata_json"])
async def test_json_columns_hold_objects(admin: httpx.AsyncClient, north: Clinic, name: str) -> None:
    """A JSON document is an object; a string that holds JSON is a 422 that names the column."""
    for value in NO_OBJECTS:
        assert fields(await admin.post("/api/cases/", json=north.body("cases", **{name: value}))) == [name]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("2026-03-04T05:06:07.089012Z", "2026-03-04T05:06:07.089012Z"),
        ("2026-03-04T05:06:07.000001+00:00", "2026-03-04T05:06:07.000001Z"),
        ("2026-03-04T05:06:07.5+05:30", "2026-03-03T23:36:07.500000Z"),
        ("2026-03-04t05:06:07z", "2026-03-04T05:06:07Z"),
        ("2024-02-29T23:59:59.999999-00:01", "2024-03-01T00:00:59.999999Z"),
    ],
)
async def test_times(admin: httpx.AsyncClient, north: Clinic, sent: str, answered: str) -> None:
    """Times come out in RFC 3339 and UTC with their microseconds, whatever zone they were sent in."""
    row = await create(admin, north, "tasks", due_date=sent)
    assert row["due_date"] == (await stored(admin, "tasks", row["id"]))["due_date"] == answered


async def test_ten_server_times_differ_by_microseconds(admin: httpx.AsyncClient, north: Clinic) -> None:
    """The server's own times have microseconds."""
    rows = [await create(admin, north, "rulesets", procedure=str(number)) for number in range(10)]
    assert any(datetime.fromisoformat(row["created_at"]).microsecond % 1000 for row in rows)
