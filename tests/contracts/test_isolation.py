"""The isolation matrix over HTTP: every table x role x verb and path x own row, other tenant's row, no row.

Generated from the permission table, which covers the registry. No call in this file may
change a row of anybody's, which every test watches; that is why all share one database and
one server. What succeeds is in test_isolation_own.py.
"""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

import piccolo_conf
from tenancy.databases import Databases
from tenancy.permissions import PERMISSIONS, Operation, is_allowed
from tenancy.tables import Role
from tests import cluster
from tests.conftest import serve
from tests.contracts.matrix import (
    BULK_DELETE,
    BULK_PATCH,
    CALLS,
    CELLS,
    REGISTERED,
    ROW_CALLS,
    WRITES,
    Body,
    Call,
    Pair,
    calls,
    key_columns,
    leaks,
    name_of,
    said,
    target_of,
    unchanged,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

every_cell = pytest.mark.parametrize(("table", "role"), CELLS, ids=name_of)
every_readable_cell = pytest.mark.parametrize(
    ("table", "role"), [cell for cell in CELLS if Operation.read in PERMISSIONS[cell]], ids=name_of
)

# Nothing that a client says may choose the tenant.
WIDENING_HEADERS = ("X-Tenant-Id", "X-Tenant", "X-User-Id", "X-Forwarded-User")
ODD_BODIES = (b"{", b"[]", b"\xff", b'{"status": "approved"}', b'{"role": "admin"}')


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Two clinics behind one app."""
    database = await cluster.create_database(cluster.WITH_CLINICS)
    settings = database.settings(tmp_path_factory.mktemp("isolation"))
    piccolo_conf.DB.databases = Databases(settings)
    superuser = await asyncpg.connect(database.superuser)
    async for running in serve(settings):
        yield Pair(running.client, superuser, *cluster.clinics(settings))
    await superuser.close()
    await cluster.drop_database(database)


@every_cell
async def test_forbidden(pair: Pair, table: str, role: Role) -> None:
    """What it does not allow is a 403, the same for own, foreign and missing rows, and changes nothing."""
    headers = pair.own.headers(role)
    async with unchanged(pair, pair.own, pair.other):
        for call in calls(role, table, allowed=False):
            for body in (pair.valid_body(table, call.method), {} if call.method in ("POST", "PUT", "PATCH") else None):
                rows = (pair.own.rows[table], pair.other.rows[table], uuid4())
                answers = [await pair.send(call, table, row, headers, body) for row in rows]
                assert [answer.status_code for answer in answers] == [403] * 3, f"{call}: {answers[0].text}"
                assert said(answers[0]) == said(answers[1]) == said(answers[2]), str(call)
                assert answers[0].headers["content-type"] == "application/problem+json"


@every_cell
async def test_foreign_rows_do_not_exist(pair: Pair, table: str, role: Role) -> None:
    """For whoever may make the call, another tenant's row is 404, to the byte the answer for no row at all."""
    headers, foreign = pair.own.headers(role), pair.other.rows[table]
    async with unchanged(pair, pair.own, pair.other):
        for call in ROW_CALLS:
            if not is_allowed(role, table, call.operation):
                continue
            for body in bodies(pair, table, call):
                answer = await pair.send(call, table, foreign, headers, body)
                assert answer.status_code == 404, f"{call} {body!r}: {answer.text}"
                assert said(answer) == said(await pair.send(call, table, uuid4(), headers, body)), f"{call} {body!r}"


def bodies(pair: Pair, table: str, call: Call) -> list[Body]:
    """Bodies that are fine, empty, and wrong in a way that is to blame only when there is a row."""
    if call.operation is not Operation.update:
        return [None]
    foreign: list[Body] = [{"id": str(pair.other.rows[table])}, {"tenant_id": str(pair.other.id)}]
    return [pair.valid_body(table, call.method), {}, {"no_such_column": 1}, *foreign]


@every_cell
async def test_odd_bodies_tell_nothing(pair: Pair, table: str, role: Role) -> None:
    """Whatever is sent about another tenant's row, the answer is the one for no row at all."""
    headers = pair.own.headers(role)
    async with unchanged(pair, pair.own, pair.other):
        for call in ROW_CALLS:
            for body in ODD_BODIES:
                answers = [
                    await pair.send(call, table, row, headers, body) for row in (pair.other.rows[table], uuid4())
                ]
                assert said(answers[0]) == said(answers[1]), f"{call} {body!r}"
                assert answers[0].status_code in (400, 403, 404, 422), f"{call} {body!r}"


def assert_all(found: set[str], own: set[str]) -> None:
    """Every own row and no other; of the log, which all tests of this file fill, as many as one answer holds."""
    assert found <= own
    assert len(found) == min(len(own), 1000)


@every_readable_cell
async def test_lists_hold_own_rows(pair: Pair, table: str, role: Role) -> None:
    """Lists, ids and count hold every own row and no other, however they are sorted, widened or paged."""
    headers, own = pair.own.headers(role), await pair.ids(pair.own, table)
    # A path in the log is as it was asked for, with another tenant's key in it where that was asked for.
    marks = {pair.other.slug} if table == "access_logs" else await pair.marks_of(pair.other)
    widening = dict.fromkeys(WIDENING_HEADERS, str(pair.other.id))
    for query in ("", "&__order=created_at", "&__readable=true", "&__total=true", "&__range_header=true"):
        for extra in ({}, widening):
            answer = await pair.client.get(f"/api/{table}/?__page_size=1000{query}", headers=headers | extra)
            assert answer.status_code == 200, answer.text
            assert_all({row["id"] for row in answer.json()["rows"]}, own)
            assert answer.json().get("total", len(own)) == len(own)
            assert answer.headers.get("content-range", f"/{len(own)}").endswith(f"/{len(own)}")
            assert leaks(answer, marks) == [], query
            own = await pair.ids(pair.own, table)  # The log has one more after each look.
    answer = await pair.client.get(f"/api/{table}/ids/", headers=headers)
    assert_all(set(answer.json()), own)
    assert leaks(answer, marks) == []
    own = await pair.ids(pair.own, table)
    answer = await pair.client.get(f"/api/{table}/count/", headers=headers)
    assert answer.json()["count"] == len(own)


@every_readable_cell
async def test_filters_find_own_rows(pair: Pair, table: str, role: Role) -> None:
    """A filter by another tenant's keys finds nothing, and a search for its name neither."""
    headers, marks = pair.own.headers(role), await pair.marks_of(pair.other)
    for column in key_columns(table):
        value = str(pair.other.rows[target_of(table, column)])
        filters = f"?{column._meta.name}={value}&__page_size=1000"
        answer = await pair.client.get(f"/api/{table}/{filters}", headers=headers)
        assert answer.json() == {"rows": []}, filters
        answer = await pair.client.get(f"/api/{table}/count/{filters}", headers=headers)
        assert answer.json()["count"] == 0, filters
    answer = await pair.client.get(f"/api/{table}/ids/?search={pair.other.slug}", headers=headers)
    assert answer.json() == {}
    assert leaks(answer, marks) == []


@every_cell
async def test_references_stay_at_home(pair: Pair, table: str, role: Role) -> None:
    """In a body, a key of the other tenant is the same 422 as a key of nobody, and names the field."""
    headers = pair.own.headers(role)
    async with unchanged(pair, pair.own, pair.other):
        for call in WRITES:
            expected = 422 if is_allowed(role, table, call.operation) else 403
            for column in key_columns(table):
                name, valid = column._meta.name, pair.valid_body(table, call.method)
                assert isinstance(valid, dict)
                answers = [
                    await pair.send(call, table, pair.own.rows[table], headers, valid | {name: key})
                    for key in (str(pair.other.rows[target_of(table, column)]), str(uuid4()))
                ]
                assert answers[0].status_code == expected, f"{call} {name}: {answers[0].text}"
                assert said(answers[0]) == said(answers[1]), f"{call} {name}"
                if expected == 422:
                    blamed = [error["field"] for error in answers[0].json().get("errors", ())]
                    assert blamed == [name], f"{call} {name}: {answers[0].text}"


@pytest.mark.parametrize("table", REGISTERED)
async def test_without_a_token(pair: Pair, table: str) -> None:
    """Without a token, or with one that is none, every call is the same 401, whoever's the row."""
    strangers: list[dict[str, str]] = [{}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}]
    async with unchanged(pair, pair.own, pair.other):
        for call in CALLS:
            for headers in strangers:
                rows = (pair.own.rows[table], pair.other.rows[table], uuid4())
                body = pair.valid_body(table, call.method)
                answers = [await pair.send(call, table, row, headers, body) for row in rows]
                assert [answer.status_code for answer in answers] == [401] * 3, f"{call} {headers}"
                assert said(answers[0]) == said(answers[1]) == said(answers[2]), f"{call} {headers}"
                assert answers[0].headers["www-authenticate"]


