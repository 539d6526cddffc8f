"""Authenticator apps of operators: set up, asked for at the login, once a code; in production no way around them."""

import asyncio

import asyncpg
import httpx
import pytest

from tenancy.commands import forget_authenticator
from tenancy.tables import Role
from tests.api.test_admin import CASES
from tests.authenticator_app import SETUP, set_up, submit
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import PASSWORD, add, log_in, operator, visitor

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

LOGIN = "/public/login/"


async def log_in_with(client: httpx.AsyncClient, name: str, code: object) -> httpx.Response:
    body = {"username": name, "password": PASSWORD, "mfa_code": code}
    return await client.post(LOGIN, json=body)


@pytest.mark.parametrize("role", [Role.staff, None])
async def test_setting_up(running: Running, superuser: asyncpg.Connection, role: Role | None) -> None:
    """The page asks for the password, shows key and recovery codes once, and counts with the first right code; from
    then on the login asks for one. The key is stored encrypted, the recovery codes as digests."""
    name = "north-staff" if role else "platform"
    async with operator(running.url, role) as client:
        assert (await submit(client, "begin", password="not the password")).status_code == 422
        assert (await submit(client, "confirm", code="123456")).status_code == 422
        await submit(client, "begin", password=PASSWORD)  # Begun, left, and begun anew.
        assert (await log_in(client, name)).status_code == 200
        app = await set_up(client)
        assert len(set(app.recovery)) == 8
        row = str(tuple(await superuser.fetchrow("SELECT * FROM operator_authenticators")))
        assert "fernet-" in row
        assert not [secret for secret in (app.key, *app.recovery) if secret in row]
        assert app.key not in (await client.get(SETUP)).text
        assert (await submit(client, "begin", password=PASSWORD)).status_code == 422
    async with visitor(running.url) as client:
        asked = await log_in(client, name)
        assert (asked.status_code, asked.json()) == (401, {"detail": "MFA code required"})
        assert (await log_in(client, name, "not the password")).json() == {"detail": "Login failed"}
        for odd in ("000000", "", 123456, None, ["1"], "é" * 6, "x" * 10_000):
            assert (await log_in_with(client, name, odd)).status_code == 401
        assert "id" not in client.cookies
        assert (await log_in_with(client, name, app.code())).status_code == 200
        assert (await client.get(CASES)).status_code == 200


async def test_a_code_counts_once(running: Running, superuser: asyncpg.Connection) -> None:
    """A code, and each recovery code, opens one login, of two that send it at once too; an earlier code than the last
    one opens none."""
    async with operator(running.url) as client:
        app = await set_up(client)
    code = app.code()
    async with visitor(running.url) as one, visitor(running.url) as two:
        for once in (code, app.recovery[0]):
            answers = await asyncio.gather(*(log_in_with(it, "north-admin", once) for it in (one, two)))
            assert sorted(answer.status_code for answer in answers) == [200, 401], once
        assert (await log_in_with(one, "north-admin", code)).status_code == 401
        assert (await log_in_with(one, "north-admin", app.recovery[1].upper())).status_code == 200
    left = await superuser.fetchval("SELECT cardinality(recovery_codes) FROM operator_authenticators")
    assert left == 6


async def test_doing_without_it(running: Running, superuser: asyncpg.Connection) -> None:
    """Password and code together remove an authenticator, one alone does not; so does the command line."""
    async with operator(running.url) as client:
        app = await set_up(client)
        assert (await submit(client, "remove", password=PASSWORD, code="000000")).status_code == 422
        assert (await submit(client, "remove", password="not the password", code=app.code())).status_code == 422
        assert await superuser.fetchval("SELECT count(*) FROM operator_authenticators") == 1
        assert (await submit(client, "remove", password=PASSWORD, code=app.code())).status_code == 200
        assert (await log_in(client, "north-admin")).status_code == 200
        await set_up(client)
        await forget_authenticator("north-admin")
        assert (await log_in(client, "north-admin")).status_code == 200
    with pytest.raises(SystemExit):
        await forget_authenticator("north-admin")


async def test_nobody_sees_another_ones(running: Running, superuser: asyncpg.Connection) -> None:
    """An operator's statements, a platform operator's among them, see no authenticator but the own."""
    async with operator(running.url, None) as platform, operator(running.url) as tenant:
        await set_up(platform)
        await set_up(tenant)
    ids = [row["operator_id"] for row in await superuser.fetch("SELECT operator_id FROM operator_authenticators")]
    assert len(ids) == 2
    for role in ("fastlane_tenant", "fastlane_platform"):
        for operator_id in ids:
            async with superuser.transaction():
                await superuser.execute(f"SET LOCAL app.operator_id = '{operator_id}'; SET LOCAL ROLE {role}")
                rows = await superuser.fetch("SELECT operator_id FROM operator_authenticators")
                assert [row["operator_id"] for row in rows] == [operator_id]


