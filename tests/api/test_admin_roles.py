"""Which operator may do what in the admin, and that odd requests are refused, not failed on."""

import logging
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tenancy.permissions import Operation, is_allowed
from tenancy.tables import Role
from tests.api.test_admin_tenants import CHANGES, CREATED, Clinics, path_of, snapshot, trail
from tests.clinics import TABLES, Clinic
from tests.conftest import Running
from tests.operators import PASSWORD, fill_form, operator, visitor

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

OPERATORS: tuple[Role, ...] = (Role.staff, Role.clinician, Role.admin)


async def attempt(client: httpx.AsyncClient, operation: Operation, table: str, clinic: Clinic) -> list[int]:
    """The answers to every way of doing this to the clinic's row, or to a new one."""
    collection, row = f"/api/tables/{table}/", path_of(table, clinic.rows[table])
    match operation:
        case Operation.read:
            paths = (collection, row, f"{collection}count/", f"{collection}ids/", f"{collection}new/")
            return [(await client.get(path)).status_code for path in paths]
        case Operation.create:
            form = clinic.body(table)
            if is_readable := (await client.get(f"{collection}new/")).status_code == 200:
                form = await fill_form(client, table, form)
            assert is_readable or table in {"audit_logs", "access_logs"}
            return [(await client.post(collection, json=form)).status_code]
        case Operation.update:
            change = CHANGES.get(table, {"user_id": None})
            return [
                (await client.patch(row, json=change)).status_code,
                (await client.put(row, json=change)).status_code,
            ]
        case Operation.delete:
            return [(await client.delete(row)).status_code]


@pytest.mark.parametrize("role", OPERATORS)
async def test_roles(running: Running, clinics: Clinics, superuser: asyncpg.Connection, role: Role) -> None:
    """An operator may do exactly what the table of roles allows the user it acts for: a
    refusal is a 403 and changes nothing."""
    north = clinics[0]
    async with operator(running.url, role) as client:
        for table in reversed(TABLES):
            for operation in Operation:
                before = await snapshot(superuser, north)
                statuses = await attempt(client, operation, table, north)
                changed = await snapshot(superuser, north) != before
                if is_allowed(role, table, operation):
                    assert 403 not in statuses, (table, operation)
                    assert changed == (operation is not Operation.read), (table, operation)
                else:
                    assert set(statuses) == {403}, (table, operation)
                    assert not changed


@pytest.mark.parametrize(("role", "status"), [(Role.staff, 403), (Role.clinician, 200), (Role.admin, 200)])
async def test_who_decides(running: Running, clinics: Clinics, role: Role, status: int) -> None:
    """Only an operator who acts for a clinician or an admin approves and denies cases."""
    north = clinics[0]
    async with operator(running.url, role) as client:
        for decision in ({"status": "approved"}, {"status": "denied", "denial_reason": "Not covered."}):
            form = await fill_form(client, "cases", north.body("cases"))
            created = (await client.post("/api/tables/cases/", json=form)).json()[0]["id"]
            assert (await client.patch(path_of("cases", created), json=decision)).status_code == status
        case = path_of("cases", north.rows["cases"])
        assert (await client.patch(case, json={"status": "more_info_needed"})).status_code == 200