@every_cell
async def test_bulk_changes_pass_foreign_rows_by(pair: Pair, table: str, role: Role) -> None:
    """A filter that names another tenant's row finds none to change or delete, as one that names no row."""
    headers, foreign = pair.own.headers(role), pair.other.rows[table]
    async with unchanged(pair, pair.own, pair.other):
        for call in (BULK_PATCH, BULK_DELETE):
            if not is_allowed(role, table, call.operation):
                continue
            body = pair.valid_body(table, call.method)
            answer = await pair.send(call, table, foreign, headers, body)
            assert answer.status_code == call.success, answer.text
            assert answer.content in (b"", b'{"rows":[]}')
            assert said(answer) == said(await pair.send(call, table, uuid4(), headers, body)), str(call)


@every_cell
async def test_no_other_verbs(pair: Pair, table: str, role: Role) -> None:
    """A verb that a path does not know is a 405 and changes nothing: no writing beside the rows."""
    headers = pair.own.headers(role)
    known = {(call.method, call.path and call.path.partition("?")[0]) for call in CALLS}
    paths = dict.fromkeys(path for _, path in known)
    async with unchanged(pair, pair.own, pair.other):
        for path in paths:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                if (method, path) in known:
                    continue
                call = Call(method, path, Operation.update)
                for row in (pair.own.rows[table], pair.other.rows[table]):
                    answer = await pair.send(call, table, row, headers, pair.valid_body(table, method))
                    assert answer.status_code == 405, f"{call}: {answer.text}"
                    assert answer.headers["allow"]
