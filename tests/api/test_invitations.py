"""Invitations: an admin's one-time code makes a signed-in person the user it was made for, and nobody else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from tenancy.invitations import digest_of
from tenancy.settings import Settings
from tenancy.tables import Role
from tenancy.tokens import DevelopmentKeys
from tests.clinics import Clinic

Clinics = tuple[Clinic, Clinic]
ACCEPT = "/api/me/accept/"
WEEK = timedelta(days=7)


class People:
    """Persons who are signed in at the identity provider, and an admin who invites them."""

    def __init__(self, client: httpx.AsyncClient, clinic: Clinic, settings: Settings) -> None:
        self.client = client
        self._clinic = clinic
        self._settings = settings

    def headers(self, subject: str) -> dict[str, str]:
        token = DevelopmentKeys(self._settings.data_dir).sign(subject, self._settings, minutes=5)
        return {"Authorization": f"Bearer {token}"}

    async def invite(self, user: UUID, role: Role = Role.admin, key: str = "") -> httpx.Response:
        headers = self._clinic.headers(role) | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(f"/api/users/{user}/invite/", headers=headers)

    async def accept(self, subject: str, code: object) -> httpx.Response:
        return await self.client.post(ACCEPT, json={"code": code}, headers=self.headers(subject))


@pytest.fixture
def people(client: httpx.AsyncClient, clinics: Clinics, settings: Settings) -> People:
    return People(client, clinics[0], settings)


async def test_a_person_becomes_a_user(people: People, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """The code is shown once, stored as a digest and good for a week; who accepts it is the user from then on, by an
    entry of the trail that is the user's own; nobody accepts it again."""
    north = clinics[0]
    spare = north.rows["users"]
    answer = await people.invite(spare)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    code = answer.json()["code"]
    ends = datetime.fromisoformat(answer.json()["expires_at"])
    assert timedelta() <= datetime.now(UTC) + WEEK - ends < timedelta(minutes=1)
    stored = await superuser.fetchrow("SELECT * FROM invitations")
    assert (stored["user_id"], stored["invited_by"]) == (spare, north.users[Role.admin])
    assert stored["code_digest"] == digest_of(code)
    assert code not in str(stored)
    headers = people.headers("newcomer")
    assert (await people.client.get("/api/me/", headers=headers)).status_code == 403
    # However it is typed.
    accepted = await people.accept("newcomer", code.lower().replace("-", " "))
    assert accepted.status_code == 200
    me = await people.client.get("/api/me/", headers=headers)
    assert accepted.json() == me.json()
    assert (me.json()["user"]["id"], me.json()["tenant"]["slug"]) == (str(spare), "north")
    query = "SELECT * FROM audit_logs WHERE entity_id = $1 AND action = 'update'"
    (entry,) = await superuser.fetch(query, spare)
    assert (entry["tenant_id"], entry["user_id"], entry["actor"]) == (north.id, spare, f"user:{spare}")
    assert "newcomer" in entry["changes"]
    assert entry["ip_address"] == "127.0.0.1"
    assert (await people.accept("another", code)).status_code == 422
    assert (await people.accept("newcomer", code)).status_code == 409
    assert (await people.invite(spare)).status_code == 409


async def test_who_may_invite_whom(people: People, clinics: Clinics) -> None:
    """An admin invites to users of the own tenant whom nobody has become; others are a 403, a 404 or a 409."""
    north, south = clinics
    for role in (Role.staff, Role.clinician):
        assert (await people.invite(north.rows["users"], role)).status_code == 403
    assert (await people.invite(south.rows["users"])).status_code == 404
    assert (await people.invite(UUID(int=0))).status_code == 404
    assert (await people.invite(north.users[Role.staff])).status_code == 409


