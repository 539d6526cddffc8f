"""Every error under /api is a problem (RFC 9457) of one shape, and says neither SQL nor stack."""

import asyncio
import re
from typing import Any

import asyncpg
import httpx
import pytest

from api.problems import TITLES, FieldError, Problem, from_exception
from tenancy.settings import Settings
from tests.api.problems import assert_problem
from tests.clinics import TABLES, Clinic
from tests.cluster import TestDatabase
from tests.conftest import Running, serve

LIMIT = 1024 * 1024


async def test_one_of_each_status(admin: httpx.AsyncClient, client: httpx.AsyncClient, north: Clinic) -> None:
    """401, 403, 404, 405, 400, 409, 412, 413, 415 and 422 have the one shape, and each its own type."""
    case = f"/api/cases/{north.rows['cases']}/"
    answers = {
        400: await admin.get("/api/cases/?nothing=1"),
        401: await client.get("/api/cases/"),
        403: await admin.delete(f"/api/audit_logs/{north.rows['audit_logs']}/"),
        404: await admin.get("/api/nothing/"),
        405: await admin.put("/api/cases/"),
        412: await admin.patch(case, json={}, headers={"If-Match": '"other"'}),
        409: await admin.patch(f"/api/users/{north.rows['users']}/", json={"email": "admin@north.com"}),
        413: await admin.patch(case, content=b" " * (LIMIT + 1), headers={"Content-Type": "application/json"}),
        415: await admin.patch(case, content=b"x", headers={"Content-Type": "text/plain"}),
        422: await admin.patch(case, json={"payer": ""}),
    }
    bodies = {status: assert_problem(answer, status) for status, answer in answers.items()}
    assert len({body["type"] for body in bodies.values()}) == len(bodies)
    assert len({body["request_id"] for body in bodies.values()}) == len(bodies)
    for body in bodies.values():
        assert (await client.get(body["type"])).status_code == 200