async def test_the_trail_is_read_only(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """No operator writes, changes or deletes audit rows or events, the platform's neither."""
    north = clinics[0]
    before = await snapshot(superuser, north)
    for role in (Role.admin, None):
        async with operator(running.url, role) as client:
            for table in ("audit_logs", "events"):
                form = await fill_form(client, table, north.body(table, tenant_id=str(north.id)))
                row = path_of(table, north.rows[table])
                assert (await client.post(f"/api/tables/{table}/", json=form)).status_code == 403
                assert (await client.patch(row, json={"user_id": None})).status_code == 403
                assert (await client.delete(row)).status_code == 403
    assert await snapshot(superuser, north) == before


async def test_platform_changes_are_audited(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """An operator of the platform works in every clinic, and the trail of the clinic names it."""
    async with operator(running.url, None) as client:
        for clinic in clinics:
            case = path_of("cases", clinic.rows["cases"])
            assert (await client.patch(case, json={"payer": "Renamed"})).status_code == 200
            (entry,) = await trail(superuser, clinic.rows["cases"])
            assert (entry["actor"], entry["user_id"]) == ("operator:platform", None)
            assert (entry["tenant_id"], entry["action"]) == (clinic.id, "update")


@pytest.mark.parametrize("table", CREATED)
async def test_platform_creates(running: Running, clinics: Clinics, superuser: asyncpg.Connection, table: str) -> None:
    """An operator of the platform chooses the clinic of a new row, and cannot mix two."""
    north, south = clinics
    async with operator(running.url, None) as client:
        chosen = {"tenant_id": str(south.id)}
        if table == "cases":
            chosen["created_by"] = str(south.users[Role.staff])
        form = await fill_form(client, table, south.body(table) | chosen)
        created = await client.post(f"/api/tables/{table}/", json=form)
        assert created.status_code == 201, created.text
        (entry,) = await trail(superuser, created.json()[0]["id"])
        assert (entry["tenant_id"], entry["actor"]) == (south.id, "operator:platform")
        if table in ("cases", "case_codes", "tasks"):
            mixed = await client.post(f"/api/tables/{table}/", json=form | {"tenant_id": str(north.id)})
            assert mixed.status_code == 422


async def test_platform_deletes_a_clinic(running: Running, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Deleting a clinic takes its rows along and leaves the other clinic as it was."""
    north, south = clinics
    before = await snapshot(superuser, south)
    async with operator(running.url, None) as client:
        assert (await client.delete(path_of("tenants", north.id))).status_code == 204
    assert await snapshot(superuser, north) == []
    assert await snapshot(superuser, south) == before


def odd_reads(row: UUID) -> list[str]:
    """Paths and queries that no page of the admin sends."""
    cases = "/api/tables/cases/"
    queries = (
        "id=nonsense", "ingestion_id=1", "status=unknown", "nothing=1", "created_at=yesterday", "payer=a&payer=b",
        "diagnosis_codes=a&diagnosis_codes=b", "payer=%00", "payer=%ff", "payer=%25%5C", "payer__operator=like",
        "payer__match=odd", "confidence_json=%7B", "__order=nothing", "__order=", "__order=-", "__page=-1", "__page=0",
        "__page=x", "__page=99999999999999999999999", "__page_size=-1", "__page_size=0", "__page_size=100000",
        "__page_size=5&__page_size=6", "__visible_fields=nothing", "__visible_fields=", "__visible_fields=id.id",
        "__visible_fields=created_by.email", "__readable=x", "__range_header=true&__range_header_name=a%0d%0ab:c",
        "__range_header=x", "priority__operator=is_null", "=", "&&&", "%5B%5D=1", "payer[]=a&payer[]=b",
    )  # fmt: skip
    paths = (
        "nonsense/", "%00/", "%ff/", "../users/", "..%2Fusers/", "1/", "new/x/", "ids/?limit=x", "ids/?limit=-1",
        "ids/?offset=x", "ids/?limit=99999999999999999999", "ids/?search=%25%00", "ids/?search=%7B%7D{}",
        "ids/?search='&limit=1", "count/?id=x", "count/?nothing=1", f"{row}/?__order=x", f"{row}/?__visible_fields=x",
    )  # fmt: skip
    rest = (
        "/api/", "/api//tables/cases/", "/api/tables/%00/", "/api/forms/x/", "/api/forms/x/schema/", "/assets/%00",
        "/assets/../../main.py", "/assets/..%2f..%2fmain.py", "//", "/%ff", "/public/translations/%00/",
    )  # fmt: skip
    return [f"{cases}?{query}" for query in queries] + [f"{cases}{path}" for path in paths] + list(rest)


ODD_BODIES: tuple[bytes, ...] = (
    b"", b"{", b"null", b"[]", b"[1]", b'"text"', b"1", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 5_000,
    b'{"payer": 1}', b'{"payer": null}', b'{"payer": {}}', b'{"payer": "\\u0000"}', b'{"payer": "\\ud800"}',
    b'{"payer": "' + b"x" * 300 + b'"}', b'{"nothing": 1}', b'{"__class__": 1}', b'{"save": 1}', b'{"_meta": 1}',
    b'{"id": "x"}', b'{"tenant_id": "x"}', b'{"tenant_id": ""}', b'{"status": "unknown"}', b'{"status": "null"}',
    b'{"priority": "null"}', b'{"created_at": "x"}', b'{"created_at": "9999999-01-01"}',
    b'{"diagnosis_codes": "x"}', b'{"diagnosis_codes": [null]}', b'{"diagnosis_codes": [["a"]]}',
    b'{"confidence_json": "x"}', b'{"confidence_json": "[]"}', b'{"confidence_json": NaN}',
    b'{"confidence_json": 1e999}', b'{"confidence_json": "{\\"a\\": \\"\\\\u0000\\"}"}',
)  # fmt: skip


async def test_odd_reads(running: Running, clinics: Clinics) -> None:
    """No query and no path makes the admin fail, and the connection pool survives them all."""
    async with operator(running.url) as client:
        for path in odd_reads(clinics[0].rows["cases"]):
            answer = await client.get(path)
            assert answer.status_code < 500, (path, answer.text)
            assert "SELECT" not in answer.text
        assert (await client.get("/api/tables/cases/")).status_code == 200


async def test_odd_writes(running: Running, clinics: Clinics) -> None:
    """No body, whatever it claims to be, makes the admin fail."""
    north = clinics[0]
    async with operator(running.url) as client:
        targets = (("POST", "/api/tables/cases/"), ("PATCH", path_of("cases", north.rows["cases"])))
        more = (
            ("PUT", targets[1][1]),
            ("POST", "/api/change-password/"),
            ("POST", "/api/media/"),
            ("POST", "/api/forms/x/"),
        )
        for verb, path in targets + more:
            for body in ODD_BODIES:
                answer = await client.request(verb, path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code < 500, (verb, path, body[:60], answer.text)
        for media in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "nonsense"):
            answer = await client.post(targets[0][1], content=b"x", headers={"Content-Type": media})
            assert 400 <= answer.status_code < 500, media
        for verb in ("OPTIONS", "TRACE", "DELETE", "PUT", "BREW"):
            assert (await client.request(verb, targets[0][1])).status_code in (400, 405), verb
        assert (await client.get("/api/tables/cases/")).status_code == 200


async def test_odd_logins(running: Running) -> None:
    """No login form makes the admin fail, and none gets in."""
    odd: tuple[dict[str, Any], ...] = (
        {"username": 1, "password": 2},
        {"username": ["a"], "password": ["b"]},
        {"username": {"a": 1}, "password": True},
        {"username": "a\0", "password": PASSWORD},
        {"username": "a" * 1_000, "password": PASSWORD},
        {"username": "a", "password": "b" * 100_000},
    )
    async with visitor(running.url) as client:
        answers = [await client.post("/public/login/", json=form) for form in odd]
        raw = (b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"username": "a", "password": "\\ud800"}')
        answers += [await client.post("/public/login/", content=body) for body in raw]
        for answer in answers:
            assert 400 <= answer.status_code < 500, answer.text
        assert "id" not in client.cookies


async def test_a_large_body_is_refused(running: Running) -> None:
    """A body of more than a mebibyte is a 413, before anything looks into it."""
    async with operator(running.url) as client:
        assert (await client.post("/api/tables/cases/", content=b" " * 1_048_577)).status_code == 413


async def test_values_are_not_logged(
    running: Running, clinics: Clinics, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused request leaves none of its values in any log, the stock code's tracebacks neither."""
    caplog.set_level(logging.DEBUG)
    secret = "secret_value"
    case = path_of("cases", clinics[0].rows["cases"])
    async with operator(running.url) as client:
        # The first two are refused by the models, the third by the database, the last by an exception.
        for refused in ({"priority": secret}, {"created_at": secret}, {"payer": secret, "confidence_json": "[]"}):
            assert (await client.patch(case, json=refused)).status_code == 422
        assert (await client.get("/api/tables/cases/", params={"__order": secret})).status_code == 400
    captured = capsys.readouterr()
    server_log = "".join(
        record.getMessage() + str(record.exc_info) for record in caplog.records if record.name != "httpx"
    )
    assert secret not in server_log + captured.out + captured.err


@pytest.mark.parametrize("change", [{"auth_id": "thief"}, {"email": "staff@north.com"}, {"role": "owner"}])
async def test_refusals_can_be_shown(running: Running, clinics: Clinics, change: dict[str, str]) -> None:
    """A 422 carries what the admin's page looks for, and breaks without: `db_error` or a list."""
    async with operator(running.url) as client:
        answer = await client.patch(path_of("users", clinics[0].rows["users"]), json=change)
    assert answer.status_code in (409, 422)
    body = answer.json()
    assert isinstance(body.get("db_error"), str) or isinstance(body["detail"], list)
