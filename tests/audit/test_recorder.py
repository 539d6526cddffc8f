"""The recorder: looks of one moment share a write, and its failure; nobody else's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from audit import recorder as recorders
from audit.recorder import LookRecorder
from tenancy.engine import DatabaseUnavailable, FastlaneEngine
from tests.audit.looks import Log
from tests.clinics import Clinic
from tests.tenancy.pool import eventually

Clinics = tuple[Clinic, Clinic]
LOCK = "SET lock_timeout = 0; BEGIN; LOCK access_logs IN SHARE MODE"


@pytest_asyncio.fixture
async def recorder(engine: FastlaneEngine, clinics: Clinics) -> AsyncIterator[LookRecorder]:
    """A recorder that writes, on a pool."""
    await engine.start_connection_pool()
    recorder = LookRecorder(engine)
    recorder.start()
    yield recorder
    await recorder.close()
    await engine.close_connection_pool()


def look(clinic: Clinic, **changes: Any) -> dict[str, Any]:
    about = {"tenant_id": clinic.id, "actor": "test", "access": "list", "method": "GET", "path": "/", "status": 200}
    return about | changes


async def test_looks_share_a_write(recorder: LookRecorder, clinics: Clinics, looks: Log) -> None:
    """What gathers while a write is under way is the next one: a hundred looks take two or three."""
    await asyncio.gather(*(recorder.record([], [look(clinics[number % 2])]) for number in range(100)))
    rows = await looks.accesses()
    assert len(rows) == 100
    assert len({row["transaction_id"] for row in rows}) <= 3
    assert len({row["id"] for row in rows}) == 100


async def test_groups_are_bounded(
    recorder: LookRecorder, clinics: Clinics, looks: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group holds so many looks at most, and the rest follow."""
    monkeypatch.setattr(recorders, "MOST_AT_ONCE", 7)
    await asyncio.gather(*(recorder.record([], [look(clinics[0])]) for _ in range(30)))
    groups: dict[int, int] = {}
    for row in await looks.accesses():
        groups[row["transaction_id"]] = groups.get(row["transaction_id"], 0) + 1
    assert sum(groups.values()) == 30
    assert max(groups.values()) == 7


async def test_a_failure_is_its_groups_alone(recorder: LookRecorder, clinics: Clinics, looks: Log) -> None:
    """Who waits for a write that fails is told, each of them; those before and after are recorded."""
    north = clinics[0]
    await recorder.record([], [look(north)])
    bad = [look(north), look(north, status=None), look(north)]
    failures = await asyncio.gather(*(recorder.record([], [row]) for row in bad), return_exceptions=True)
    assert [type(failure) for failure in failures] == [DatabaseUnavailable] * 3
    assert len({id(failure) for failure in failures}) == 3
    await recorder.record([], [look(north)])
    assert len(await looks.accesses()) == 2


async def test_who_leaves_hurts_nobody(
    recorder: LookRecorder, clinics: Clinics, looks: Log, superuser: asyncpg.Connection
) -> None:
    """Looks whose requests are cancelled, in the group that is being written and in the next, are recorded with those
    of the others, who are answered."""
    await superuser.execute(LOCK)
    first = [asyncio.create_task(recorder.record([], [look(clinics[0])])) for _ in range(3)]

    async def is_writing() -> bool:
        return bool(await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

    await eventually(is_writing)
    second = [asyncio.create_task(recorder.record([], [look(clinics[1])])) for _ in range(3)]
    await asyncio.sleep(0)
    for task in (first[0], second[0], second[2]):
        task.cancel()
    await superuser.execute("COMMIT")
    outcomes = await asyncio.gather(*first, *second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(asyncio.CancelledError) == 3
    assert outcomes.count(None) == 3
    await recorder.close()
    rows = await looks.accesses()
    assert [row["tenant_id"] for row in rows] == [clinics[0].id] * 3 + [clinics[1].id] * 3
    assert len({row["transaction_id"] for row in rows}) == 2


async def test_the_end(recorder: LookRecorder, clinics: Clinics, looks: Log) -> None:
    """Closing writes what is waiting, whoever still waits for it; afterwards nothing is taken, and nothing lost."""
    waiting = [asyncio.create_task(recorder.record([], [look(clinics[0])])) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await recorder.close()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*waiting)
    assert len(await looks.accesses()) == 20
    with pytest.raises(DatabaseUnavailable):
        await recorder.record([], [look(clinics[0])])
