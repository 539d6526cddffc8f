"""Archives of a test's database, and their lines."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from audit.archive import Archived, archive
from audit.redaction import forms_of, redact
from tenancy.engine import FastlaneEngine
from tenancy.scoping import platform
from tenancy.tables import Tenant
from tests.audit.sealing import seal
from tests.clinics import Clinic

NEXT_CENTURY = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = """
SELECT source, id, header, body FROM audit.sealable_1 WHERE source <> 'platform_logs' ORDER BY source, id
"""
CHAIN = "SELECT * FROM checkpoints c JOIN checkpoint_parts p ON p.checkpoint = c.id ORDER BY p.id"
Line = dict[str, Any]


async def rows_of(superuser: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await superuser.fetch(ROWS)]


async def make(directory: Path, begins: datetime = NEXT_CENTURY) -> Archived | None:
    return await archive(begins, directory, lambda _: None)


def trails_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if "trail" in path.name]


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def write(path: Path, lines: list[Line]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    return path


def contents(path: Path) -> tuple[list[tuple[Any, ...]], dict[UUID, UUID | None]]:
    """The rows of a file as `rows_of` has them, and who wrote those of audit_logs."""
    rows, users = [], {}
    for line in read(path):
        if "header" in line:
            rows.append((json.loads(line["header"])[0], UUID(line["id"]), line["header"], line["body"]))
            if rows[-1][0] == "audit_logs":
                user = line["columns"]["user_id"]
                users[rows[-1][1]] = UUID(user) if user else None
    return sorted(rows), users


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
    await seal(engine)
    await redact("north", forms_of("XANTHIPPE-47"), "", really=True)
    await seal(engine)
    async with platform():
        await Tenant.delete().where(Tenant.id == south.id)
    await superuser.execute("DELETE FROM users WHERE id = $1", north.rows["users"])
    await seal(engine)
