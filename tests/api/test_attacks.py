"""What an attacker tried with paths, relations, cursors, HEAD and Idempotency-Keys, and no longer can."""

from typing import Any
from urllib.parse import unquote

import asyncpg
import httpx
import pytest

from tenancy.tables import Role
from tests.api.lists import refused
from tests.api.problems import assert_problem
from tests.clients import http_client
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import operator

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ODD_PATHS = (
    *("//api/cases/", "///api///cases/", "//api/cases/ids/", "//api/cases/count/", "//api/users/", "///api///me"),
    *("//api/me/", "//api", "/%2fapi/cases/", "/%2Fapi/me/", "/%2f%2fapi/cases/ids/"),
)
SLASHES_WITHIN = (
    *("/api//cases/", "/api//cases", "/api///me", "/api//cases/ids/", "/api//users//", "/api//", "/api/%2Fcases/"),
    *("/api%2F%2Fcases/", "/api//api/cases/", "/api/cases//", "/api//admin/api/tables/cases/"),
)
SLASHES_IN_THE_ADMIN = (
    *("/admin//api/tables/cases/", "/admin/api//tables/cases/", "/admin/api/tables//cases/", "/admin//", "/admin///"),
    *("/admin/%2Fapi/tables/cases/", "/admin%2F%2Fapi/tables/users/", "/admin/api/tables/cases//"),
    *("/admin//public/login/", "/admin//api/user/"),
)
WAYS_BACK = {
    "cases": ("codes.case", "codes.case_id", "tasks.case", "codes.case.codes", "tenant.cases.tenant"),
    "users": ("created_cases.creator", "created_cases.created_by", "assigned_tasks.assignee", "tenant.users.tenant"),
    "ingestions": ("cases.ingestion", "cases.ingestion_id", "cases.codes.case"),
    "tenants": ("cases.tenant", "cases.tenant_id", "users.tenant"),
}
WAYS_ON = {
    "cases": ("codes", "tasks.assignee", "ingestion", "creator.created_cases", "ingestion.cases"),
    "users": ("created_cases.codes", "assigned_tasks.case", "tenant"),
}
LONG = 20_000


# -- Paths -------------------------------------------------------------------


