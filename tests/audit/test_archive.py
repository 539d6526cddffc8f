"""The archive: sealed months move to a file that is found to hold them, or everything stays where it is."""

import gzip
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from audit.archive import Archived, archive, check, month
from audit.archive_file import digest_of
from audit.chain import Fault
from audit.redaction import Refused, forms_of, redact
from audit.verify import verify
from tenancy.engine import FastlaneEngine
from tenancy.scoping import platform
from tenancy.tables import Tenant
from tests.audit.sealing import seal
from tests.clinics import Clinic
from tests.cluster import TestDatabase
from tests.test_commands import piccolo

NEXT_CENTURY = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = """
SELECT source, id, header, body FROM audit.sealable_1 WHERE source <> 'platform_logs' ORDER BY source, id
"""
Line = dict[str, Any]


async def rows_of(superuser: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await superuser.fetch(ROWS)]


async def make(directory: Path, begins: datetime = NEXT_CENTURY) -> Archived | None:
    return await archive(begins, directory, lambda _: None)


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write(path: Path, lines: list[Line]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    return path


def row_of(lines: list[Line], source: str = "audit_logs", *, is_redacted: bool = False) -> Line:
    """Some row of that table, that has content."""
    start = f'["{source}", '
    return next(
        line for line in lines if line.get("header", "").startswith(start) and is_redacted == ("bodies" in line)
    )


async def prepare(engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection) -> None:
    """A trail in several checkpoints, all of them old, with a redaction after its row was sealed, and a tenant gone."""
    north, south = clinics
    await superuser.execute("UPDATE tasks SET title = 'XANTHIPPE-47 Zoë \"\\ \U0001f600'")
    await seal(engine, superuser)
    await redact("north", forms_of("XANTHIPPE-47"), "", really=True)
    await seal(engine, superuser)
    async with platform():
        await Tenant.delete().where(Tenant.id == south.id)
    await superuser.execute("DELETE FROM users WHERE id = $1", north.rows["users"])
    await seal(engine, superuser)


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
    await seal(engine, superuser)
    begins = await superuser.fetchval("SELECT created_at FROM checkpoints WHERE id = $1", last + 1)
    await superuser.execute("UPDATE tasks SET title = 'not sealed'")
    chain = await superuser.fetch(
        "SELECT * FROM checkpoints c JOIN checkpoint_parts p ON p.checkpoint = c.id ORDER BY p.id"
    )
    young = [row for row in await rows_of(superuser) if row not in sealed]

    # As a killed run leaves it.
    folder = tmp_path / "audit" / "archive"
    folder.mkdir(parents=True)
    (folder / f".trail-00000001-{last:08}.jsonl.gz.partial").write_bytes(b"half")
    made = await make(folder, begins)
    assert made is not None
    (path,) = folder.iterdir()
    assert path == made.path
    assert os.stat(path).st_mode & 0o077 == 0
    assert await rows_of(superuser) == young != []
    assert await superuser.fetch(
        "SELECT * FROM checkpoints c JOIN checkpoint_parts p ON p.checkpoint = c.id ORDER BY p.id"
    ) == chain  # fmt: skip

    found = [line for line in read(path) if "header" in line]
    as_rows = sorted((json.loads(line["header"])[0], line["id"], line["header"], line["body"]) for line in found)
    assert as_rows == sorted((source, str(key), header, body) for source, key, header, body in sealed)
    columns = {line["id"]: line["columns"]["user_id"] for line in found if '["audit_logs"' in line["header"]}
    assert columns == {str(key): str(user) if user else None for key, user in users.items()}
    record = json.loads(await superuser.fetchval("SELECT details FROM platform_logs WHERE action = 'archived'"))
    counts = {source: sum(row[0] == source for row in sealed) for source in ("audit_logs", "access_logs")}
    assert counts["access_logs"] > 0
    assert record == {
        "upto_checkpoint": last,
        "before": f"{begins:%Y-%m}",
        "file": path.name,
        "sha256": digest_of(path),
        "rows": counts,
    }
    assert made.rows == counts

    for arguments in ((str(path),), (f"--file={path}",), (str(path), "--alone")):
        status, output, errors = await piccolo(database, tmp_path, "audit", "check_archive", *arguments)
        assert (status, errors) == (0, ""), errors
        assert f"{counts['audit_logs']} rows of audit_logs" in output
    verified = await verify(engine)
    assert (verified.archived, verified.warnings) == (last, [])
    before = await rows_of(superuser)
    assert await make(tmp_path, begins) is None
    status, output, _ = await piccolo(database, tmp_path, "audit", "archive", f"--before={datetime.now(UTC):%Y-%m}")
    assert (status, output[:7]) == (0, "nothing")
    second = await make(tmp_path)
    assert second is not None
    assert second.rows["audit_logs"] == len(young)
    assert len(before) == len(young)
    assert len(await rows_of(superuser)) == 0
    assert (await verify(engine)).archived == second.upto_checkpoint > last


async def is_in_order(path: Path, *, alone: bool) -> bool:
    try:
        await check(path, alone=alone)
    except Fault:
        return False
    return True


TAMPERING: dict[str, Callable[[list[Line]], Any]] = {
    "a body": lambda lines: row_of(lines).update(body="{}"),
    "a header": lambda lines: row_of(lines, "access_logs").update(header=row_of(lines)["header"]),
    "a column": lambda lines: row_of(lines)["columns"].update(actor="somebody else"),
    "a time": lambda lines: row_of(lines, "access_logs")["columns"].update(created_at="2020-01-01T00:00:00+00:00"),
    "a redacted body": lambda lines: row_of(lines, is_redacted=True).update(body="{}"),
    "a leaf": lambda lines: row_of(lines).update(leaf="00" * 32),
    "a row that is gone": lambda lines: lines.remove(row_of(lines)),
    "a row twice": lambda lines: lines.insert(lines.index(row_of(lines)), row_of(lines)),
    "a row without content": lambda lines: [row_of(lines).pop(name) for name in ("header", "body", "columns")],
    "a checkpoint": lambda lines: lines[1]["checkpoint"].update(entries=1),
    "a checkpoint that is gone": lambda lines: lines.__delitem__(
        slice(1, [index for index, line in enumerate(lines) if "checkpoint" in line][1])
    ),
    "the end": lambda lines: lines.pop(),
    "something after the end": lambda lines: lines.append({}),
    "no archive": lambda lines: lines[0].update(format="other"),
}
# What the file alone cannot tell.
FORGERIES: dict[str, Callable[[list[Line]], Any]] = {
    "who is not sealed": lambda lines: row_of(lines)["columns"].update(user_id=None),
    "another month": lambda lines: lines[0].update(before="1999-01"),
}


async def test_edited_file(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """Whatever is changed in a file is found, what is sealed by the file itself, the rest with the database."""
    await prepare(engine, clinics, superuser)
    made = await make(tmp_path)
    assert made is not None
    lines = read(made.path)
    edited = tmp_path / "edited.gz"
    await check(write(edited, lines), alone=True)
    for what, change in {**TAMPERING, **FORGERIES}.items():
        lines = read(made.path)
        change(lines)
        write(edited, lines)
        assert (what, await is_in_order(edited, alone=True)) == (what, what in FORGERIES)
        assert (what, await is_in_order(edited, alone=False)) == (what, False)
    content = made.path.read_bytes()
    for damaged in (b"", content[:-1], content[: len(content) // 2], b"x" + content, content + b"x", b"\x00" * 100):
        edited.write_bytes(damaged)
        assert not await is_in_order(edited, alone=True)
    assert not await is_in_order(tmp_path / "nowhere", alone=True)

    # Of another chain, which holds in itself.
    await superuser.execute("SET session_replication_role = replica; UPDATE checkpoints SET hash = '' WHERE id = 1")
    await check(made.path, alone=True)
    with pytest.raises(Fault, match="checkpoint 1: is not the one that the database has"):
        await check(made.path, alone=False)


IN_DATABASE = {
    "UPDATE audit_logs SET actor = 'somebody else' WHERE id = $1": "is not what was sealed",
    "UPDATE audit_logs SET changes = '{}' WHERE id = $1": "is not what was sealed",
    "DELETE FROM audit_logs WHERE id = $1": "is missing",
    "UPDATE checkpoints SET upto = upto + 1 WHERE id = $2": "was edited",
    "DELETE FROM checkpoint_parts WHERE checkpoint = $2 AND source = 'platform_logs'": "one of its parts",
    "DELETE FROM checkpoints WHERE id = $2": "is missing",
    "DELETE FROM platform_logs WHERE action = 'redacted'": "is not what was sealed",
    "DELETE FROM platform_logs WHERE action = 'tenant_deleted'": "is missing",
}


async def test_edited_database(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """What is not as it was sealed is named, nothing is deleted for it, and no file is left."""
    await prepare(engine, clinics, superuser)
    row = await superuser.fetchval("SELECT id FROM audit_logs WHERE entity_type = 'case' LIMIT 1")
    middle = await superuser.fetchval(
        "SELECT max(checkpoint) FROM checkpoint_parts WHERE source = 'platform_logs' "
        "AND checkpoint < (SELECT max(id) FROM checkpoints)"
    )
    assert middle > 1
    tables = ("audit_logs", "checkpoints", "checkpoint_parts", "platform_logs")
    for table in tables:
        await superuser.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
    await superuser.execute("SET session_replication_role = replica")
    for statement, message in IN_DATABASE.items():
        await superuser.execute(statement.replace("$1", f"'{row}'").replace("$2", str(middle)))
        before = await rows_of(superuser)
        with pytest.raises(Fault, match=message) as error:
            await make(tmp_path / "archive")
        assert ("$1" in statement) <= (str(row) in str(error.value)), statement
        assert await rows_of(superuser) == before
        assert list((tmp_path / "archive").iterdir()) == []
        for table in tables:
            await superuser.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}")
    assert await make(tmp_path / "archive") is not None


async def test_what_is_refused(
    engine: FastlaneEngine, clinics: tuple[Clinic, Clinic], superuser: asyncpg.Connection, tmp_path: Path
) -> None:
    """The database itself deletes what is sealed and in the file, and nothing else; no file replaces another."""
    await prepare(engine, clinics, superuser)
    last = await superuser.fetchval("SELECT max(id) FROM checkpoints")
    await superuser.execute("UPDATE tasks SET title = 'not sealed'")
    before = await rows_of(superuser)
    call = "SELECT audit.archive_1($1, '2026-01', 'file', 'digest', $2)"
    counts = json.dumps({"audit_logs": 1, "access_logs": 1})
    for number, message in ((last + 1, "not there"), (0, "not there"), (None, "not there"), (last, "not those")):
        with pytest.raises(asyncpg.PostgresError, match=message):
            await superuser.execute(call, number, counts)
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

    for text in ("2026", "2026-13", "2026-1", "soon", "9999-01"):
        with pytest.raises(Refused):
            month(text)
    other = tmp_path / f"trail-00000001-{last:08}.jsonl.gz"
    other.write_bytes(b"Another database's.")
    with pytest.raises(OSError, match="is there already"):
        await make(tmp_path)
    assert other.read_bytes() == b"Another database's."
    assert await rows_of(superuser) == before
    other.unlink()

    # While somebody redacts, nobody archives.
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
    assert await make(tmp_path) is not None
    assert digest_of(other) == digest
