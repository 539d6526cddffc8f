"""Sealing: what is over and nothing else, by one at a time, signed, in the ledger, and without a writer's waiting."""

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from audit import sealer as sealer_module
from audit.chain import Fault
from audit.epochs import begin_epoch
from audit.ledger import ledger_of
from audit.sealer import SEALER, Sealer, SealingTask
from audit.signing import SigningKey, spelled
from audit.verify import verify
from cases.tables import Ruleset
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.scoping import platform, tenant
from tenancy.settings import Settings
from tests.audit.sealing import all_over, seal
from tests.audit.tampered import write
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.conftest import serve
from tests.test_commands import piccolo

WRITERS_SECONDS = float(os.environ.get("AUDIT_WRITERS_SECONDS", "6"))
WRITERS = 50 if WRITERS_SECONDS > 30 else 20
UNSEALED = """SELECT count(*) FROM audit.sealable_1
 WHERE transaction_id >= coalesce((SELECT max(upto) FROM checkpoints), 0)"""


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Waits for it, or fails with the time limit of the test."""
    while not await happened():  # noqa: ASYNC110  # The database tells no event.
        await asyncio.sleep(0.02)


@pytest.mark.usefixtures("clinics")
async def test_what_is_over(engine: FastlaneEngine, superuser: asyncpg.Connection, owner: asyncpg.Connection) -> None:
    """A transaction that is open holds back what began after it, and is sealed when it is over; of several sealers one
    does it, and nothing is sealed twice."""
    await seal(engine)
    await superuser.execute("BEGIN; UPDATE rulesets SET payer = 'open'")
    await write("north")
    assert await Sealer(engine).seal(wait=True) is None
    assert (await verify(engine)).unsealed == 1
    await superuser.execute("COMMIT")
    await all_over()
    made = await asyncio.gather(*(Sealer(engine).seal() for _ in range(5)))
    assert [link.entries for link in made if link] == [3]
    verified = await verify(engine)
    assert (verified.unsealed, verified.checkpoints) == (0, 2)


@pytest.mark.usefixtures("clinics")
async def test_backlog(engine: FastlaneEngine) -> None:
    """A backlog is sealed in pieces, here by the epochs that it is of, until there is nothing."""
    await begin_epoch(engine, regardless=True)
    await write("north")
    await all_over()
    assert len(await Sealer(engine).seal_all(wait=True)) == 2
    assert (await verify(engine)).unsealed == 0


@pytest.mark.usefixtures("clinics")
async def test_long_transaction_in_a_quiet_time(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """What an open transaction wrote long before a checkpoint, and nobody after it, is no backdated row."""
    await superuser.execute(
        """SET session_replication_role = replica;
           UPDATE platform_logs SET created_at = created_at - interval '1 day';
           SET session_replication_role = origin"""
    )
    await superuser.execute(
        """BEGIN; UPDATE rulesets SET payer = 'open';
           SET LOCAL session_replication_role = replica;
           UPDATE audit_logs SET created_at = created_at - interval '2 minutes'
            WHERE transaction_id = pg_current_xact_id()::text::bigint"""
    )
    assert await Sealer(engine).seal(wait=True) is not None
    await superuser.execute("COMMIT")
    assert (await verify(engine)).checkpoints == 2


async def test_unsigned_is_refused(engine: FastlaneEngine, clinics: tuple[Clinic, Clinic]) -> None:
    """Who folds without signing has made no checkpoint; a signature is not replaced; nobody else may fold."""
    with pytest.raises(asyncpg.PostgresError, match="is signed in the transaction"):
        async with engine.transaction(scope=SEALER) as transaction:
            assert await transaction.fetch("SELECT * FROM audit.fold_1()")
    link = await Sealer(engine).seal(wait=True)
    assert link is not None
    assert link.id == 1
    with pytest.raises(asyncpg.PostgresError, match="is signed, or is not there"):
        async with engine.transaction(scope=SEALER) as transaction:
            await transaction.fetch("SELECT audit.sign_1(1, 'mine', '1')")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant("north") as transaction:
            await transaction.fetch("SELECT * FROM audit.fold_1()")


async def test_deleted_tenant(engine: FastlaneEngine, clinics: tuple[Clinic, Clinic]) -> None:
    """Who deleted which tenant when remains outside of it, with the last checkpoint, and is sealed like the rest."""
    link = await Sealer(engine).seal(wait=True)
    assert link is not None
    async with platform() as transaction:
        await transaction.fetch("DELETE FROM tenants WHERE slug = 'south'")
        (record,) = await transaction.fetch(
            "SELECT tenant_id, actor, details::text FROM platform_logs WHERE action = 'tenant_deleted'"
        )
        assert await transaction.fetch("SELECT FROM audit_logs WHERE tenant_id = $1", clinics[1].id) == []
    assert record["tenant_id"] == clinics[1].id
    assert record["actor"].startswith("script:")
    for told in ('"slug": "south"', '"checkpoint": 1', link.hash.hex()):
        assert told in record["details"]
    assert (await verify(engine)).checkpoints == 2


@pytest.mark.usefixtures("clinics")
async def test_ledger_catches_up(engine: FastlaneEngine) -> None:
    """What the ledger lacks is appended at the next checkpoint, from the database, when its signature is ours."""
    await Sealer(engine).seal(wait=True)
    ledger = await ledger_of(engine)
    ledger.path.unlink()
    await write("north")
    await Sealer(engine).seal(wait=True)
    whole = ledger.path.read_bytes()
    assert [link.id for link in ledger.links(ledger.length())] == [1, 2]
    ledger.path.write_bytes(whole[:-40])
    await write("north")
    await Sealer(engine).seal(wait=True)
    assert ledger.path.read_bytes().startswith(whole)
    assert [link.id for link in ledger.links(ledger.length())] == [1, 2, 3]


@pytest.mark.usefixtures("clinics")
async def test_keys(engine: FastlaneEngine, database: TestDatabase, tmp_path: Path) -> None:
    """With another key, what the former one signed is believed only where it is named; production derives its key."""
    await Sealer(engine).seal(wait=True)
    former = SigningKey.from_settings(engine.databases.settings).public
    key = {"audit_signing_key": base64.b64encode(bytes(range(32))).decode()}
    engine.databases = Databases(database.settings(tmp_path, **key))
    with pytest.raises(Fault, match=r"checkpoint 1: is signed with the key '\w{16}', which is neither ours nor"):
        await verify(engine)
    engine.databases = Databases(database.settings(tmp_path, **key, audit_public_keys=spelled(former)))
    await write("north")
    assert (await verify(engine)).checkpoints == 2
    assert await piccolo(database, tmp_path, "audit", "public_key") == (0, f"{spelled(former)}\n", "")
    production = {"environment": "production", "member_id_pepper": "secret"}
    keys = [SigningKey.from_settings(database.settings(tmp_path, **production)).key_id for _ in range(2)]
    assert len({*keys, SigningKey.from_settings(engine.databases.settings).key_id}) == 2
    with pytest.raises(ValueError, match="32 bytes in base64"):
        database.settings(tmp_path, audit_signing_key="short")


async def test_in_the_service(
    database: TestDatabase, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """The service seals while it serves, and a last time when it stops; metrics say when, and verifying beside it is
    not confused."""
    settings = database.settings(tmp_path, audit_seal_seconds=0.05)
    path = f"/api/rulesets/{clinics[0].rows['rulesets']}/"
    async for app in serve(settings):

        async def is_sealed() -> bool:
            return bool(await superuser.fetchval(UNSEALED) == 0)

        await until(is_sealed)
        for number in range(20):
            answer = await app.client.patch(path, headers=clinics[0].headers(), json={"payer": f"{number}"})
            assert answer.status_code == 200
            if number % 5 == 0:
                assert (await piccolo(database, tmp_path, "audit", "verify"))[0] == 0
        assert "audit_last_seal_timestamp_seconds 1" in (await app.client.get("/metrics")).text
        await all_over()
    assert await superuser.fetchval(UNSEALED) == 0
    ledger = await ledger_of(app.engine)
    numbers = [link.id for link in ledger.links(ledger.length())]
    assert numbers == list(range(1, await superuser.fetchval("SELECT max(id) FROM checkpoints") + 1))


@pytest.mark.usefixtures("clinics")
async def test_rest_and_trouble(
    engine: FastlaneEngine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle database is left alone until somebody uses it; trouble is no end, and is over when it is over."""
    monkeypatch.setattr(sealer_module, "BUSY_SECONDS", 0)
    task = SealingTask(engine, settings, CollectorRegistry())
    await all_over()
    assert task.is_due()
    assert await task.seal()
    assert not task.is_due()
    await write("north")
    await all_over()
    assert task.is_due()
    (tmp_path / "audit").rename(tmp_path / "kept")
    (tmp_path / "audit").touch()
    assert not await task.seal()
    assert task.is_due()
    (tmp_path / "audit").unlink()
    assert await task.seal()
    assert not task.is_due()
    ledger = await ledger_of(engine)
    assert [link.id for link in ledger.links(ledger.length())] == [1, 2]
    busy = SealingTask(engine, settings.model_copy(update={"pool_min_size": 1}), CollectorRegistry())
    assert await busy.seal()
    assert busy.is_due()


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("clinics")
async def test_beside_many_writers(database: TestDatabase, engine: FastlaneEngine, tmp_path: Path) -> None:
    """With many writers and a long transaction beside them, sealing and verifying all the time, no writer waits for a
    lock, no row is missed, and all is well; AUDIT_WRITERS_SECONDS says for how long."""
    engine.databases = Databases(database.settings(tmp_path, pool_max_size=WRITERS + 4))
    long = await asyncpg.connect(database.superuser)
    await long.execute("BEGIN; UPDATE rulesets SET payer = 'open'")
    await engine.start_connection_pool()
    over = time.monotonic() + WRITERS_SECONDS
    written = 0

    async def write_on(slug: str) -> None:
        nonlocal written
        while time.monotonic() < over:
            async with tenant(slug) as transaction:
                await transaction.fetch("SET LOCAL lock_timeout = 200")
                await Ruleset(payer="Aetna", procedure="1", rules_json="{}").save()
            written += 1

    async def seal_on() -> None:
        nonlocal long
        sealer = Sealer(engine)
        halfway = over - WRITERS_SECONDS / 2
        while time.monotonic() < over:
            await sealer.seal_all()
            await verify(engine)
            if halfway < time.monotonic():
                halfway = over
                await long.execute("COMMIT; BEGIN; UPDATE rulesets SET payer = 'again' WHERE payer = 'open'")

    try:
        await asyncio.gather(seal_on(), *(write_on("south" if i % 2 else "north") for i in range(WRITERS)))
    finally:
        await long.execute("COMMIT")
        await engine.close_connection_pool()
    verified = await verify(engine)
    assert verified.unsealed == 0
    assert verified.rows == await long.fetchval("SELECT count(*) FROM audit.sealable_1")
    assert verified.rows > written > WRITERS
    await long.close()