async def test_a_code_that_is_no_good(people: People, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """A code that was never given, was replaced, has expired, or is of a user who is deactivated or gone by now is
    the same refusal."""
    spare = clinics[0].rows["users"]
    replaced = (await people.invite(spare)).json()["code"]
    code = (await people.invite(spare)).json()["code"]
    answers = [await people.accept("newcomer", text) for text in ("0000-0000-0000-0000-0000", "", replaced)]
    passed = "UPDATE invitations SET created_at = created_at - $1::interval, expires_at = expires_at - $1"
    for spoil, mend in (
        ("UPDATE users SET is_active = false WHERE id = $1", "UPDATE users SET is_active = true WHERE id = $1"),
        ("UPDATE users SET auth_id = 'else' WHERE id = $1", "UPDATE users SET auth_id = NULL WHERE id = $1"),
    ):
        await superuser.execute(spoil, spare)
        answers.append(await people.accept("newcomer", code))
        await superuser.execute(mend, spare)
    await superuser.execute("ALTER TABLE invitations DISABLE TRIGGER USER")
    await superuser.execute(passed, WEEK)
    answers.append(await people.accept("newcomer", code))
    await superuser.execute(passed, -WEEK)
    answers.append(await people.accept("n" * 256, code))
    said = {(answer.status_code, answer.json()["detail"], str(answer.json()["errors"])) for answer in answers}
    assert {status for status, _, _ in said} == {422}
    assert len(said) == 1
    assert (await people.accept("newcomer", code)).status_code == 200


async def test_odd_requests(people: People, clinics: Clinics) -> None:
    """A bad token comes first, then the path, the method, who is a user already, and the content."""
    code = (await people.invite(clinics[0].rows["users"])).json()["code"]
    newcomer = people.headers("newcomer")
    bad = await people.client.post(ACCEPT, json={"code": code}, headers={"Authorization": "Bearer x"})
    assert (bad.status_code, "www-authenticate" in bad.headers) == (401, True)
    assert (await people.client.get(ACCEPT, headers=newcomer)).status_code == 405
    assert (await people.client.post(f"{ACCEPT}x/", headers=newcomer)).status_code == 404
    mine = await people.client.post(ACCEPT, json={"code": code}, headers=clinics[1].headers())
    assert mine.status_code == 409
    odd: tuple[tuple[Any, int], ...] = (
        *((body, 422) for body in (b"[]", b"{}", b'{"code":1}', b'{"code":"\\u0000"}', b'{"code":"x","role":"admin"}')),
        (b"{", 400),
        (b'{"code":"' + b"x" * 101 + b'"}', 422),
    )
    for body, status in odd:
        answer = await people.client.post(ACCEPT, content=body, headers=newcomer)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), body
    typed = newcomer | {"Content-Type": "text/plain"}
    assert (await people.client.post(ACCEPT, content=b"{}", headers=typed)).status_code == 415
    # Without its last slash, as everywhere.
    bare = await people.client.post(ACCEPT.rstrip("/"), json={"code": code}, headers=newcomer)
    assert bare.status_code == 200


async def test_guessing_is_limited(people: People, clinics: Clinics) -> None:
    """A person who tries many codes has to wait, with the right one too, and so does who tries as many persons."""
    code = (await people.invite(clinics[0].rows["users"])).json()["code"]
    answers = [await people.accept("newcomer", "guess") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (await people.accept("newcomer", code)).status_code == 429
    statuses = [(await people.accept(f"person {number}", "guess")).status_code for number in range(11)]
    assert statuses == [422] * 10 + [429]


async def test_one_of_two_becomes_the_user(people: People, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Of several persons who accept one code at once, one becomes the user; of one who accepts two, each once."""
    spare = clinics[0].rows["users"]
    code = (await people.invite(spare)).json()["code"]
    answers = await asyncio.gather(*(people.accept(f"person {number}", code) for number in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    body = {"email": "second@north.com", "role": "staff"}
    created = await people.client.post("/api/users/", json=body, headers=clinics[0].headers())
    other = (await people.invite(UUID(created.json()["id"]))).json()["code"]
    await superuser.execute("UPDATE users SET auth_id = NULL WHERE id = $1", spare)
    code = (await people.invite(spare)).json()["code"]
    answers = await asyncio.gather(*(people.accept("greedy", one) for one in (code, other)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_repeated_invitation_is_stored_nowhere(
    people: People, clinics: Clinics, superuser: asyncpg.Connection
) -> None:
    """Under an Idempotency-Key the code is made anew, and the answer, which shows it, is not kept."""
    spare = clinics[0].rows["users"]
    first, second = [(await people.invite(spare, key="k")).json()["code"] for _ in range(2)]
    assert await superuser.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    assert (await people.accept("newcomer", first)).status_code == 422
    assert (await people.accept("newcomer", second)).status_code == 200
