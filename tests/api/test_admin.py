"""The admin's door: who gets in, for how long, and what the pages load."""

import re

import asyncpg
import httpx
import pytest

from tenancy.commands import add_operator
from tenancy.engine import FastlaneEngine
from tenancy.operators import digest
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import Running
from tests.operators import PASSWORD, add, log_in, operator, visitor

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

ANOTHER = "another long password"
CASES = "/api/tables/cases/"
# A tenant keeps one, whatever becomes of the first.
ANOTHER_ADMIN = "UPDATE users SET role = 'admin' WHERE email = 'spare@north.com'"
SLOWLY = "pbkdf2_sha256$600000$"


async def test_login_needs_the_csrf_token(running: Running) -> None:
    """A login without the header that repeats the cookie is refused, with it it is not."""
    name = await add()
    async with visitor(running.url) as client:
        token = client.headers.pop("X-CSRFToken")
        assert (await log_in(client, name)).status_code == 403
        client.headers["X-CSRFToken"] = "guessed"
        assert (await log_in(client, name)).status_code == 403
        assert "id" not in client.cookies
        client.headers["X-CSRFToken"] = token
        assert (await log_in(client, name)).status_code == 200


async def test_writes_need_the_csrf_token(running: Running, clinics: tuple[Clinic, Clinic]) -> None:
    """A session alone, which another site's form would carry, changes nothing."""
    path = f"{CASES}{clinics[0].rows['cases']}/"
    async with operator(running.url) as client:
        del client.headers["X-CSRFToken"]
        assert (await client.patch(path, json={"payer": "Forged"})).status_code == 403
        assert (await client.get(path)).json()["payer"] == "Cigna"


@pytest.mark.parametrize("username", ["north-admin", "nobody"])
async def test_wrong_password(running: Running, username: str) -> None:
    """A wrong password is a 401 that opens no session and does not tell whether the name exists."""
    await add()
    async with visitor(running.url) as client:
        answer = await log_in(client, username, "not the password")
        assert answer.status_code == 401
        assert answer.json() == {"detail": "Login failed"}
        assert "id" not in client.cookies


@pytest.mark.parametrize("cookie", [None, "", "forged", "%00", "é"])
async def test_no_session(client: httpx.AsyncClient, cookie: str | None) -> None:
    """Without a session nothing under the admin's API answers but a 401."""
    headers = {} if cookie is None else {b"Cookie": f"id={cookie}".encode("latin-1")}
    for path in ("/api/tables/", CASES, "/api/user/", "/api/openapi.json", "/api/nothing/"):
        answer = await client.get(f"/admin{path}", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert "www-authenticate" in answer.headers


async def test_a_bearer_token_is_no_session(client: httpx.AsyncClient, clinics: tuple[Clinic, Clinic]) -> None:
    """A user's token of the REST API does not open the admin."""
    assert (await client.get(f"/admin{CASES}", headers=clinics[0].headers())).status_code == 401


async def test_a_session_is_no_bearer_token(running: Running) -> None:
    """The admin's session does not open the REST API."""
    async with operator(running.url) as client:
        cookies = dict(client.cookies)
    answer = await running.client.get("/api/cases/", cookies=cookies)
    assert answer.status_code == 401


async def test_logout_ends_the_session(running: Running, superuser: asyncpg.Connection) -> None:
    """After a logout the old cookie opens nothing, and no session is stored."""
    async with operator(running.url) as client:
        token = client.cookies["id"]
        assert (await client.get(CASES)).status_code == 200
        assert (await client.post("/public/logout/")).status_code == 200
        assert "id" not in client.cookies
        client.cookies.set("id", token)
        assert (await client.get(CASES)).status_code == 401
    assert await superuser.fetchval("SELECT count(*) FROM operator_sessions") == 0


async def test_session_token_is_stored_as_a_digest(running: Running, superuser: asyncpg.Connection) -> None:
    """A copy of the sessions table opens no session: it holds digests, and they are no cookies."""
    async with operator(running.url) as client:
        token = client.cookies["id"]
        stored = await superuser.fetchval("SELECT token FROM operator_sessions")
        assert stored == digest(token) != token
        client.cookies.delete("id")
        assert (await client.get(CASES, headers={"Cookie": f"id={stored}"})).status_code == 401


async def test_session_cookie_is_out_of_reach(running: Running) -> None:
    """Scripts cannot read the session's cookie, and other sites' forms do not send it."""
    name = await add()
    async with visitor(running.url) as client:
        cookies = (await log_in(client, name)).headers.get_list("set-cookie")
    cookie = next(c.lower() for c in cookies if c.startswith("id="))
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE operators SET active = false WHERE username = 'north-admin'",
        "UPDATE operators SET admin = false WHERE username = 'north-admin'",
        "DELETE FROM operators WHERE username = 'north-admin'",
        "UPDATE users SET is_active = false WHERE email = 'admin@north.com'",
        "UPDATE operator_sessions SET expiry_date = now() - interval '1 day'",
        "UPDATE operator_sessions SET max_expiry_date = now() - interval '1 day'",
        "DELETE FROM tenants WHERE slug = 'north'",
    ],
)
async def test_access_ends_at_once(running: Running, superuser: asyncpg.Connection, statement: str) -> None:
    """A deactivated or deleted operator, user or tenant, and a session that is over, open nothing."""
    async with operator(running.url) as client:
        assert (await client.get(CASES)).status_code == 200
        await superuser.execute(ANOTHER_ADMIN)
        await superuser.execute(statement)
        assert (await client.get(CASES)).status_code == 401
        assert (await client.get("/api/tables/")).status_code == 401


