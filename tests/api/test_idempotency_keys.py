"""Idempotency keys, with real transactions and without HTTP: an answer is held as long as its effect, and as far."""

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg
import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from api.idempotency import PURGED_AT_ONCE, PURPOSE, IdempotencyKeys
from api.problems import Problem
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.identity import Identity
from tenancy.secrets import derived_key
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import Clinic

EFFECT = "INSERT INTO rulesets (payer, procedure, rules_json) VALUES ('Aetna', $1, '{}')"
EFFECTS = "SELECT count(*) FROM rulesets WHERE payer = 'Aetna'"
STORED = "SELECT count(*) FROM idempotency_keys"
STORED_KEYS = "SELECT array_agg(key::text ORDER BY key) FROM idempotency_keys"
# A trigger keeps the time that a row was made at; a replica's session fires none.
AGE = "UPDATE idempotency_keys SET created_at = now() - $1::text::interval WHERE key = $2"
ANSWER = Headers(
    {
        "content-type": "application/json",
        "location": "/api/rulesets/1/",
        "etag": '"1"',
        "preference-applied": "return=minimal",
        "x-request-id": "of the first",
    }
)


def identity_of(clinic: Clinic, role: Role = Role.admin) -> Identity:
    return Identity(clinic.users[role], clinic.id, role, True)


def scope_of(identity: Identity) -> Scope:
    return Scope(DatabaseRole.tenant, "user", identity.tenant_id, identity.user_id, identity.role)


class Undone(Exception):
    """What makes a request fail after it has stored its answer."""


@dataclass
class Service:
    """Carries out requests as the middleware does: find, or take effect and store, in one bound transaction."""

    engine: FastlaneEngine
    keys: IdempotencyKeys
    superuser: asyncpg.Connection
    entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(
        self,
        identity: Identity,
        key: str,
        body: bytes = b"{}",
        *,
        until: asyncio.Event | None = None,
        fails: bool = False,
    ) -> Response | None:
        """The stored answer, or None after an effect. With `until`, holds the transaction open before it ends."""
        fingerprint = self.keys.fingerprint("POST", "/api/rulesets/", b"", "application/json", body)
        async with self.engine.transaction(scope=scope_of(identity)) as transaction:
            connection = transaction.connection
            held = await self.keys.find(connection, identity, key, fingerprint)
            if held is not None:
                return held.response()
            await connection.execute(EFFECT, key)
            await self.keys.store(connection, identity, key, fingerprint, 201, ANSWER, b"answer to " + body)
            if until is not None:
                self.entered.set()
                await until.wait()
            if fails:
                raise Undone
        return None

    async def refusal(self, identity: Identity, key: str, body: bytes = b"{}") -> Problem:
        with pytest.raises(Problem) as caught:
            await self.post(identity, key, body)
        return caught.value

    async def age(self, key: str, age: str) -> None:
        """Makes what is stored under the key so old."""
        async with self.superuser.transaction():
            await self.superuser.execute("SET LOCAL session_replication_role = replica")
            assert await self.superuser.execute(AGE, age, key) != "UPDATE 0"

    async def counts(self) -> tuple[int, int]:
        """How many requests took effect, and how many answers are stored."""
        return await self.superuser.fetchval(EFFECTS), await self.superuser.fetchval(STORED)


@pytest.fixture
def service(
    clinics: tuple[Clinic, Clinic], engine: FastlaneEngine, settings: Settings, superuser: asyncpg.Connection
) -> Service:
    """Over the two clinics."""
    assert clinics
    return Service(engine, IdempotencyKeys(derived_key(settings, PURPOSE)), superuser)


@pytest.fixture
def admin(clinics: tuple[Clinic, Clinic]) -> Identity:
    return identity_of(clinics[0])


async def test_repeat_gets_the_stored_answer(service: Service, admin: Identity) -> None:
    """A repeat gets status, body and the headers worth repeating, marked as replayed, and has no effect."""
    assert await service.post(admin, "k") is None
    for _ in range(2):
        answer = await service.post(admin, "k")
        assert answer is not None
        assert (answer.status_code, answer.body) == (201, b"answer to {}")
        assert dict(answer.headers) == {
            "content-type": "application/json",
            "location": "/api/rulesets/1/",
            "etag": '"1"',
            "preference-applied": "return=minimal",
            "idempotent-replayed": "true",
            "content-length": "12",
        }
    assert await service.counts() == (1, 1)


