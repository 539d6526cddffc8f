"""An archive is compared with what was sealed, when it is made and later: whatever was edited is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from audit.archive import check
from audit.chain import Fault
from tenancy.engine import FastlaneEngine
from tests.audit.archives import Line, make, prepare, read, row_of, rows_of, trails_in, write
from tests.clinics import Clinic


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
        assert trails_in(tmp_path / "archive") == []
        for table in tables:
            await superuser.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept_{table}")
    assert await make(tmp_path / "archive") is not None
