"""Rate limits: what one user and one tenant may ask in a minute of all processes together."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import nullcontext
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic import ValidationError

import tenancy.rate_limit
from api.rate_limit import headers, refuse
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.rate_limit import Allowance, RateLimiter
from tenancy.settings import Settings

USER, OTHER = (UUID(f"00000000-0000-4000-8000-00000000000{n}") for n in (1, 2))
TENANT, NEIGHBOUR = (UUID(f"00000000-0000-4000-9000-00000000000{n}") for n in (1, 2))
Pair = tuple[FastlaneEngine, FastlaneEngine]


@pytest_asyncio.fixture
async def engines(settings: Settings) -> AsyncIterator[Pair]:
    """Two engines with a pool each, as two processes have them."""
    pair = FastlaneEngine(Databases(settings)), FastlaneEngine(Databases(settings))
    for engine in pair:
        await engine.start_connection_pool()
    yield pair
    for engine in pair:
        await engine.close_connection_pool()


class Time:
    """Lets time pass for the windows in the database and for the memory of processes."""

    def __init__(self, superuser: asyncpg.Connection) -> None:
        self._superuser = superuser
        self._passed = 0.0

    async def passes(self, seconds: float) -> None:
        self._passed += seconds
        shift = "UPDATE tenancy.request_windows SET window_start = window_start - make_interval(secs => $1)"
        await self._superuser.execute(shift, seconds)

    def monotonic(self) -> float:
        return time.monotonic() + self._passed


@pytest.fixture
def clock(superuser: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time that rate limiters go by."""
    clock = Time(superuser)
    monkeypatch.setattr("tenancy.rate_limit.monotonic", clock.monotonic)
    return clock


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Counter[UUID]:
    """How often the database was asked, for each user."""
    asked = Counter[UUID]()
    fetch = RateLimiter._fetch

    async def counting(self: RateLimiter, user_id: UUID, tenant_id: UUID, wanted: int) -> object:
        asked[user_id] += 1
        return await fetch(self, user_id, tenant_id, wanted)

    monkeypatch.setattr(RateLimiter, "_fetch", counting)
    return asked


async def take(limiter: RateLimiter, times: int, user: UUID = USER, tenant: UUID = TENANT) -> list[Allowance]:
    """That many requests at once."""
    return await asyncio.gather(*(limiter.take(user, tenant) for _ in range(times)))


def granted(allowances: list[Allowance]) -> int:
    return sum(allowance.is_granted for allowance in allowances)


async def taken(superuser: asyncpg.Connection) -> dict[UUID, int]:
    """What the database has counted."""
    return {row["key"]: row["taken"] for row in await superuser.fetch("SELECT * FROM tenancy.request_windows")}


@pytest.mark.parametrize("limit", [1, 7, 40, 150])
async def test_exactly_the_limit(engines: Pair, superuser: asyncpg.Connection, limit: int) -> None:
    """Two processes that are asked at once, far too often, grant together exactly the limit."""
    limiters = [RateLimiter(engine, limit, 10 * limit) for engine in engines]
    parts = await asyncio.gather(*(take(limiter, limit + 20) for limiter in limiters))
    answers = list(chain(*parts))
    assert granted(answers) == limit
    assert await taken(superuser) == {USER: limit, TENANT: limit}
    refusals = {(each.name, each.limit, each.remaining) for each in answers if not each.is_granted}
    assert refusals == {("user", limit, 0)}
    assert all(1 <= answer.reset_seconds <= 60 for answer in answers)


async def test_never_more_than_a_high_limit(engines: Pair) -> None:
    """Processes that lease by the batch grant the limit at most, and less by one batch a process at most."""
    limiters = [RateLimiter(engine, 1000, 10_000) for engine in engines]
    total = 0
    for _ in range(150):  # In groups smaller than a batch, so that leases are left over.
        total += sum(map(granted, await asyncio.gather(*(take(limiter, 7) for limiter in limiters))))
    assert 1000 - 2 * 10 <= total <= 1000


async def test_the_tenants_limit(engines: Pair, superuser: asyncpg.Connection) -> None:
    """All users of a tenant together are granted its limit exactly; whom it refuses keeps the own quota."""
    limiters = [RateLimiter(engine, 5, 12) for engine in engines]
    everyone = [(limiter, uuid4()) for limiter in limiters for _ in range(6)]
    parts = await asyncio.gather(*(take(limiter, 4, user) for limiter, user in everyone))
    assert sum(map(granted, parts)) == 12
    counts = await taken(superuser)
    assert counts.pop(TENANT) == 12 == sum(counts.values())
    last = await limiters[0].take(uuid4(), TENANT)
    assert (last.is_granted, last.name, last.limit, last.remaining) == (False, "tenant", 12, 0)