async def test_head_of_an_error(admin: httpx.AsyncClient) -> None:
    """HEAD of what is an error has its status and headers, and no body."""
    answer = await admin.head("/api/nothing/")
    assert (answer.status_code, answer.content) == (404, b"")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_methods_that_are_not_there(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A method that a path does not know is a 405 with Allow, whatever the table allows."""
    for table in TABLES:
        rows, row = f"/api/{table}/", f"/api/{table}/{north.rows[table]}/"
        for method, path in (("PUT", rows), ("POST", row), ("TRACE", row)):
            answer = await admin.request(method, path, content=b"")
            assert_problem(answer, 405)
            assert "GET" in answer.headers["allow"]


async def test_fields_to_blame(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A 422 names every field at fault at once: dotted, as a JSON pointer, and why."""
    body = {
        **north.body("cases"),
        "payer": "",
        "status": "unknown",
        "diagnosis_codes": ["M79.3", "x" * 21, 5],
        "confidence_json": {"fields": {"a/b": {"m~n": "\x00"}}},
        "id": "00000000-0000-0000-0000-000000000000",
    }
    first = assert_problem(await admin.post("/api/cases/", json=body), 422)["errors"]
    assert [(error["field"], error["pointer"]) for error in first] == [
        ("confidence_json.fields.a/b.m~n", "/confidence_json/fields/a~1b/m~0n")
    ]
    body["confidence_json"] = {}
    errors = assert_problem(await admin.post("/api/cases/", json=body), 422)["errors"]
    assert {error["field"]: error["pointer"] for error in errors} == {
        "id": "/id",
        "payer": "/payer",
        "status": "/status",
        "diagnosis_codes.1": "/diagnosis_codes/1",
        "diagnosis_codes.2": "/diagnosis_codes/2",
    }


MALFORMED = [b"", b"{", b"{'a': 1}", b"\xff", b'{"payer": "x"}}', b"[" * 50_000, b"NaN"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_malformed_json(admin: httpx.AsyncClient, north: Clinic, method: str) -> None:
    """A body that is no JSON is a 400, on every way to write, and changes nothing."""
    headers = {"Content-Type": "application/json"}
    path = f"/api/cases/{north.rows['cases']}/"
    before = (await admin.get(path)).content
    for body in MALFORMED:
        target = "/api/cases/" if method == "POST" else path
        assert_problem(await admin.request(method, target, content=body, headers=headers), 400)
    assert (await admin.get(path)).content == before


async def test_size_of_a_body(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A body of exactly 1 MiB is taken; one byte more is a 413, its length declared or not."""
    path = f"/api/cases/{north.rows['cases']}/"
    headers = {"Content-Type": "application/json"}
    whole = b'{"priority": "high"}'.ljust(LIMIT)
    assert (await admin.patch(path, content=whole, headers=headers)).status_code == 200
    too_large = b'{"priority": "urgent"}'.ljust(LIMIT + 1)

    async def chunks() -> Any:
        for start in range(0, len(too_large), 65_536):
            yield too_large[start : start + 65_536]

    assert_problem(await admin.patch(path, content=too_large, headers=headers), 413)
    assert_problem(await admin.patch(path, content=chunks(), headers=headers), 413)
    assert (await admin.get(path)).json()["priority"] == "high"


async def test_large_body_needs_a_token_first(client: httpx.AsyncClient) -> None:
    """Who is not signed in is told so, however large the body: 401 comes before all else."""
    answer = await client.post("/api/nothing/", content=b" " * (LIMIT + 1), headers={"Content-Type": "text/plain"})
    assert_problem(answer, 401)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_media_types(admin: httpx.AsyncClient, north: Clinic, method: str) -> None:
    """A body that calls itself anything but JSON is a 415."""
    path = f"/api/cases/{north.rows['cases']}/"
    for media_type in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "json", ""):
        target = "/api/cases/" if method == "POST" else path
        answer = await admin.request(method, target, content=b"{}", headers={"Content-Type": media_type})
        assert_problem(answer, 415)


async def test_values_are_not_repeated(admin: httpx.AsyncClient, north: Clinic) -> None:
    """No problem repeats a value that was sent in a body: it might be somebody's health."""
    secret = "Maria-Diagnosis-7"
    path = f"/api/cases/{north.rows['cases']}/"
    bodies: list[Any] = [
        {"status": secret},
        {"payer": [secret]},
        {"confidence_json": secret},
        {"ingestion_id": secret},
        {"diagnosis_codes": [secret * 3]},
        {"created_at": secret},
        {"id": secret},
        [secret],
        secret,
    ]
    for body in bodies:
        assert secret not in (await admin.patch(path, json=body)).text
    answer = await admin.patch(
        path, content=f'{{"payer": "{secret}'.encode(), headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 400)
    assert secret not in answer.text


async def test_request_id_is_the_server_s(admin: httpx.AsyncClient) -> None:
    """Every answer carries a request id of the server's making, whatever the client calls it."""
    answers = [await admin.get("/api/nothing/", headers={"X-Request-Id": "mine"}) for _ in range(3)]
    ids = {assert_problem(answer, 404)["request_id"] for answer in answers}
    assert len(ids) == 3
    assert all(re.fullmatch(r"[0-9a-f-]{36}", item) for item in ids)


async def test_database_away(running: Running, north: Clinic, database: TestDatabase) -> None:
    """While the database refuses connections the answer is a 503 with Retry-After, then a 200 again."""
    headers = north.headers()
    assert (await running.client.get("/api/cases/", headers=headers)).status_code == 200
    outside = await asyncpg.connect(database.superuser.replace(f"/{database.name}?", "/postgres?"))
    try:
        await outside.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
        await outside.execute(kill, database.name)
        for _ in range(6):
            answer = await running.client.get("/api/cases/", headers=headers)
            assert_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
        await outside.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
    finally:
        await outside.close()
    assert (await running.client.get("/api/cases/", headers=headers)).status_code == 200


async def test_lock_in_the_way(
    clinics: tuple[Clinic, Clinic], settings: Settings, superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that somebody else keeps locked is a 503 with Retry-After, not a request that hangs."""
    monkeypatch.setattr("tenancy.transaction.LOCK_TIMEOUT_MS", 100)
    path, headers = f"/api/cases/{clinics[0].rows['cases']}/", clinics[0].headers()
    async for app in serve(settings):
        async with superuser.transaction():
            await superuser.execute("SELECT FROM cases WHERE id = $1 FOR UPDATE", clinics[0].rows["cases"])
            for conditions in ({}, {"If-Match": "*"}):
                async with asyncio.timeout(5):
                    answer = await app.client.patch(path, json={"priority": "low"}, headers=headers | conditions)
                assert_problem(answer, 503)
                assert int(answer.headers["retry-after"]) > 0
        assert (await app.client.patch(path, json={"priority": "low"}, headers=headers)).status_code == 200


async def test_statement_too_long(running: Running, north: Clinic, superuser: asyncpg.Connection) -> None:
    """A statement over the time limit is a 504."""
    running.engine.statement_timeout_ms = 150
    async with superuser.transaction():
        await superuser.execute("LOCK TABLE rulesets IN ACCESS EXCLUSIVE MODE")
        assert_problem(await running.client.get("/api/rulesets/", headers=north.headers()), 504)
    assert (await running.client.get("/api/rulesets/", headers=north.headers())).status_code == 200


UNAVAILABLE = [
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.TooManyConnectionsError("sorry, too many clients already"),
    asyncpg.DiskFullError("could not extend file"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.SerializationError("could not serialize access"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    ConnectionRefusedError(111, "Connect call failed"),
    TimeoutError(),
]


@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: type(error).__name__)
def test_unavailable(error: Exception) -> None:
    """A database that is away, full, busy or going is a 503 with Retry-After, not a bug of ours."""
    answer = from_exception(error).response("/api/cases/", "id")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert str(error) not in bytes(answer.body).decode() or not str(error)


def test_titles_and_pointers() -> None:
    """Each status has a type of its own, and a pointer escapes what a pointer must (RFC 6901)."""
    assert len({slug for slug, _ in TITLES.values()}) == len(TITLES)
    error = FieldError(("a/b", "m~n", 0), "is wrong").as_json()
    assert error == {"field": "a/b.m~n.0", "pointer": "/a~1b/m~0n/0", "message": "is wrong"}
    assert Problem(418, "short and stout").response("/", "id").status_code == 418