async def test_changed_role_has_its_effect_at_once(running: Running, superuser: asyncpg.Connection) -> None:
    """A changed role ends the session, and the next one has the permissions of the role that the user has now."""
    async with operator(running.url) as client:
        assert (await client.get("/api/tables/audit_logs/")).status_code == 200
        await superuser.execute(ANOTHER_ADMIN)
        await superuser.execute("UPDATE users SET role = 'staff' WHERE email = 'admin@north.com'")
        assert (await client.get("/api/tables/audit_logs/")).status_code == 401
        assert (await log_in(client, "north-admin")).status_code == 200
        assert (await client.get("/api/tables/audit_logs/")).status_code == 403


@pytest.mark.parametrize("role", [Role.staff, None])
async def test_change_of_password(running: Running, superuser: asyncpg.Connection, role: Role | None) -> None:
    """A new password needs the old one, ends every session, and replaces the old one."""
    form = {"new_password": ANOTHER, "confirm_new_password": ANOTHER}
    async with operator(running.url, role) as client, visitor(running.url) as second:
        name = "north-staff" if role else "platform"
        assert (await log_in(second, name)).status_code == 200
        wrong = await client.post("/api/change-password/", json=form | {"current_password": "wrong password"})
        assert wrong.status_code == 422
        done = await client.post("/api/change-password/", json=form | {"current_password": PASSWORD})
        assert done.status_code == 303
        assert (await second.get(CASES)).status_code == 401
        assert (await log_in(second, name)).status_code == 401
        assert (await log_in(second, name, ANOTHER)).status_code == 200
    stored = await superuser.fetchval("SELECT password FROM operators WHERE username = $1", name)
    assert stored.startswith(SLOWLY)
    assert ANOTHER not in stored


async def test_passwords_are_hashed_slowly(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """A new operator's password is stored as a hash of as many rounds as OWASP recommends."""
    assert await add_operator("platform", PASSWORD)
    stored = await superuser.fetchval("SELECT password FROM operators")
    assert stored.startswith(SLOWLY)
    assert PASSWORD not in stored


async def test_many_logins_are_slowed_down(running: Running) -> None:
    """Guessing passwords ends in a 429 that says how long to wait."""
    async with visitor(running.url) as client:
        answers = [await client.post("/public/login/", json={"username": "x"}) for _ in range(25)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin", 307), ("/admin/", 200), ("/adminfoo", 404), ("/admin-api/tables/", 404), ("/admin/nothing", 404)],
)
async def test_paths(client: httpx.AsyncClient, path: str, status: int) -> None:
    """The admin is at /admin/, /admin leads there, and what only begins like it is something else."""
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers.get("location", "/admin/").endswith("/admin/")


async def test_pages_load_nothing_from_another_host(client: httpx.AsyncClient) -> None:
    """The page and its stylesheet refer to the own host only, and tell the browser to hold on to it."""
    page = await client.get("/admin/")
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert assets
    for asset in assets:
        assert asset.startswith("./assets/")
        file = await client.get(f"/admin/{asset}")
        assert file.status_code == 200
        assert not re.search(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", file.text)
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy


async def test_stock_docs_are_not_served(running: Running) -> None:
    """The stock documentation, which loads scripts from a CDN, is not there, with a session neither."""
    async with operator(running.url) as client:
        for path in ("/api/docs", "/api/docs/", "/api/docs/oauth2-redirect/", "/public/docs", "/public/docs/", "/docs"):
            assert (await client.get(path)).status_code == 404, path


async def test_stock_login_page_is_not_served(client: httpx.AsyncClient) -> None:
    """The stock login page, which loads fonts from elsewhere, leads to the admin's own."""
    answer = await client.get("/admin/public/login/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/")


async def test_answers_are_confined(running: Running) -> None:
    """Whatever the admin's app answers, a browser that shows it may load nothing from elsewhere."""
    async with operator(running.url) as client:
        login = {"username": "x", "password": "y", "format": "html", "csrftoken": client.cookies["csrftoken"]}
        answers = [await client.get(path) for path in ("/", "/public/meta/", "/nothing", CASES)]
        answers.append(await client.post("/public/login/", data=login))
    for answer in answers:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
