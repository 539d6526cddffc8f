"""Every look through the API is recorded before it is answered: one row as a view, many as a list or an export."""

from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.audit.looks import Log
from tests.clinics import Clinic
from tests.conftest import serve

Clinics = tuple[Clinic, Clinic]
AGENT = "Looks/1.0"
CSV = {"Accept": "text/csv"}
MARKERS = ("Doe-Jane", "MBR123456789", "19561231")
CODES = """
INSERT INTO case_codes (id, tenant_id, case_id, code_type, code)
SELECT gen_random_uuid(), $1, $2, 'CPT', n FROM generate_series(1, 1499) AS n
"""
REVOKE = "REVOKE EXECUTE ON FUNCTION audit.record_looks_1(jsonb, jsonb) FROM fastlane_service"


@pytest.mark.parametrize("table", ["cases", "ingestions"])
async def test_a_row_that_is_read(client: httpx.AsyncClient, clinics: Clinics, looks: Log, table: str) -> None:
    """A read leaves one view with who, where from and the request's id, as HEAD, unchanged or partly read too; a
    write that changes something leaves none, and one that changes nothing does, for it shows the row."""
    north = clinics[0]
    path, entity = f"/api/{table}/{north.rows[table]}/", table.removesuffix("s")
    headers = north.headers(Role.staff) | {"User-Agent": AGENT}
    answer = await client.get(path, headers=headers)
    (view,) = await looks.views()
    assert (view["tenant_id"], view["user_id"], view["entity_id"]) == (
        north.id,
        north.users[Role.staff],
        north.rows[table],
    )
    assert (view["entity_type"], view["actor"]) == (entity, f"user:{north.users[Role.staff]}")
    assert (view["ip_address"], view["user_agent"], view["changes"]) == ("127.0.0.1", AGENT, None)
    assert view["request_id"] == answer.headers["x-request-id"]
    unchanged = headers | {"If-None-Match": answer.headers["etag"]}
    assert (await client.get(path, headers=unchanged)).status_code == 304
    assert (await client.head(path, headers=headers)).status_code == 200
    assert (await client.get(f"{path}?__visible_fields=id", headers=headers)).status_code == 200
    for past in ("history/", "history/?at=2100-01-31T12:00:00Z"):
        assert (await client.get(path + past, headers=headers)).status_code == 200
    assert await looks.viewed() == [(entity, north.rows[table])] * 5
    status = answer.json()["status"]
    other = "more_info_needed" if table == "cases" else "processing"
    for body, views in (({}, 1), ({"status": status}, 1), ({"status": other}, 0), ({"status": other}, 1)):
        assert (await client.patch(path, headers=headers, json=body)).status_code == 200
        assert len(await looks.views()) == views, body
    assert await looks.accesses() == []


async def test_rows_that_come_along(client: httpx.AsyncClient, clinics: Clinics, looks: Log) -> None:
    """A case or an ingestion inside another row is a view of its own, by whatever way it came; many, and one whose
    id is not told, are a list. Codes and tasks are part of the case."""
    north = clinics[0]
    case, ingestion = ("case", north.rows["cases"]), ("ingestion", north.rows["ingestions"])
    of = {table: f"/api/{table}/{north.rows[table]}/" for table in north.rows}
    of["users"] = f"/api/users/{north.users[Role.admin]}/"
    expected: list[tuple[str, str, list[Any], list[int]]] = [
        ("cases", "__include=codes,tasks", [case], []),
        ("cases", "__include=ingestion,tasks", [case, ingestion], []),
        ("cases", "__visible_fields=id,ingestion_id.status", [case, ingestion], []),
        ("ingestions", "__include=cases", [ingestion], [1]),
        ("tasks", "__include=case.ingestion", [case, ingestion], []),
        ("tasks", "__visible_fields=id,case.ingestion.status", [case], [1]),
        ("users", "__include=created_cases.ingestion", [], [2]),
        ("tasks", "", [], []),
        ("users", "__include=tenant", [], []),
    ]
    for table, query, views, listed in expected:
        answer = await client.get(f"{of[table]}?{query}", headers=north.headers())
        assert answer.status_code == 200, answer.text
        assert await looks.viewed() == views, (table, query)
        assert [row["row_count"] for row in await looks.accesses()] == listed, (table, query)


