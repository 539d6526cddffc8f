"""Logins of operators: a session for each, its ends, and that passwords cannot be guessed."""

import asyncio
import threading
from typing import Any

import asyncpg
import httpx
import pytest

from tenancy.attempts import WINDOW_SECONDS, Attempts
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.operators import Operator
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.api.test_admin import ANOTHER, ANOTHER_ADMIN, CASES
from tests.clinics import Clinic
from tests.conftest import Running, serve
from tests.operators import PASSWORD, add, log_in, operator, visitor

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

WRONG = "not the password"
PASSES = "UPDATE tenancy.attempt_windows SET window_start = window_start - make_interval(secs => $1)"


async def test_each_login_has_a_session_of_its_own(running: Running, superuser: asyncpg.Connection) -> None:
    """The session that a browser brings to the login, its own or one that was planted, is not gone on with, and ends;
    one that was never there becomes none."""
    async with operator(running.url) as client:
        old = client.cookies["id"]
        assert (await log_in(client, "north-admin")).status_code == 200
        new = client.cookies["id"]
        assert new != old
        assert (await client.get(CASES)).status_code == 200
        client.cookies.set("id", old)
        assert (await client.get(CASES)).status_code == 401
        client.cookies.clear()
    async with visitor(running.url) as client:
        client.cookies.set("id", "planted")
        assert (await log_in(client, "north-admin")).status_code == 200
        tokens = [cookie.value for cookie in client.cookies.jar if cookie.name == "id"]
        assert set(tokens) - {"planted"}
        assert (await client.get(CASES, headers={"Cookie": "id=planted"})).status_code == 401
    assert await superuser.fetchval("SELECT count(*) FROM operator_sessions") == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE operators SET password = 'pbkdf2_sha256$1$a$b' WHERE username = 'north-staff'",
        "UPDATE operators SET active = false WHERE username = 'north-staff'",
        "UPDATE operators SET admin = false WHERE username = 'north-staff'",
        "UPDATE users SET role = 'clinician' WHERE email = 'staff@north.com'",
        "UPDATE users SET is_active = false WHERE email = 'staff@north.com'",
    ],
)
async def test_what_ends_all_sessions(
    running: Running, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, statement: str
) -> None:
    """A new password, a new role, being disabled: each ends every session of that operator, whoever does it and by
    whatever way, and no other's. Taken back, it opens none of them."""
    await add(Role.admin)
    async with operator(running.url, Role.staff) as one, visitor(running.url) as two, visitor(running.url) as other:
        assert (await log_in(two, "north-staff")).status_code == 200
        assert (await log_in(other, "north-admin")).status_code == 200
        await superuser.execute("UPDATE operators SET last_login = now(), first_name = 'A'")
        await superuser.execute("UPDATE users SET name = 'B', role = role, is_active = is_active")
        assert [(await it.get(CASES)).status_code for it in (one, two, other)] == [200] * 3
        if " users " in statement:  # By a colleague, who sees neither the operator nor the sessions.
            change = {"role": "clinician"} if "role" in statement else {"is_active": False}
            path = f"/api/tables/users/{clinics[0].users[Role.staff]}/"
            assert (await other.patch(path, json=change)).status_code == 200
        else:
            await superuser.execute(statement)
        assert [(await it.get(CASES)).status_code for it in (one, two, other)] == [401, 401, 200]
        await superuser.execute("UPDATE users SET role = 'staff', is_active = true WHERE email = 'staff@north.com'")
        await superuser.execute("UPDATE operators SET active = true, admin = true")
        assert [(await it.get(CASES)).status_code for it in (one, two, other)] == [401, 401, 200]
    assert await superuser.fetchval("SELECT count(*) FROM operator_sessions") == 1


async def test_a_foreign_admin_ends_no_session(running: Running, superuser: asyncpg.Connection) -> None:
    """A statement of another tenant ends no session: the role that acts for it sees none."""
    await superuser.execute(ANOTHER_ADMIN)
    async with operator(running.url) as client:
        south = await superuser.fetchval("SELECT id FROM tenants WHERE slug = 'south'")
        async with superuser.transaction():
            await superuser.execute(f"SET LOCAL app.tenant_id = '{south}'; SET LOCAL ROLE fastlane_tenant")
            await superuser.execute("DELETE FROM operator_sessions; UPDATE users SET role = 'clinician' WHERE false")
            await superuser.execute("UPDATE users SET role = 'clinician' WHERE email = 'staff@north.com'")
        assert (await client.get(CASES)).status_code == 200


