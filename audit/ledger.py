"""The copy of the chain outside the database: a file to which a line is appended for each checkpoint.

The database cannot take back what stands there: it shows when the end of the chain was cut off. What a crash between
COMMIT and the line, or another host, left out is appended later, from the database, once signatures were checked.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

from audit.chain import SELECT_LINK, Link
from audit.signing import KeyRing, spelled
from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine
from tenancy.settings import Settings

TAIL_BYTES = 65_536
LINKS_AT_ONCE = 1_000
READER = Scope(role=DatabaseRole.platform, actor="script:audit")

# One for a database, and for its copies: it survives dump and restore, and a database that is made anew has another.
_TRAIL = """
SELECT id FROM platform_logs WHERE action = 'epoch_started' ORDER BY transaction_id, created_at, id LIMIT 1
"""


class LedgerConflict(Exception):
    """The ledger and the database do not tell the same; the message says where."""


class Ledger:
    """The file of one trail, which need not be there yet."""

    def __init__(self, directory: Path, trail: UUID) -> None:
        self.path = directory / f"{trail}.jsonl"

    def stranger(self, database: str) -> str | None:
        """The trail that this database had, in the judgement of a file that it cannot write, when that was another.

        Whose name the file has is decided by the database itself: without this, a trail that is replaced whole would
        begin a ledger of its own, and nobody would compare it with the one that was.
        """
        pin = self.path.parent / f"{database}.trail"
        if not pin.exists():
            return None
        known = pin.read_text(encoding="utf-8").strip()
        return known if known != self.path.stem else None

    def pin(self, database: str) -> None:
        """Remembers which trail the database has, unless it is known already."""
        pin = self.path.parent / f"{database}.trail"
        if not pin.exists():
            pin.write_text(f"{self.path.stem}\n", encoding="utf-8")

    def exists(self) -> bool:
        """Whether there is a first line."""
        return self.path.exists() and self.path.stat().st_size > 0

    def length(self) -> int:
        """How many bytes are whole lines: a crash may have left a part of one."""
        if not self.exists():
            return 0
        with self.path.open("rb") as file:
            return _whole_length(file)

    def last(self) -> Link | None:
        """The last checkpoint that it has. Raises `LedgerConflict` when that line is none."""
        if not self.exists():
            return None
        with self.path.open("rb") as file:
            recent = self._recent(file)
        return recent[max(recent)] if recent else None

    def links(self, length: int) -> Iterator[Link]:
        """The checkpoints in the first bytes of the file. Raises `LedgerConflict`."""
        if length:
            with self.path.open("rb") as file:
                while file.tell() < length:
                    yield self._parse(file.readline())

    def append(self, links: Sequence[Link], ring: KeyRing) -> None:
        """Appends those that it does not have, and waits for the disk. Raises `LedgerConflict`, `OSError`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            recent = self._recent(file)
            last = recent[max(recent)] if recent else None
            lines = []
            for link in links:
                if last is not None and link.id <= last.id:
                    if link.id in recent and recent[link.id] != link:
                        raise LedgerConflict(f"checkpoint {link.id}: is not the one that the ledger {self.path} has")
                    continue
                _require_next(link, last, ring)
                lines.append(json.dumps({**link.as_json(), "public_key": spelled(ring.keys[link.key_id])}) + "\n")
                last = link
            file.truncate(_whole_length(file))
            file.seek(0, os.SEEK_END)
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        """One process at a time. The name of a new file is on the disk before its first line is."""
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.seek(0, os.SEEK_END) == 0:
                directory = os.open(self.path.parent, os.O_RDONLY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
            yield file

    def _recent(self, file: IO[bytes]) -> dict[int, Link]:
        """The last few checkpoints by their number."""
        length = _whole_length(file)
        start = max(0, length - TAIL_BYTES)
        file.seek(start)
        lines = file.read(length - start).splitlines()
        return {link.id: link for link in map(self._parse, lines[1:] if start else lines)}

    def _parse(self, line: bytes) -> Link:
        try:
            return Link.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, OverflowError):
            raise LedgerConflict(f"the ledger {self.path} has a line that is no checkpoint: {line[:60]!r}") from None


def _whole_length(file: IO[bytes]) -> int:
    """Up to the last line that is complete."""
    end = file.seek(0, os.SEEK_END)
    start = max(0, end - TAIL_BYTES)
    file.seek(start)
    return start + file.read(end - start).rfind(b"\n") + 1


def _require_next(link: Link, last: Link | None, ring: KeyRing) -> None:
    follows = (link.id, link.previous_hash) == ((last.id + 1, last.hash) if last else (1, b""))
    fault = None if follows else "does not follow the last one in the ledger"
    if link.computed_hash() != link.hash:
        fault = "was changed"
    if fault := fault or ring.fault_of(link):
        raise LedgerConflict(f"checkpoint {link.id}: {fault}")


async def ledger_of(engine: FastlaneEngine) -> Ledger:
    """The ledger of the engine's database. Raises `LedgerConflict` when nothing says which trail it is."""
    async with engine.transaction(allow_nested=False, scope=READER) as transaction:
        rows = await transaction.fetch(_TRAIL)
    if not rows:
        raise LedgerConflict("platform_logs has no record of the start of the first epoch")
    return Ledger(ledger_directory(engine.databases.settings), rows[0]["id"])


def name_of(engine: FastlaneEngine) -> str:
    """The database as its URL names it, pooled or not."""
    url = engine.databases.app()
    return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{url.host.replace('-pooler', '')}_{url.database}").strip("_")


def ledger_directory(settings: Settings) -> Path:
    """`AUDIT_LEDGER`, or `audit` in the data directory."""
    return settings.audit_ledger or settings.data_dir / "audit"


async def links_after(engine: FastlaneEngine, number: int) -> list[Link]:
    """The next checkpoints of the database after that one."""
    query = f"{SELECT_LINK} FROM checkpoints WHERE id > $1 ORDER BY id LIMIT {LINKS_AT_ONCE}"
    async with engine.transaction(allow_nested=False, scope=READER) as transaction:
        return [Link.of(row) for row in await transaction.fetch(query, number)]