async def test_lists_and_exports(
    client: httpx.AsyncClient, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """Pages, keys, counts and CSV leave one row each, with their number of rows; of the trail and this log too."""
    north, south = clinics
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(CODES, north.id, north.rows["cases"])
    shown: list[tuple[str, dict[str, str], tuple[Any, ...]]] = [
        ("cases/", {}, ("list", "/api/cases/", None, 1)),
        ("cases?__page=9", {}, ("list", "/api/cases", "__page=9", 0)),
        ("case_codes/?__cursor=&__page_size=7", {}, ("list", "/api/case_codes/", "__cursor=&__page_size=7", 7)),
        ("users/?__include=created_cases", {}, ("list", "/api/users/", "__include=created_cases", 4)),
        ("cases/count/?status=pending", {}, ("list", "/api/cases/count/", "status=pending", None)),
        ("rulesets/ids/?limit=5", {}, ("list", "/api/rulesets/ids/", "limit=5", 1)),
        ("case_codes/", CSV, ("export", "/api/case_codes/", None, 1500)),
        ("case_codes/?code=97110", CSV, ("export", "/api/case_codes/", "code=*", 1)),
        ("case_codes/?__page_size=9", CSV, ("export", "/api/case_codes/", "__page_size=9", 9)),
        ("audit_logs/?action=view", {}, ("list", "/api/audit_logs/", "action=view", 0)),
    ]
    for path, headers, (access, shown_path, filters, rows) in shown:
        answer = await client.get(f"/api/{path}", headers=north.headers() | headers)
        assert answer.status_code == 200, answer.text
        assert await looks.summary() == [(access, "GET", shown_path, filters, rows, 200)], path
    for path in ("me/", "cases/new/", "cases/schema/", "cases/references/", "cases/?status=unknown"):
        await client.get(f"/api/{path}", headers=north.headers())
    await client.post("/api/cases/", json=north.body("cases"), headers=north.headers())
    assert await looks.summary() == []
    await client.patch("/api/cases/?payer=Aetna", json={}, headers=north.headers())  # Changes nothing, and shows it.
    assert await looks.summary() == [("list", "PATCH", "/api/cases/", "payer=*", 1, 200)]
    await client.head("/api/cases/", headers=north.headers(Role.staff) | {"User-Agent": AGENT})
    (row,) = await looks.accesses()
    assert (row["method"], row["tenant_id"], row["user_id"]) == ("HEAD", north.id, north.users[Role.staff])
    assert (row["actor"], row["user_agent"]) == (f"user:{north.users[Role.staff]}", AGENT)
    assert await looks.views() == []
    own = await client.get("/api/access_logs/?access=export&row_count__gte=9&__cursor=", headers=north.headers())
    assert [row["row_count"] for row in own.json()["rows"]] == [9, 1500]
    assert (await client.get("/api/access_logs/", headers=north.headers() | CSV)).text.count("\r\n") == 15
    assert (await client.get("/api/access_logs/count/", headers=south.headers())).json()["count"] == 1
    assert (await client.get("/api/access_logs/", headers=north.headers(Role.clinician))).status_code == 403


async def test_what_may_identify_is_masked(
    client: httpx.AsyncClient, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """Of what a client writes into a path or a query only our own names and closed values are kept."""
    north = clinics[0]
    one = str(north.rows["cases"])
    kept = [
        f"status__in=pending,denied&id={one}&created_at__gte=2026-01-31T12:00:00Z&payer__is_null=false",
        "__order=-created_at,priority&__visible_fields=id,ingestion.status&__total=true&__page=1&__count=exact",
        "payer__operator=ne&payer=",
    ]
    masked = {
        "payer=Doe-Jane&payer__match=starts&member_id_hash__in=MBR123456789,b": "payer=*&payer__match=starts&"
        "member_id_hash__in=*",
        "extracted_data.Doe-Jane=MBR123456789": "extracted_data.*=*",
        "__or=(status=denied,and(payer=%22Doe-Jane%22,priority__in=high))": "__or=(status=denied,and(payer=*,"
        "priority__in=high))",
        "__search=MBR123456789": "__search=*",
        "status__operator=is_null&__search=Doe-Jane": "status__operator=is_null&__search=*",
    }
    refused = {
        "Doe-Jane=MBR123456789": "*=*",
        "status__in=pending,Doe-Jane&id=MBR123456789": "status__in=pending,*&id=*",
        "created_at=19561231MBR123456789&__page=MBR123456789": "created_at=*&__page=*",
        "__order=Doe-Jane&__include=Doe-Jane,codes&__or=(Doe-Jane": "__order=*&__include=*,codes&__or=*",
        "payer__Doe-Jane=1&__count=Doe-Jane&__cursor=Doe-Jane": "*=*&__count=*&__cursor=*",
    }
    for query, expected in [*zip(kept, kept, strict=True), *masked.items()]:
        answer = await client.get(f"/api/cases/?{query}", headers=north.headers())
        assert answer.status_code == 200, answer.text
        assert [row["filter"] for row in await looks.accesses()] == [expected]
    for query, expected in refused.items():
        assert (await client.get(f"/api/nothing/cases/?{query}", headers=north.headers())).status_code == 404
        (row,) = await looks.accesses()
        assert (row["path"], row["filter"]) == ("/api/*/cases/", expected)
    paths = [f"cases/{one}/Doe-Jane/", "Doe-Jane", "users/Doe-Jane@example.com/", f"cases/MBR123456789/?x={'x' * 9000}"]
    for path in [*paths, "a/" * 9000]:
        await client.request("PROPFIND", f"/api/{path}", headers=north.headers())
        await client.get(f"/api/{path}", headers=north.headers())
    rows = await looks.accesses()
    assert [row["path"] for row in rows[:2]] == [f"/api/cases/{one}/*/"] * 2
    assert max(len(row["path"]) for row in rows) <= 500
    assert {row["method"] for row in rows} == {"GET", "OTHER"}
    everything = await superuser.fetchval("SELECT string_agg(a::text, ' ') FROM access_logs a")
    assert not [marker for marker in MARKERS if marker in everything]


async def test_views_can_be_left_out(
    settings: Settings, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """With AUDIT_VIEWS=0 a single row leaves no view; lists and refusals are recorded all the same."""
    north = clinics[0]
    async for app in serve(Settings.model_validate({**settings.model_dump(), "audit_views": False})):
        for path in ("", f"{north.rows['cases']}/", f"{north.id}/"):
            await app.client.get(f"/api/cases/{path}", headers=north.headers())
    assert await looks.views() == []
    assert [row["access"] for row in await looks.accesses()] == ["list", "refusal"]
    assert await superuser.fetchval("SELECT count(*) FROM audit_logs WHERE action = 'view'") == 0


async def test_what_cannot_be_recorded_is_not_told(
    client: httpx.AsyncClient, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """While looks cannot be written, reads and refusals are a 503 that says when to come back; changes, whose record
    is their own transaction's, go on, and so do reads afterwards."""
    north, south = clinics
    headers = north.headers()
    case = f"/api/cases/{north.rows['cases']}/"
    await superuser.execute(REVOKE)
    for path, more in (
        (case, {}),
        ("/api/cases/", {}),
        ("/api/cases/", CSV),
        (f"/api/cases/{south.rows['cases']}/", {}),
        ("/api/nothing/", {}),
    ):
        answer = await client.get(path, headers=headers | more)
        assert answer.status_code == 503, path
        assert answer.headers["retry-after"]
        assert "Cigna" not in answer.text
    assert (await client.get(case, headers=north.headers(Role.staff) | {"If-None-Match": "*"})).status_code == 503
    assert (await client.patch(case, json={"payer": "Aetna"}, headers=headers)).status_code == 200
    assert (await client.get("/api/me/", headers=headers)).status_code == 200
    assert (await looks.views(), await looks.accesses()) == ([], [])
    await superuser.execute(REVOKE.replace("REVOKE", "GRANT").replace("FROM", "TO"))
    assert (await client.get(case, headers=headers)).status_code == 200
    assert len(await looks.views()) == 1
