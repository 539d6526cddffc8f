"""What a request costs in round trips and statements, counted in what PostgreSQL answers: a guard of speed that no
slow machine can break.

Each look and each refusal is recorded before it is answered: one message more, which all of the moment share.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from benchmarks.wire import Tap, tap
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.cluster import TestDatabase, socket_dir
from tests.conftest import Running, serve

CASES = "/api/cases/"
ROW = "/api/cases/{id}/"
# What is read and its record: a message, and a statement, each.
READ_AND_RECORDED = (2, 2)
RECORDED = (1, 1)


@dataclass
class Tapped:
    """An app whose database is behind a tap. `north` asks."""

    app: Running
    wire: Tap
    north: Clinic

    async def cost(self, method: str, path: str, **options: Any) -> tuple[int, int]:
        """Round trips and statements of a request, when connection, identity and plan are known."""
        path = path.replace("{id}", str(self.north.rows["cases"]))
        for _ in range(2):
            self.wire.reset()
            answer = await self.app.client.request(method, path, headers=self.north.headers(), **options)
            assert answer.status_code < 500, answer.text
        return self.wire.round_trips, self.wire.statements


@pytest_asyncio.fixture
async def tapped(database: TestDatabase, clinics: tuple[Clinic, Clinic], tmp_path: Path) -> AsyncIterator[Tapped]:
    """One connection, so that the second request finds what the first has prepared."""
    async with tap(socket_dir()) as wire:
        behind = TestDatabase(database.name, wire.directory)
        async for app in serve(database.settings(tmp_path, database_url=behind.app, pool_max_size=1)):
            yield Tapped(app, wire, clinics[0])


@pytest.mark.parametrize(
    "path",
    [
        ROW,
        f"{ROW}?__include=codes,tasks",
        f"{ROW}?__visible_fields=id,status",
        f"{CASES}?status=pending",
        f"{CASES}?status=pending&__total=true",
        f"{CASES}?__cursor=",
        f"{CASES}count/?status=pending",
        f"{CASES}ids/",
        f"{CASES}?__search=cigna",
        f"{ROW}history/",
        f"{ROW}history/?at=2100-01-31T12:00:00Z",
        "/api/cases/00000000-0000-0000-0000-000000000000/",
    ],
)
async def test_a_read_is_one_round_trip(tapped: Tapped, path: str) -> None:
    """A row, a page with or without its total, a count: one message, whatever is included, and one for its record."""
    assert await tapped.cost("GET", path) == READ_AND_RECORDED


async def test_looks_of_a_moment_share_their_record(tapped: Tapped) -> None:
    """Forty reads at once are forty messages, and far fewer for their records: on one connection, which serves reads
    and records in turn, what has gathered meanwhile goes along."""
    assert await tapped.cost("GET", ROW) == READ_AND_RECORDED
    path = ROW.replace("{id}", str(tapped.north.rows["cases"]))
    tapped.wire.reset()
    answers = (tapped.app.client.get(path, headers=tapped.north.headers()) for _ in range(40))
    assert {answer.status_code for answer in await asyncio.gather(*answers)} == {200}
    assert tapped.wire.round_trips == tapped.wire.statements
    assert 40 < tapped.wire.round_trips <= 60


async def test_a_write_is_one_round_trip(tapped: Tapped) -> None:
    """A case is created, and changed, in one message; the trail comes along by trigger."""
    assert await tapped.cost("POST", CASES, json=tapped.north.body("cases")) == (1, 1)
    path = ROW.replace("{id}", str(tapped.north.rows["cases"]))
    for method in ("PATCH", "PUT"):
        for payer in ("A", "B"):  # Each changes something: what changes nothing is recorded as a look.
            tapped.wire.reset()
            body = tapped.north.body("cases", payer=payer)
            answer = await tapped.app.client.request(method, path, json=body, headers=tapped.north.headers())
            assert answer.status_code == 200
        assert (tapped.wire.round_trips, tapped.wire.statements) == (1, 1)
    await tapped.cost("GET", ROW)
    assert await tapped.cost("PATCH", ROW, json={"payer": "B"}) == READ_AND_RECORDED
    rows = [tapped.north.body("cases") for _ in range(50)]
    assert await tapped.cost("POST", CASES, json=rows) == (3, 4)


async def test_a_conditional_write_is_a_transaction(tapped: Tapped) -> None:
    """With If-Match the row is locked and read before it is changed: BEGIN with the binding, two statements, COMMIT."""
    headers = {**tapped.north.headers(), "If-Match": "*"}
    path = ROW.replace("{id}", str(tapped.north.rows["cases"]))
    for priority in ("low", "high"):
        tapped.wire.reset()
        assert (await tapped.app.client.patch(path, json={"priority": priority}, headers=headers)).status_code == 200
    assert (tapped.wire.round_trips, tapped.wire.statements) == (4, 5)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/cases/schema/", None),
        ("GET", "/api/cases/new/", None),
        ("GET", "/api/cases/?nothing=1", None),
        ("POST", CASES, {"payer": 1}),
        ("POST", CASES, b"{"),
    ],
)
async def test_what_needs_no_database_asks_none(tapped: Tapped, method: str, path: str, body: Any) -> None:
    """What is refused before a row is needed, and what is known without one, costs no round trip."""
    options = {"content": body} if isinstance(body, bytes) else {"json": body} if body else {}
    assert await tapped.cost(method, path, **options) == (0, 0)


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/nothing/"), ("DELETE", "/api/audit_logs/")])
async def test_a_refusal_asks_for_its_record_alone(tapped: Tapped, method: str, path: str) -> None:
    """What is refused before a row is needed costs the message that records it."""
    assert await tapped.cost(method, path) == RECORDED


async def test_the_user_is_looked_up_once(tapped: Tapped) -> None:
    """Who asks is asked of the database once in some seconds: in a transaction of three round trips, beside
    those of the read and its record."""
    await tapped.app.client.get(CASES, headers=tapped.north.headers())
    tapped.wire.reset()
    for role in tapped.north.tokens:
        await tapped.app.client.get(CASES, headers=tapped.north.headers(role))
    assert tapped.wire.round_trips <= (3 + 2) * len(tapped.north.tokens)


async def test_a_move_is_one_round_trip(tapped: Tapped) -> None:
    """A new status costs those who may decide as little as any change: no rule reads the case first."""
    path = ROW.replace("{id}", str(tapped.north.rows["cases"]))
    for role in (Role.clinician, Role.admin):
        for status in ("more_info_needed", "pending", "more_info_needed", "pending"):
            tapped.wire.reset()
            answer = await tapped.app.client.patch(path, json={"status": status}, headers=tapped.north.headers(role))
            assert answer.json()["status"] == status
        assert (tapped.wire.round_trips, tapped.wire.statements) == (1, 1)