async def test_another_request_is_refused(service: Service, admin: Identity) -> None:
    """The key of one request is a 422 for another, which has no effect; a new key is fine."""
    await service.post(admin, "k", b"1")
    assert (await service.refusal(admin, "k", b"2")).status == 422
    assert await service.counts() == (1, 1)
    assert await service.post(admin, "l", b"2") is None


async def test_in_flight_is_a_conflict(service: Service, admin: Identity, clinics: tuple[Clinic, Clinic]) -> None:
    """While the first is in flight a second is a 409 with Retry-After, at once; after the commit it gets the answer.

    Other keys, users and tenants go on meanwhile.
    """
    finish = asyncio.Event()
    first = asyncio.create_task(service.post(admin, "k", until=finish))
    await service.entered.wait()
    # To wait would end in an error: the transaction's lock timeout.
    for body in (b"{}", b"other"):
        problem = await service.refusal(admin, "k", body)
        assert (problem.status, problem.headers) == (409, {"Retry-After": "1"})
    assert await service.post(admin, "l") is None
    assert await service.post(identity_of(clinics[0], Role.staff), "k") is None
    assert await service.post(identity_of(clinics[1]), "k") is None
    finish.set()
    assert await first is None
    assert await service.post(admin, "k") is not None
    assert await service.counts() == (4, 4)


async def test_many_at_once_take_effect_once(service: Service, admin: Identity) -> None:
    """Of many that are sent at the same moment one takes effect; the others are a 409 or get its answer."""

    async def attempt() -> int:
        try:
            return 201 if await service.post(admin, "k") is None else 200
        except Problem as problem:
            return problem.status

    statuses = await asyncio.gather(*(attempt() for _ in range(20)))
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert await service.counts() == (1, 1)


async def test_rolled_back_request_leaves_no_key(service: Service, admin: Identity) -> None:
    """A request that is rolled back leaves neither effect nor key: its repeat, whatever it says, takes effect."""
    with pytest.raises(Undone):
        await service.post(admin, "k", b"1", fails=True)
    assert await service.counts() == (0, 0)
    assert await service.post(admin, "k", b"2") is None
    assert await service.counts() == (1, 1)


async def test_keys_are_of_one_user(service: Service, admin: Identity, clinics: tuple[Clinic, Clinic]) -> None:
    """The same key of another user of the tenant, and of another tenant, is another key."""
    assert await service.post(admin, "k", b"1") is None
    for other in (identity_of(clinics[0], Role.staff), identity_of(clinics[1])):
        assert await service.post(other, "k", b"2") is None
        answer = await service.post(other, "k", b"2")
        assert answer is not None
        assert answer.body == b"answer to 2"
    assert await service.counts() == (3, 3)


async def test_database_keeps_keys_apart(service: Service, admin: Identity, clinics: tuple[Clinic, Clinic]) -> None:
    """Below the service too: another tenant sees no key and deletes none, nor stores one for it or for its users."""
    await service.post(admin, "k")
    other = identity_of(clinics[1])
    async with service.engine.transaction(scope=scope_of(other)) as transaction:
        assert await transaction.connection.fetch("SELECT FROM idempotency_keys") == []
        assert await transaction.connection.execute("DELETE FROM idempotency_keys") == "DELETE 0"
    forged = [
        (admin, asyncpg.InsufficientPrivilegeError),
        (Identity(admin.user_id, other.tenant_id, Role.admin, True), asyncpg.ForeignKeyViolationError),
    ]
    for identity, refusal in forged:
        with pytest.raises(refusal):
            async with service.engine.transaction(scope=scope_of(other)) as transaction:
                await service.keys.store(transaction.connection, identity, "l", b"f" * 32, 201, ANSWER, b"")
    assert await service.counts() == (1, 1)