async def test_a_refusal_takes_nothing_from_the_tenant(engines: Pair) -> None:
    """What a user is refused for the own limit, the tenant has for another user."""
    limiter = RateLimiter(engines[0], 5, 8)
    assert granted(await take(limiter, 30)) == 5
    assert granted(await take(limiter, 30, OTHER)) == 3


async def test_a_user_with_the_id_of_a_tenant(engines: Pair) -> None:
    """A user who is given another tenant's id takes nothing from that tenant."""
    limiter = RateLimiter(engines[0], 5, 5)
    assert granted(await take(limiter, 9, NEIGHBOUR, TENANT)) == 5
    assert granted(await take(limiter, 9, USER, NEIGHBOUR)) == 5


async def test_windows_end(engines: Pair, clock: Time) -> None:
    """A window lasts 60 seconds from its first request; the next one grants the limit anew."""
    for seconds, expected in ((0, 5), (45, 0), (15, 5), (3600, 5)):
        await clock.passes(seconds)
        # A new process, which remembers nothing.
        answers = await take(RateLimiter(engines[0], 5, 50), 9)
        assert granted(answers) == expected
        assert (answers[-1].reset_seconds <= 15) == (expected == 0)


async def test_a_clock_put_back(engines: Pair, clock: Time) -> None:
    """A window of the near future counts, which a call that waited may see; one beyond is begun anew."""
    for seconds, expected in ((0, 5), (-30, 0), (-60, 5)):
        await clock.passes(seconds)
        assert granted(await take(RateLimiter(engines[0], 5, 50), 9)) == expected


@pytest.mark.parametrize(("limits", "name"), [((4, 50), "user"), ((50, 4), "tenant")])
async def test_a_refusal_is_remembered(
    engines: Pair, clock: Time, questions: Counter[UUID], limits: tuple[int, int], name: str
) -> None:
    """After a refusal a process asks the database no more, until the window has ended."""
    assert granted(await take(RateLimiter(engines[1], *limits), 4)) == 4
    limiter = RateLimiter(engines[0], *limits)
    questions.clear()
    for _ in range(5):
        assert {(each.is_granted, each.name) for each in await take(limiter, 20)} == {(False, name)}
    await clock.passes(45)
    assert not (await limiter.take(USER, TENANT)).is_granted
    assert questions == {USER: 1}
    await clock.passes(16)
    assert granted(await take(limiter, 9)) == 4


async def test_a_spent_tenant_is_remembered_for_all(engines: Pair, questions: Counter[UUID]) -> None:
    """A tenant's refusal of one user is remembered for its other users, and for no other tenant's."""
    limiter = RateLimiter(engines[0], 50, 3)
    assert granted(await take(limiter, 9)) == 3
    assert not (await limiter.take(OTHER, TENANT)).is_granted
    assert OTHER not in questions
    assert (await limiter.take(OTHER, NEIGHBOUR)).is_granted


async def test_a_lease_spares_questions(engines: Pair, superuser: asyncpg.Connection, questions: Counter[UUID]) -> None:
    """A process asks for a hundredth of the limit at once, and counts it down from memory."""
    limiter = RateLimiter(engines[0], 600, 6000)
    answers = [await limiter.take(USER, TENANT) for _ in range(12)]
    assert questions == {USER: 2}
    assert [answer.remaining for answer in answers] == list(range(599, 587, -1))
    assert await taken(superuser) == {USER: 12, TENANT: 12}


async def test_who_waits_shares_the_next_answer(
    engines: Pair, superuser: asyncpg.Connection, questions: Counter[UUID]
) -> None:
    """Requests that come while a process asks are served by one question, each counted once."""
    limiter = RateLimiter(engines[0], 150, 1500)
    assert granted(await take(limiter, 100)) == 100
    assert await taken(superuser) == {USER: 100, TENANT: 100}
    assert questions[USER] <= 2


@pytest.mark.parametrize(("earlier", "ended"), [((USER, NEIGHBOUR), USER), ((OTHER, TENANT), TENANT)])
async def test_a_lease_ends_with_either_window(
    engines: Pair, superuser: asyncpg.Connection, clock: Time, earlier: tuple[UUID, UUID], ended: UUID
) -> None:
    """What is left of a lease is not spent in a later window, neither of the user nor of the tenant."""
    await RateLimiter(engines[1], 1000, 1000).take(*earlier)
    await clock.passes(30)
    limiter = RateLimiter(engines[0], 1000, 1000)
    await limiter.take(USER, TENANT)
    await clock.passes(31)
    await limiter.take(USER, TENANT)
    assert (await taken(superuser))[ended] == 10