async def test_spellings_that_begin_with_two_slashes(running: Running, north: Clinic) -> None:
    """A path that only looks like one of `/api` leads nowhere, with any method, with a token or without."""
    for path in ODD_PATHS:
        for method in METHODS:
            for headers in ({}, north.headers()):
                answer = await running.client.request(method, f"{running.url}{path}", headers=headers)
                assert answer.request.url.raw_path.decode() == path
                assert answer.status_code in (401, 404), (method, path, answer.status_code, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"


async def test_slashes_behind_the_prefix(running: Running, north: Clinic, superuser: asyncpg.Connection) -> None:
    """Below `/api` and `/admin` two slashes are not taken for one: such a path names nothing, to nobody, to a user and
    to an operator, and of whom it knows the refusal is recorded, under the path that was asked for."""
    asked: list[tuple[str, str]] = []
    client = running.client
    async with operator(running.url) as gui:
        for path in (*SLASHES_WITHIN, *SLASHES_IN_THE_ADMIN):
            of_operator = path.startswith("/admin")
            known = dict(gui.headers) | {"Cookie": f"id={gui.cookies['id']}"} if of_operator else north.headers()
            for method in METHODS:
                for headers, status in (({}, 401), (known, 404)):
                    answer = await client.request(method, f"{running.url}{path}", headers=headers)
                    assert answer.request.url.raw_path.decode() == path
                    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
                asked.append((answer.headers["x-request-id"], unquote(path).replace("login", "*")))
    rows = await superuser.fetch("SELECT * FROM access_logs WHERE request_id IS NOT NULL ORDER BY created_at, id")
    assert {(row["request_id"], row["path"]) for row in rows} == set(asked)
    assert {(row["status"], row["access"], row["tenant_id"]) for row in rows} == {(404, "refusal", north.id)}


async def test_a_change_of_a_user_by_any_spelling(running: Running, north: Clinic) -> None:
    """A path with a slash too many changes no user, or has its effect on the user's next request as well."""
    staff = north.headers(Role.staff)
    path = f"{running.url}/api//users/{north.users[Role.staff]}/"
    assert (await running.client.get("/api/cases/", headers=staff)).status_code == 200
    changed = await running.client.patch(path, json={"is_active": False}, headers=north.headers())
    expected = 403 if changed.status_code == 200 else 200
    assert changed.status_code in (200, 404)
    assert (await running.client.get("/api/cases/", headers=staff)).status_code == expected


# -- Relations ---------------------------------------------------------------


async def test_a_path_does_not_go_back(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A path from a row to its many and back again is a 400, in lists and of a row, to include and to show."""
    for table, way in ((table, way) for table, ways in WAYS_BACK.items() for way in ways):
        for parameter in (f"__include={way}", f"__visible_fields=id,{way}.id"):
            assert "back" in await refused(admin, f"/api/{table}/?{parameter}"), parameter
            assert "back" in await refused(admin, f"/api/{table}/{north.rows[table]}/?{parameter}"), parameter


async def test_a_path_goes_on(admin: httpx.AsyncClient) -> None:
    """What leads on, and what leads from one row to its neighbours, is answered."""
    for table, way in ((table, way) for table, ways in WAYS_ON.items() for way in ways):
        for parameter in (f"__include={way}", f"__visible_fields=id,{way}.id"):
            answer = await admin.get(f"/api/{table}/?{parameter}")
            assert answer.status_code == 200, (parameter, answer.text)
            assert way.partition(".")[0] in answer.json()["rows"][0]


# -- Cursors and HEAD --------------------------------------------------------


async def test_an_order_by_a_long_text(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A cursor that would hold a long text is refused and says why; a short text makes one, page by page."""
    texts = ["b", "c" + "x" * 1000, "a", "d" * LONG, "e"]
    made = await admin.post("/api/tasks/", json=[north.body("tasks", description=text) for text in texts])
    assert made.status_code == 201
    path = "/api/tasks/?description__not_null=true&__order=description&__visible_fields=description&__page_size=1"
    cursor: str | None = ""
    for expected in sorted(texts)[:3]:
        page = (await admin.get(f"{path}&__cursor={cursor}")).json()
        assert [row["description"] for row in page["rows"]] == [expected]
        cursor = page["next_cursor"]
    detail = await refused(admin, f"{path}&__cursor={cursor}")
    assert "cursor" in detail
    assert "order" in detail
    assert "x" * 10 not in detail
    by_offset = await admin.get(f"{path}&__page=4")
    assert [row["description"] for row in by_offset.json()["rows"]] == ["d" * LONG]
    last = await admin.get(f"{path.replace('=1', '=2')}&__cursor={cursor}")
    assert [len(row["description"]) for row in last.json()["rows"]] == [LONG, 1]
    assert last.json()["next_cursor"] is None


async def test_head_of_a_csv_list(admin: httpx.AsyncClient) -> None:
    """HEAD of a CSV list is a 200 without a body, and a 400 where the page that it asks for is one."""
    admin.headers["Accept"] = "text/csv"
    for query in ("", "?__page_size=1", "?__cursor=&__page_size=5", "?payer=Cigna"):
        answer = await admin.head(f"/api/cases/{query}")
        assert (answer.status_code, answer.content) == (200, b""), query
        assert answer.headers["content-type"].startswith("text/csv")
    for query in ("?__cursor=bad", "?__cursor=bad&__page_size=5", "?__cursor=AAAA", "?__page=0", "?nothing=1"):
        for method in ("HEAD", "GET"):
            answer = await admin.request(method, f"/api/cases/{query}")
            assert answer.status_code == 400, (method, query)
        assert (await admin.head(f"/api/cases/{query}")).content == b""


# -- Idempotency-Keys --------------------------------------------------------


async def post(client: httpx.AsyncClient, body: Any, path: str = "/api/cases/", **headers: str) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": "k", **headers})


def assert_refused(answer: httpx.Response, secret: str) -> None:
    """It is a problem about the key, and shows nothing of the row."""
    problem = assert_problem(answer, 422)
    assert "Idempotency-Key" in problem["detail"]
    assert secret not in answer.text
    assert not {"location", "etag", "idempotent-replayed"} & answer.headers.keys()


@pytest.mark.parametrize("former", [Role.clinician, Role.admin])
async def test_no_replay_to_another_role(
    running: Running, north: Clinic, admin: httpx.AsyncClient, former: Role
) -> None:
    """Who has another role since gets no answer stored for the former; who has it again, does."""
    # A colleague changes the role: nobody but an admin may, and an admin remains.
    person, headers = north.users[Role.clinician], north.headers(Role.clinician)
    path = f"/api/users/{person}/"
    assert (await admin.patch(path, json={"role": former.value})).status_code == 200
    async with http_client(running.url, headers) as client:
        body = north.body("cases", member_id_hash="hash_secret")
        first = await post(client, body)
        assert first.status_code == 201
        assert (await admin.patch(path, json={"role": "staff"})).status_code == 200
        assert_refused(await post(client, body), "hash_secret")
        assert (await admin.patch(path, json={"role": former.value})).status_code == 200
        again = await post(client, body)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
    assert (await admin.get("/api/cases/count/?member_id_hash=hash_secret")).json()["count"] == 1


async def test_another_preference_is_another_request(admin: httpx.AsyncClient, north: Clinic) -> None:
    """The same body under another `Prefer`, or under a second one, is another request."""
    body, merge = north.body("users", email="secret@example.com"), "resolution=merge-duplicates"
    first = await post(admin, body, "/api/users/", Prefer="return=representation")
    assert first.status_code == 201
    for preference in (merge, "return=minimal", f"return=representation, {merge}"):
        assert_refused(await post(admin, body, "/api/users/", Prefer=preference), "secret@")
    assert_refused(await post(admin, body, "/api/users/"), "secret@")
    again = await post(admin, body, "/api/users/", Prefer="return=representation")
    assert again.headers["idempotent-replayed"] == "true"


async def test_each_preference_counts(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A preference in a header field of its own tells two requests apart as well."""
    body = north.body("users", email="secret@example.com")
    assert (await post(admin, body, "/api/users/", Prefer="return=representation")).status_code == 201
    twice = [("Idempotency-Key", "k"), ("Prefer", "return=representation")]
    twice.append(("Prefer", "resolution=merge-duplicates"))
    assert_refused(await admin.post("/api/users/", json=body, headers=twice), "secret@")


async def test_a_path_without_its_last_slash(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A request without the last slash of its path is the same one, and is replayed."""
    body = north.body("cases", member_id_hash="hash_once")
    first = await post(admin, body)
    again = await post(admin, body, "/api/cases")
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (await admin.get("/api/cases/count/?member_id_hash=hash_once")).json()["count"] == 1