@pytest.mark.parametrize("column", ["id", "body", "status", "created_at"])
async def test_stored_answers_are_not_changed(service: Service, admin: Identity, column: str) -> None:
    """A bound transaction may lock and delete a stored answer of its tenant, and change none."""
    await service.post(admin, "k")
    value = f"'{uuid4()}'" if column == "id" else "DEFAULT"
    async with service.engine.transaction(scope=scope_of(admin)) as transaction:
        assert len(await transaction.connection.fetch("SELECT FROM idempotency_keys FOR UPDATE")) == 1
        with pytest.raises(asyncpg.PostgresError) as caught:
            await transaction.connection.execute(f"UPDATE idempotency_keys SET {column} = {value}")
        await transaction.rollback()
    assert caught.value.sqlstate == ("FL422" if column == "id" else "42501")


async def test_keys_go_with_their_user(service: Service, admin: Identity) -> None:
    """A user who is deleted takes the keys along."""
    await service.post(admin, "k")
    await service.superuser.execute("UPDATE users SET role = 'admin' WHERE email LIKE 'spare@%'")  # One stays.
    await service.superuser.execute("DELETE FROM users WHERE id = $1", admin.user_id)
    assert await service.superuser.fetchval(STORED) == 0


async def test_trail_is_silent(service: Service, admin: Identity) -> None:
    """A stored answer leaves no audit row: the trail tells of its effect alone."""
    before = await service.superuser.fetchval("SELECT count(*) FROM audit_logs")
    await service.post(admin, "k")
    assert await service.superuser.fetchval("SELECT count(*) FROM audit_logs") == before + 1


async def test_key_is_kept_for_a_day(service: Service, admin: Identity) -> None:
    """Just under 24 hours a repeat gets the answer; from then on the key is new, for any request."""
    await service.post(admin, "k", b"1")
    await service.age("k", "23:59:30")
    assert await service.post(admin, "k", b"1") is not None
    await service.age("k", "24:00:00")
    assert await service.post(admin, "k", b"2") is None
    assert await service.post(admin, "k", b"2") is not None
    assert await service.counts() == (2, 1)


async def test_expired_key_outlives_a_request_that_fails(service: Service, admin: Identity) -> None:
    """An expired key goes with the commit of the request that replaces it, not before."""
    await service.post(admin, "k")
    await service.age("k", "25:00:00")
    with pytest.raises(Undone):
        await service.post(admin, "k", fails=True)
    assert await service.counts() == (1, 1)
    assert await service.post(admin, "k") is None
    assert await service.counts() == (2, 1)


async def test_expired_keys_are_purged(service: Service, admin: Identity, clinics: tuple[Clinic, Clinic]) -> None:
    """Storing removes the tenant's expired keys, whoever's, at most 100 and the oldest first; no others."""
    other, colleague = identity_of(clinics[1]), identity_of(clinics[0], Role.staff)
    await service.post(other, "theirs")
    await service.post(admin, "fresh")
    await service.post(colleague, "old")
    copies = """
        INSERT INTO idempotency_keys (tenant_id, user_id, key, fingerprint, status, headers, body, created_at)
        SELECT tenant_id, user_id, 'old' || n, fingerprint, status, headers, body,
               now() - make_interval(hours => 25, secs => n)
          FROM idempotency_keys, generate_series(1, $1) n WHERE key = 'old'
    """
    await service.superuser.execute(copies, PURGED_AT_ONCE + 9)
    await service.age("old", "24:30:00")
    await service.age("theirs", "30:00:00")
    await service.post(admin, "k")
    oldest = [f"old{number}" for number in range(1, 10)]
    assert await service.superuser.fetchval(STORED_KEYS) == ["fresh", "k", "old", *oldest, "theirs"]
    await service.post(admin, "l")
    assert await service.superuser.fetchval(STORED_KEYS) == ["fresh", "k", "l", "theirs"]


async def test_purge_waits_for_nobody(service: Service, admin: Identity) -> None:
    """Expired keys that another request is removing or replacing hold nobody up."""
    await service.post(admin, "old")
    await service.post(admin, "older")
    await service.age("old", "25:00:00")
    await service.age("older", "26:00:00")
    finish = asyncio.Event()
    first = asyncio.create_task(service.post(admin, "old", until=finish))
    await service.entered.wait()
    # To wait would end in an error: the transaction's lock timeout.
    assert await service.post(admin, "k") is None
    finish.set()
    assert await first is None
    assert await service.superuser.fetchval(STORED_KEYS) == ["k", "old"]
