"""The archive: what was sealed moves to a file that is found to hold it, or everything stays where it is."""

import json
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from audit.archive import month
from audit.archive_file import digest_of
from audit.redaction import Refused, redact
from audit.verify import verify
from tenancy.engine import FastlaneEngine
from tests.audit.archives import CHAIN, contents, make, prepare, rows_of, trails_in
from tests.audit.sealing import seal
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.test_commands import piccolo


async def test_round_trip(
    database: TestDatabase,
    engine: FastlaneEngine,
    clinics: tuple[Clinic, Clinic],
    superuser: asyncpg.Connection,
    tmp_path: Path,
) -> None:
    """What is in the file is what was in the tables, byte by byte; what is not sealed or young stays, and so does the
    chain; there is nothing left to do after it."""
    assert await make(tmp_path) is None
    await prepare(engine, clinics, superuser)
    sealed = await rows_of(superuser)
    users = {row["id"]: row["user_id"] for row in await superuser.fetch("SELECT id, user_id FROM audit_logs")}
    last = await superuser.fetchval("SELECT max(id) FROM checkpoints")
    await superuser.execute("UPDATE tasks SET title = 'young'")
    await seal(engine)
    begins = await superuser.fetchval("SELECT created_at FROM checkpoints WHERE id = $1", last + 1)
    await superuser.execute("UPDATE tasks SET title = 'not sealed'")
    chain = await superuser.fetch(CHAIN)
    young = [row for row in await rows_of(superuser) if row not in sealed]

    made = await make(tmp_path / "archive", begins)
    assert made is not None
    path = made.path
    assert await rows_of(superuser) == young != []
    assert await superuser.fetch(CHAIN) == chain

    assert contents(path) == (sealed, users)
    record = json.loads(await superuser.fetchval("SELECT details FROM platform_logs WHERE action = 'archived'"))
    counts = {source: sum(row[0] == source for row in sealed) for source in ("audit_logs", "access_logs")}
    assert counts["access_logs"] > 0
    where = {"before": f"{begins:%Y-%m}", "file": path.name, "sha256": digest_of(path)}
    assert record.pop("authority").keys() == {"number", "key_id", "signature"}
    assert record == {"upto_checkpoint": last, "rows": counts} | where
    assert made.rows == counts

    for arguments in ((str(path),), (f"--file={path}",), (str(path), "--alone")):
        status, output, errors = await piccolo(database, tmp_path, "audit", "check_archive", *arguments)
        assert (status, errors) == (0, ""), errors
        assert f"{counts['audit_logs']} rows of audit_logs" in output
    verified = await verify(engine)
    assert (verified.archived, verified.warnings) == (last, [])
    assert await make(tmp_path, begins) is None
    status, output, _ = await piccolo(database, tmp_path, "audit", "archive", f"--before={datetime.now(UTC):%Y-%m}")
    assert (status, output[:7]) == (0, "nothing")
    second = await make(tmp_path)
    assert second is not None
    assert second.rows["audit_logs"] == len(young)
    assert await rows_of(superuser) == []
    assert (await verify(engine)).archived == second.upto_checkpoint > last


async def test_what_is_refused(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """The database itself deletes what is sealed and in the file, and nothing else."""
    await prepare(engine, clinics, superuser)
    last = await superuser.fetchval("SELECT max(id) FROM checkpoints")
    await superuser.execute("UPDATE tasks SET title = 'not sealed'")
    before = await rows_of(superuser)
    call = "SELECT audit.archive_1($1, '9999-01-01', 'file', 'digest', $2, '{}')"
    counts = json.dumps({"audit_logs": 1, "access_logs": 1})
    for number, message in ((last + 1, "not there"), (0, "not there"), (None, "not there"), (last, "not those")):
        with pytest.raises(asyncpg.PostgresError, match=message):
            await superuser.execute(call, number, counts)
    with pytest.raises(asyncpg.PostgresError, match="before the month"):
        await superuser.execute(call.replace("9999", "2026"), last, counts)
    assert await rows_of(superuser) == before

    # The role that may delete sees what is sealed only.
    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute("SET LOCAL ROLE fastlane_keeper")
    for table in ("audit_logs", "access_logs"):
        await superuser.execute(f"DELETE FROM {table}")
    await superuser.execute("RESET ROLE")
    left = await rows_of(superuser)
    assert len(left) == 1
    assert "not sealed" in left[0][3]
    await transaction.rollback()


def test_months() -> None:
    """A month is a year and a number, and has begun."""
    for text in ("2026", "2026-13", "2026-1", "soon", "9999-01"):
        with pytest.raises(Refused):
            month(text)


async def test_runs_beside_each_other(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """No file replaces another, nobody archives while somebody redacts, and a run that fails is repeated."""
    await prepare(engine, clinics, superuser)
    last = await superuser.fetchval("SELECT max(id) FROM checkpoints")
    before = await rows_of(superuser)
    other = tmp_path / f"trail-00000001-{last:08}.jsonl.gz"
    other.write_bytes(b"Another database's.")
    with pytest.raises(OSError, match="is there already"):
        await make(tmp_path)
    assert other.read_bytes() == b"Another database's."
    assert await rows_of(superuser) == before
    other.unlink()

    async with superuser.transaction():
        await superuser.execute("SELECT pg_advisory_xact_lock(1634296435)")
        with pytest.raises(Refused, match="is being made"):
            await make(tmp_path)
        with pytest.raises(Refused, match="is being made"):
            await redact("north", ["young"], "", really=True)
    # A deletion that fails leaves the file, which the next run makes again.
    await superuser.execute("ALTER TABLE platform_logs ADD CONSTRAINT late CHECK (action <> 'archived')")
    with pytest.raises(Refused, match="nothing was deleted"):
        await make(tmp_path)
    assert await rows_of(superuser) == before
    digest = digest_of(other)
    await superuser.execute("ALTER TABLE platform_logs DROP CONSTRAINT late")
    (tmp_path / f".{other.name}.partial").write_bytes(b"As a killed run leaves it.")
    assert await make(tmp_path) is not None
    assert digest_of(other) == digest
    assert trails_in(tmp_path) == [other]
    assert other.stat().st_mode & 0o077 == 0