async def test_the_page_needs_its_form(running: Running) -> None:
    """Without a session, or without the page's token, nothing is set up; nothing on it is from another host."""
    async with operator(running.url) as client:
        page = await client.get(SETUP)
        assert page.headers["cache-control"] == "no-store"
        assert "http" not in page.text
        form = {"action": "begin", "password": PASSWORD}
        assert (await client.post(SETUP, data=form, headers={"X-CSRFToken": ""})).status_code == 403
        assert (await client.put(SETUP)).status_code == 405
        for odd in (b"", b"{", b"\xff"):
            assert (await client.post(SETUP, content=odd)).status_code in (400, 422)
    async with visitor(running.url) as client:
        assert (await client.get(SETUP)).status_code == 401
        assert (await client.post(SETUP, data={"action": "begin", "password": PASSWORD})).status_code == 401


async def test_production_wants_it_of_the_platform(production: Running) -> None:
    """An operator of the platform without an authenticator logs in as far as to set one up: until then every page but
    that one is a 403 or empty. With it, everything is there; a tenant operator may do without."""
    name = await add(None)
    async with visitor(production.url) as client:
        unsecured(client)
        assert (await log_in(client, name)).status_code == 200
        unsecured(client)
        assert (await client.get("/api/user/")).json()["username"] == "platform"
        assert (await client.get("/api/tables/grouped/")).json() == {"grouped": {}, "ungrouped": []}
        assert list((await client.get("/api/links/")).json().values()) == ["./api/mfa-setup/"]
        for path in (CASES, f"{CASES}count/", "/api/tables/operators/", "/api/openapi.json"):
            assert (await client.get(path)).status_code == 403, path
        assert (await client.delete(f"{CASES}?id=x")).status_code == 403
        app = await set_up(client)
        assert (await client.get(CASES)).status_code == 200
        assert (await log_in_with(client, name, app.code())).status_code == 200
        unsecured(client)
        assert (await submit(client, "remove", password=PASSWORD, code=app.recovery[0])).status_code == 200
        assert (await client.get(CASES)).status_code == 403
    name = await add(Role.staff)
    async with visitor(production.url) as client:
        unsecured(client)
        assert (await log_in(client, name)).status_code == 200
        unsecured(client)
        assert (await client.get(CASES)).status_code == 200


def unsecured(client: httpx.AsyncClient) -> None:
    """Tests speak plain HTTP, over which the jar would send no cookie that is for TLS alone."""
    for cookie in client.cookies.jar:
        cookie.secure = False


async def test_production_behind_a_tls_proxy(production: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """Each cookie is for TLS alone. A page of the own host, as the proxy passes it on, may log in and write; one of
    another host may not, nor one that does not say where it is from."""
    name = await add(Role.admin)
    said = {"X-Forwarded-Proto": "https", "Host": "admin.example.com"}
    async with httpx.AsyncClient(base_url=f"{production.url}/admin", headers=said) as client:
        page = await client.get("/")
        token = page.headers["set-cookie"].partition("=")[2].partition(";")[0]
        cookies = page.headers.get_list("set-cookie")
        headers = {"X-CSRFToken": token, "Cookie": f"csrftoken={token}"}
        form = {"username": name, "password": PASSWORD}
        own = {"Origin": "https://admin.example.com"}
        for origin in ({}, {"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Referer": "https://a.b/"}):
            assert (await client.post(LOGIN, json=form, headers=headers | origin)).status_code == 403, origin
        answer = await client.post(LOGIN, json=form, headers=headers | own)
        assert answer.status_code == 200
        cookies += answer.headers.get_list("set-cookie")
        assert len(cookies) == 2
        assert all(cookie.lower().count("; secure") == 1 for cookie in cookies)
        session = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        headers["Cookie"] += f"; id={session}"
        assert (await client.get(CASES, headers=headers)).status_code == 200
        case = f"{CASES}{clinics[0].rows['cases']}/"
        foreign = headers | {"Origin": "https://evil.example.com"}
        assert (await client.patch(case, json={"payer": "Aetna"}, headers=foreign)).status_code == 403
        assert (await client.patch(case, json={"payer": "Aetna"}, headers=headers | own)).status_code == 200
