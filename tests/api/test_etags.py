"""Entity tags: what a client need not read again, and what it must not overwrite."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.problems import assert_problem, fields
from tests.clients import http_client
from tests.clinics import TABLES, Clinic
from tests.conftest import serve

ZERO = "00000000-0000-0000-0000-000000000000"
STRONG = re.compile(r'"[0-9a-f]{32}"')
SHAPED = re.compile(r'"[0-9a-f]{32}\.[0-9a-f]{32}"')
WRITABLE = ("users", "ingestions", "cases", "case_codes", "tasks", "rulesets")
CHANGES: dict[str, dict[str, Any]] = {
    "users": {"name": "C D"},
    "ingestions": {"storage_path": "a/b.pdf"},
    "cases": {"payer": "Aetna Health"},
    "case_codes": {"code": "97110"},
    "tasks": {"title": "Call the payer again"},
    "rulesets": {"payer": "Aetna Health"},
}
CROWD = 50


async def tag_of(client: httpx.AsyncClient, path: str) -> str:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["etag"])


# -- Reading -----------------------------------------------------------------


@pytest.mark.parametrize("table", WRITABLE)
async def test_a_row_has_one_tag(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """POST, GET, HEAD, PATCH and PUT answer one stored row with one strong tag; another content has another."""
    body = north.body(table)
    created = await admin.post(f"/api/{table}/", json=body)
    tag, path = created.headers["etag"], created.headers["location"]
    assert STRONG.fullmatch(tag)
    unchanged = (admin.get(path), admin.head(path), admin.patch(path, json={}), admin.put(path, json=created.json()))
    for request in unchanged:
        assert (await request).headers["etag"] == tag
    patched = await admin.patch(path, json=CHANGES[table])
    assert patched.status_code == 200, patched.text
    assert tag != patched.headers["etag"] == await tag_of(admin, path)
    replaced = await admin.put(path, json=body)
    assert replaced.headers["etag"] == await tag_of(admin, path) != patched.headers["etag"]


@pytest.mark.parametrize("table", TABLES)
async def test_what_is_known_is_not_sent(admin: httpx.AsyncClient, north: Clinic, table: str) -> None:
    """If-None-Match with the tag, in a list, in the weak form or as `*`, is a 304 without a body but with the tag."""
    row = f"/api/{table}/{north.rows[table]}/"
    lists = (f"/api/{table}/", f"/api/{table}/?__page=1&__total=true")
    # Of the log every list differs from the one before.
    for path in (row, f"{row}?__visible_fields=id", *(lists if table != "access_logs" else ())):
        tag = await tag_of(admin, path)
        for known in (tag, f"W/{tag}", f'"other", {tag}', f'W/"x" ,,{tag} , "y,z"', "*", f"{tag},"):
            for method in ("GET", "HEAD"):
                answer = await admin.request(method, path, headers={"If-None-Match": known})
                assert (answer.status_code, answer.content) == (304, b""), known
                assert answer.headers["etag"] == tag
                assert "content-type" not in answer.headers
        other = tag.replace(tag[1], "0" if tag[1] != "0" else "1", 1)
        for unknown in ('"other"', other, '""', f'"{tag[1:5]}"', f'"x{tag[1:]}'):
            assert (await admin.get(path, headers={"If-None-Match": unknown})).status_code == 200
        repeated = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
        assert (await admin.get(path, headers=repeated)).status_code == 304


async def test_a_list_has_the_tag_of_what_it_shows(admin: httpx.AsyncClient, north: Clinic) -> None:
    """A list's tag changes with any row on the page, and with its total, and is no row's tag."""
    path, row = "/api/rulesets/?__order=payer&__total=true", f"/api/rulesets/{north.rows['rulesets']}/"
    first = await tag_of(admin, path)
    assert STRONG.fullmatch(first)
    await admin.patch(row, json={"is_active": False})
    second = await tag_of(admin, path)
    await admin.post("/api/rulesets/", json=north.body("rulesets"))
    third = await tag_of(admin, path)
    assert len({first, second, third, await tag_of(admin, row)}) == 4
    assert (await admin.get(path, headers={"If-None-Match": f"{first}, {second}"})).status_code == 200
    assert_problem(await admin.patch(row, json={"is_active": True}, headers={"If-Match": third}), 412)


async def test_shapes_have_tags_of_their_own(admin: httpx.AsyncClient, north: Clinic) -> None:
    """The shapes of a row differ as validators; each follows related rows; all of them serve If-Match."""
    path = f"/api/tasks/{north.rows['tasks']}/"
    shapes = (
        "",
        "?__visible_fields=id,title",
        "?__include=case",
        "?__readable=true",
        "?__visible_fields=id,case.payer",
    )
    tags = [await tag_of(admin, path + shape) for shape in shapes]
    assert len(set(tags)) == len(tags)
    assert STRONG.fullmatch(tags[0])
    assert all(SHAPED.fullmatch(tag) for tag in tags[1:])
    for tag in tags[1:]:
        assert (await admin.get(path, headers={"If-None-Match": tag})).status_code == 200
    await admin.patch(f"/api/cases/{north.rows['cases']}/", json={"payer": "Humana"})
    again = [await tag_of(admin, path + shape) for shape in shapes]
    assert [old == new for old, new in zip(tags, again, strict=True)] == [True, True, False, False, False]
    # What changed is the case: whoever knew the task may still write it.
    for tag in (*tags, *again):
        answer = await admin.patch(path, json={"title": "Review"}, headers={"If-Match": tag})
        assert answer.status_code == 200, tag
    assert (await admin.patch(path, json={"title": "New"})).status_code == 200
    for tag in (*tags, *again):
        assert_problem(await admin.patch(path, json={"title": "Old"}, headers={"If-Match": tag}), 412)


# -- Writing -----------------------------------------------------------------


async def test_if_match(admin: httpx.AsyncClient, north: Clinic) -> None:
    """PATCH and PUT with the tag of what is stored, or `*`, are done; with another, or a weak one, they are a 412."""
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    before = await admin.get(path)
    tag = before.headers["etag"]
    stale = (
        '"other"',
        f"W/{tag}",
        f'"a", W/{tag}',
        '""',
        '".x"',
        f'"x.{tag[1:]}',
        '"*"',
        tag.upper().replace("W/", ""),
    )
    for bad in (item for item in stale if item != tag):
        for method, body in (("PATCH", {"payer": "x"}), ("PUT", north.body("rulesets")), ("DELETE", None)):
            assert_problem(await admin.request(method, path, json=body, headers={"If-Match": bad}), 412)
    assert (await admin.get(path)).json() == before.json()
    for number, form in enumerate(("{}", "*", '"x",{}', 'W/"y" , {},')):
        headers = {"If-Match": form.format(await tag_of(admin, path))}
        answer = await admin.patch(path, json={"payer": f"p{number}"}, headers=headers)
        assert (answer.status_code, answer.json()["payer"]) == (200, f"p{number}")
        headers = {"If-Match": form.format(answer.headers["etag"])}
        assert (await admin.put(path, json=north.body("rulesets"), headers=headers)).status_code == 200
    assert_problem(await admin.patch(path, json={"payer": "late"}, headers={"If-Match": tag}), 412)


async def test_delete_if_match(admin: httpx.AsyncClient, north: Clinic) -> None:
    """DELETE with the tag deletes, with another it does not; once gone it is a 404, `*` or not."""
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    old = await tag_of(admin, path)
    new = (await admin.patch(path, json={"payer": "new"})).headers["etag"]
    assert_problem(await admin.delete(path, headers={"If-Match": old}), 412)
    assert (await admin.delete(path, headers={"If-Match": new})).status_code == 204
    for tag in (new, old, "*"):
        assert_problem(await admin.delete(path, headers={"If-Match": tag}), 404)


# A regular expression with two ways to read each comma would not come to an end on the last.
MALFORMED = ("x", "", ",", '"a" "b"', 'w/"a"', "'a'", '*, "a"', "**", '"a', 'a"', '"a b"', '"a"' + ", " * 2000 + "x")


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda bad: repr(bad[:10]))
async def test_malformed(admin: httpx.AsyncClient, north: Clinic, bad: str) -> None:
    """What is no list of entity tags is a 400 that names the header, whatever its length, and nothing is changed."""
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    before = (await admin.get(path)).json()
    for method, body in (("PATCH", {"payer": "x"}), ("PUT", north.body("rulesets")), ("DELETE", None)):
        answer = await admin.request(method, path, json=body, headers={"If-Match": bad})
        assert "If-Match" in assert_problem(answer, 400)["detail"]
    for target in (path, "/api/rulesets/"):
        answer = await admin.get(target, headers={"If-None-Match": bad})
        assert "If-None-Match" in assert_problem(answer, 400)["detail"]
    assert (await admin.get(path)).json() == before


async def test_order_of_refusals(
    admin: httpx.AsyncClient, staff: httpx.AsyncClient, north: Clinic, south: Clinic
) -> None:
    """A role's refusal comes before the tag's, which comes after the row's absence and before the content's."""
    stale: dict[str, Any] = {"headers": {"If-Match": '"stale"'}}
    case = f"/api/cases/{north.rows['cases']}/"
    assert_problem(await staff.patch(case, json={"status": "approved"}, **stale), 403)
    assert_problem(await staff.delete(case, **stale), 403)
    assert_problem(await staff.patch(f"/api/rulesets/{north.rows['rulesets']}/", json={}, **stale), 403)
    for missing in (ZERO, south.rows["cases"]):
        path = f"/api/cases/{missing}/"
        for method, body in (("PATCH", {"nothing": 1}), ("PUT", {}), ("DELETE", None)):
            assert_problem(await admin.request(method, path, json=body, **stale), 404)
    contents: list[Any] = [{"nothing": 1}, {"payer": ""}, {"id": ZERO}, []]
    for content in contents:
        assert_problem(await admin.patch(case, json=content, **stale), 412)
        assert_problem(await admin.put(case, json=content, **stale), 412)
    current = {"If-Match": await tag_of(admin, case)}
    assert fields(await admin.patch(case, json={"payer": ""}, headers=current)) == ["payer"]
    assert_problem(await admin.patch(case, content=b"{", headers=current | {"Content-Type": "application/json"}), 400)


async def test_bulk_changes_have_no_tag(admin: httpx.AsyncClient, north: Clinic) -> None:
    """If-Match on a change of many rows is a 400, `*` too, and nothing is changed."""
    path = f"/api/rulesets/{north.rows['rulesets']}/"
    tag = await tag_of(admin, path)
    for match in (tag, "*", '"x"', "x"):
        headers = {"If-Match": match}
        for method, body in (("PATCH", {"payer": "x"}), ("DELETE", None)):
            answer = await admin.request(method, "/api/rulesets/?payer=Cigna", json=body, headers=headers)
            assert "If-Match" in assert_problem(answer, 400)["detail"]
    assert await tag_of(admin, path) == tag


@pytest.mark.parametrize("connections", [4, 10])
async def test_one_of_many_wins(settings: Settings, clinics: tuple[Clinic, Clinic], connections: int) -> None:
    """Of 50 concurrent changes with one tag one is done and 49 are a 412; what is stored is the one that was done."""
    north = clinics[0]
    path = f"/api/cases/{north.rows['cases']}/"
    wide = Settings.model_validate({**settings.model_dump(), "pool_max_size": connections})
    async for app in serve(wide):
        async with http_client(app.url, north.headers(Role.staff), timeout=60) as client:
            headers = {"If-Match": await tag_of(client, path)}
            changes = (client.patch(path, json={"payer": f"p{n}"}, headers=headers) for n in range(CROWD))
            answers = await asyncio.gather(*changes)
            stored = await client.get(path)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (CROWD - 1)
    done = next(answer for answer in answers if answer.status_code == 200)
    assert (stored.json(), stored.headers["etag"]) == (done.json(), done.headers["etag"])