async def test_hashing_leaves_the_event_loop_alone(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are checked, for unknown names too, changed and given to new operators in threads of their own."""
    hashing: list[int] = []
    stock = Operator.hash_password.__func__  # type: ignore[attr-defined]

    def watched(cls: type[Operator], *arguments: Any) -> str:
        hashing.append(threading.get_ident())
        return str(stock(cls, *arguments))

    monkeypatch.setattr(Operator, "hash_password", classmethod(watched))
    async with operator(running.url) as client:
        await log_in(client, "nobody", WRONG)
        form = {"current_password": PASSWORD, "new_password": ANOTHER, "confirm_new_password": ANOTHER}
        assert (await client.post("/api/change-password/", json=form)).status_code == 303
    assert len(hashing) == 5
    assert threading.get_ident() not in hashing


async def test_guessing_is_limited_over_all_workers(
    settings: Settings, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection
) -> None:
    """Ten wrong passwords of one account, to whichever process, and it waits, with the right one too, as long as the
    answer says; a name that nobody has waits alike. Others are let in meanwhile."""
    await add(Role.staff)
    name = await add()
    async for first in serve(settings):
        second = FastlaneEngine(Databases(settings))
        elsewhere = Attempts(second, "login")
        async with visitor(first.url) as client:
            for account in (name, "nobody"):
                await superuser.execute("DELETE FROM tenancy.attempt_windows")
                for _ in range(5):
                    assert await elsewhere.take(account, "203.0.113.7") is None
                answers = [await log_in(client, account, WRONG) for _ in range(6)]
                assert [answer.status_code for answer in answers] == [401] * 5 + [429]
                assert 0 < int(answers[-1].headers["retry-after"]) <= WINDOW_SECONDS
                assert (await log_in(client, account)).status_code == 429
                assert (await log_in(client, "north-staff")).status_code == 200
            await superuser.execute(PASSES, WINDOW_SECONDS)
            assert (await log_in(client, name)).status_code == 200


async def test_an_address_is_limited(running: Running, superuser: asyncpg.Connection) -> None:
    """Twenty wrong passwords from one address, of whatever accounts, and it waits; what was right does not count, and
    neither does what was refused: the window ends when it was said to."""
    name = await add()
    async with visitor(running.url) as client:
        for _ in range(21):
            assert (await log_in(client, name)).status_code == 200
        statuses = [(await log_in(client, f"name {n}", WRONG)).status_code for n in range(25)]
        assert statuses == [401] * 20 + [429] * 5
        assert (await log_in(client, name)).status_code == 429
        assert await superuser.fetchval("SELECT max(taken) FROM tenancy.attempt_windows") == 20
        await superuser.execute(PASSES, WINDOW_SECONDS)
        assert (await log_in(client, name)).status_code == 200
        stored = str(await superuser.fetch("SELECT * FROM tenancy.attempt_windows"))
        assert name not in stored
        assert "127.0.0.1" not in stored


async def test_no_spelling_of_a_form_evades_the_limit(running: Running) -> None:
    """The account that counts is the one whose password is tried, however the form is written."""
    await add()
    form = {"username": "north-admin", "password": WRONG}
    async with visitor(running.url) as client:
        token = client.cookies["csrftoken"]
        json_with_constant = '{"username": "north-admin", "password": "wrong", "x": NaN}'
        both = f'{{"username": "a"}}&username=north-admin&password=wrong&csrftoken={token}'
        urlencoded = {"Content-Type": "application/x-www-form-urlencoded"}
        for _ in range(3):
            assert (await client.post("/public/login/", data=form)).status_code == 401
            assert (await client.post("/public/login/", content=json_with_constant)).status_code == 401
            bare = urlencoded | {"X-CSRFToken": ""}
            assert (await client.post("/public/login/", content=both, headers=bare)).status_code == 401
        assert (await log_in(client, "north-admin", WRONG)).status_code == 401
        assert (await log_in(client, "north-admin")).status_code == 429


async def test_a_stolen_session_guesses_no_password(running: Running) -> None:
    """The password that its change asks for is limited as that of a login is."""
    form = {"current_password": WRONG, "new_password": ANOTHER, "confirm_new_password": ANOTHER}
    async with operator(running.url) as client:
        statuses = [(await client.post("/api/change-password/", json=form)).status_code for _ in range(11)]
        assert statuses == [422] * 10 + [429]
        form["current_password"] = PASSWORD
        assert (await client.post("/api/change-password/", json=form)).status_code == 429


async def test_many_at_once(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """Of many attempts at the same moment as many are granted as the limits say, and what is given back is there
    again; neighbours in a network of IPv6 are one, others are not."""
    attempts = Attempts(engine, "test", of_account=8, of_address=12)
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
    jobs = [attempts.take(f"account {n % 3}", addresses[n % 2]) for n in range(30)]
    granted = [seconds is None for seconds in await asyncio.gather(*jobs)]
    assert sum(granted) == 12
    assert await attempts.take("account 9", addresses[2]) is None
    await attempts.give_back("account 0", addresses[0])
    assert await attempts.take("account 9", addresses[0]) is None
    assert await attempts.take("account 9", addresses[0]) is not None
    await superuser.execute(PASSES, 3601 - WINDOW_SECONDS + WINDOW_SECONDS)
    assert await attempts.take("account 9", "not an address") is None
    assert await superuser.fetchval("SELECT count(*) FROM tenancy.attempt_windows") == 2


async def test_nobody_is_told_who_exists(running: Running, superuser: asyncpg.Connection) -> None:
    """Of a known name and a wrong password, an unknown name and a disabled operator the answers are one: the status,
    the body and the headers."""
    await add()
    await add(Role.staff)
    await superuser.execute("UPDATE operators SET active = false WHERE username = 'north-staff'")
    names = ("north-admin", "north-staff", "nobody", "n" * 101)
    async with visitor(running.url) as client:
        answers = [await log_in(client, name, WRONG) for name in names]
    assert len({(answer.status_code, answer.text, said(answer)) for answer in answers}) == 1


def said(answer: httpx.Response) -> str:
    """The headers but for those that name the request itself."""
    return str(sorted(item for item in answer.headers.items() if item[0] not in ("date", "x-request-id")))