async def test_cancelled_requests(engines: Pair) -> None:
    """Whoever gives up while waiting costs one batch at most, and keeps nobody else from being granted."""
    limiter = RateLimiter(engines[0], 20, 200)
    for pause in (0.0, 0.001, 0.003):
        tasks = [asyncio.create_task(limiter.take(USER, TENANT)) for _ in range(3)]
        await asyncio.sleep(pause)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert 20 - 9 <= granted(await take(limiter, 40)) <= 20
    assert limiter._leases[USER].waiting == 0


async def test_memory_is_bounded(engines: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process forgets whom it has not seen for longest, and still grants nobody more than the limit."""
    monkeypatch.setattr(tenancy.rate_limit, "REMEMBERED_KEYS", 2)
    limiter = RateLimiter(engines[0], 3, 10)
    people = [(uuid4(), uuid4()) for _ in range(5)]
    total = Counter[UUID]()
    for user, tenant in people * 6:
        total[user] += (await limiter.take(user, tenant)).is_granted
    assert total == {user: 3 for user, _ in people}
    assert (len(limiter._leases), len(limiter._tenants)) == (2, 2)


async def test_ended_windows_are_removed(engines: Pair, superuser: asyncpg.Connection, clock: Time) -> None:
    """The first request of a tenant's window removes what ended a minute ago, and waits for nobody to do so."""
    limiter = RateLimiter(engines[0], 5, 50)
    held, late = uuid4(), uuid4()
    for user in (OTHER, held):
        await limiter.take(user, TENANT)
    await clock.passes(110)
    await limiter.take(late, NEIGHBOUR)
    assert set(await taken(superuser)) == {OTHER, held, TENANT, late, NEIGHBOUR}
    await clock.passes(70)
    async with superuser.transaction():
        await superuser.execute("SELECT FROM tenancy.request_windows WHERE key = $1 FOR UPDATE", held)
        await asyncio.wait_for(limiter.take(USER, NEIGHBOUR), 4)
    assert set(await taken(superuser)) == {USER, held, late, NEIGHBOUR}


@pytest.mark.parametrize("role", ["tenant", "platform", "auditor", "app", "authn"])
async def test_who_may_take(superuser: asyncpg.Connection, role: str) -> None:
    """Only fastlane_authn executes the function; no role that serves requests touches the table itself."""
    attempts = {
        "SELECT * FROM tenancy.take_requests_1(gen_random_uuid(), gen_random_uuid(), 1, 5, 50)": role == "authn",
        "SELECT * FROM tenancy.request_windows": False,
        "DELETE FROM tenancy.request_windows": False,
    }
    executes = "SELECT has_function_privilege($1, oid, 'EXECUTE') FROM pg_proc WHERE proname = 'take_requests_1'"
    assert await superuser.fetchval(executes, f"fastlane_{role}") is (role == "authn")
    await superuser.execute(f"SET ROLE fastlane_{role}")
    for attempt, may in attempts.items():
        with nullcontext() if may else pytest.raises(asyncpg.InsufficientPrivilegeError):
            assert (await superuser.fetch(attempt))[0]["granted"] == 1


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ({}, None),
        ({"environment": "production"}, (600, 6000)),
        ({"environment": "production", "rate_limit": 7}, (7, 70)),
        ({"rate_limit": 7, "tenant_rate_limit": 9}, (7, 9)),
        ({"tenant_rate_limit": 9}, (9, 9)),
    ],
)
def test_settings(engine: FastlaneEngine, values: dict[str, Any], limits: tuple[int, int] | None) -> None:
    """Off in development and 600 in production when unset; a tenant has ten times a user's; 0 is refused."""
    limiter = RateLimiter.from_settings(engine, Settings(_env_file=None, **values))
    assert (limiter and (limiter._user_limit, limiter._tenant_limit)) == limits
    for zero in ({"rate_limit": 0}, {"tenant_rate_limit": 0}):
        with pytest.raises(ValidationError):
            Settings.model_validate(zero)


def test_fields() -> None:
    """An answer has the draft's two fields and the three older ones; a refusal also says when to try again."""
    told = dict(headers(Allowance(True, "user", 600, 599, 42)))
    assert (told[b"ratelimit-policy"], told[b"ratelimit"]) == (b'"user";q=600;w=60', b'"user";r=599;t=42')
    assert [told[b"ratelimit-" + name] for name in (b"limit", b"remaining", b"reset")] == [b"600", b"599", b"42"]
    refusal = refuse(Allowance(False, "tenant", 6000, 0, 17))
    assert (refusal.status, refusal.headers["Retry-After"]) == (429, "17")
    assert refusal.headers["ratelimit"] == '"tenant";r=0;t=17'
