"""The file that sealed rows of the trail are archived in: gzip over lines of JSON, to be read without this program.

The first line says what it is, the last how much there was. Between them stands, for each checkpoint, a line of it, for
each of its parts a line, and for each row of the part, in the order that was sealed, a line with `id` and `leaf`,
`header` and `body`, the other `columns`, and of a row that was redacted `bodies`: the hashes of what its body was at
first and after each redaction. `leaf` is sha256(header || newline || hex(sha256(body))), with one of `bodies` if there
are any; the body of a row of audit_logs is its salt, if it has one, a newline and its changes. Without `header`: a row
of platform_logs, which stays in the database, or one that went with its tenant.
"""

import hashlib
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from gzip import GzipFile
from pathlib import Path
from typing import Any
from uuid import UUID

from audit.chain import EPOCH, Fault, Link, digest_of_parts

FORMAT = "fastlane-trail-1"
KEPT_SOURCE = "platform_logs"
HEADERS = {
    "audit_logs": "id tenant_id action entity_type entity_id ip_address user_agent actor request_id transaction_id "
    "created_at",
    "access_logs": "id tenant_id user_id actor access method path filter row_count status ip_address user_agent "
    "request_id transaction_id created_at",
}
_DAMAGED = (EOFError, OSError, zlib.error, ValueError, LookupError, TypeError, AttributeError)


class ArchiveWriter:
    """A context in which lines are written, to a file beside the one that is meant. At its end that is on the disk."""

    def __init__(self, path: Path, before: str) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.rows: Counter[str] = Counter(dict.fromkeys(HEADERS, 0))
        self._before = before
        self._checkpoints = 0

    def __enter__(self) -> "ArchiveWriter":
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.partial.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        # With neither name nor time in it: of the same rows it is the same file.
        self._lines = io.TextIOWrapper(GzipFile("", "wb", 6, self._file, 0), encoding="utf-8", newline="\n")
        self._write({"format": FORMAT, "before": self._before})
        return self

    def __exit__(self, *error: object) -> None:
        self._write({"end": {"checkpoints": self._checkpoints, "rows": dict(self.rows)}})
        self._lines.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def checkpoint(self, link: Link) -> None:
        self._checkpoints += 1
        self._write({"checkpoint": link.as_json()})

    def part(self, source: str, tenant_id: UUID | None, entries: int, *, is_deleted: bool) -> None:
        """`entries` rows follow. `is_deleted`: they went with their tenant."""
        tenant = str(tenant_id) if tenant_id else None
        self._write({"part": {"source": source, "tenant_id": tenant, "entries": entries, "is_deleted": is_deleted}})

    def row(self, source: str, key: UUID, leaf: bytes, content: dict[str, Any] | None) -> None:
        """`content` is `header`, `body`, `columns` and, if it was redacted, `bodies`."""
        if content is not None:
            self.rows[source] += 1
        self._write({"id": str(key), "leaf": leaf.hex(), **(content or {})})

    def keep(self) -> None:
        """Gives the file its name. Raises `FileExistsError` where another has it."""
        if self.path.exists() and digest_of(self.path) != digest_of(self.partial):
            raise FileExistsError(f"{self.path} is there already, and is another")
        self.partial.rename(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


class ArchiveReader:
    """Goes through a file, and compares everything in it with everything else. `rows` and `redacted` are complete when
    `links` is at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: Counter[str] = Counter(dict.fromkeys(HEADERS, 0))
        self.redacted: dict[tuple[str, UUID], list[str]] = {}

    def links(self) -> Iterator[Link]:
        """Each checkpoint, when its rows are found to be those that it seals. Raises `Fault`."""
        try:
            with self.path.open("rb") as file, GzipFile(fileobj=file) as stream:
                yield from self._links(json.loads(line) for line in io.TextIOWrapper(stream, "utf-8"))
        except _DAMAGED as error:
            raise Fault(f"{self.path.name} cannot be read to its end: {error or type(error).__name__}") from None

    def _links(self, lines: Iterator[dict[str, Any]]) -> Iterator[Link]:
        if _next(lines).get("format") != FORMAT:
            raise Fault(f"{self.path.name} is no archive of the trail")
        last: Link | None = None
        checkpoints = 0
        line = _next(lines)
        while "checkpoint" in line:
            link = Link.from_json(line["checkpoint"])
            if link.computed_hash() != link.hash:
                raise Fault(f"checkpoint {link.id}: was edited")
            if last and (link.id, link.previous_hash) != (last.id + 1, last.hash):
                raise Fault(f"checkpoint {link.id}: does not follow the one before it")
            line = self._parts(lines, link)
            checkpoints += 1
            last = link
            yield link
        if line.get("end") != {"checkpoints": checkpoints, "rows": dict(self.rows)} or next(lines, None) is not None:
            raise Fault(f"{self.path.name}: its end does not say what is in it")

    def _parts(self, lines: Iterator[dict[str, Any]], link: Link) -> dict[str, Any]:
        """The first line after the parts of a checkpoint."""
        parts = []
        while "part" in (line := _next(lines)):
            part = line["part"]
            ids, leaves = [], bytearray()
            for _ in range(part["entries"]):
                row = _next(lines)
                ids.append(UUID(row["id"]))
                leaves += bytes.fromhex(row["leaf"])
                self._check_row(part, row, link)
            parts.append((part["source"], UUID(part["tenant_id"]) if part["tenant_id"] else None, ids, bytes(leaves)))
        if digest_of_parts(parts) != link.parts_digest or sum(len(part[2]) for part in parts) != link.entries:
            raise Fault(f"checkpoint {link.id}: one of its parts was changed, added or removed")
        return line

    def _check_row(self, part: dict[str, Any], row: dict[str, Any], link: Link) -> None:
        source, header = part["source"], row.get("header")
        name = f"{source} row {row['id']}, checkpoint {link.id}"
        if header is None:
            if source != KEPT_SOURCE and not part["is_deleted"]:
                raise Fault(f"{name}: is missing")
            return
        body = hashlib.sha256(row["body"].encode()).hexdigest()
        bodies = row.get("bodies", [body])
        if bodies[-1] != body or row["leaf"] not in (leaf_of(header, was).hex() for was in bodies):
            raise Fault(f"{name}: is not what was sealed")
        if not _agree(source, json.loads(header), row["columns"]):
            raise Fault(f"{name}: its columns are not those that were sealed")
        self.rows[source] += 1
        if "bodies" in row:
            self.redacted[source, UUID(row["id"])] = bodies


def leaf_of(header: str, body_hash: str) -> bytes:
    """What is sealed of a row."""
    return hashlib.sha256(f"{header}\n{body_hash}".encode()).digest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _next(lines: Iterator[dict[str, Any]]) -> dict[str, Any]:
    for line in lines:
        return line
    raise EOFError("it ends early")


def _agree(source: str, header: list[Any], columns: dict[str, Any]) -> bool:
    made = datetime.fromisoformat(columns["created_at"]) - EPOCH
    as_sealed = columns | {"created_at": made // timedelta(microseconds=1)}
    return header == [source, *(as_sealed[name] for name in HEADERS[source].split())]
