"""Reads the events of the tenant that a transaction is bound to, in the order of a stream.

Only of transactions below the oldest that is still at work, as the statement's own snapshot has it: all of those are
over and visible, so that nothing can come in front of what has been read.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from piccolo.table import Table

from api.crud.execution import Compiled, run
from api.event_stream.positions import Position, Snapshot
from api.query.shape import plain, row_json

PAGE_ROWS = 200
PAGE_BYTES = 256 * 1024

_NOW = "SELECT audit.epoch_base_1() AS base, pg_current_snapshot()::text AS snapshot"
# The first event of a page comes along however large it is: it could never be read otherwise.
_PAGE = """
WITH horizon AS MATERIALIZED (
    SELECT audit.epoch_base_1() + pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS number
), page AS MATERIALIZED (
    SELECT e.transaction_id, e.created_at, e.id, e.event_type, {row}::text AS body
      FROM (SELECT * FROM {table}
             WHERE (transaction_id, created_at, id) > ($1::bigint, $2::timestamptz, $3::uuid)
               AND transaction_id < (SELECT number FROM horizon)
             ORDER BY transaction_id, created_at, id LIMIT {limit}) AS e
), measured AS (
    SELECT page.*, row_number() OVER ordered AS place, sum(octet_length(body)) OVER ordered AS size
      FROM page WINDOW ordered AS (ORDER BY transaction_id, created_at, id)
)
SELECT horizon.number AS horizon, transaction_id, created_at, id, event_type,
       CASE WHEN size <= {bytes} OR place = 1 THEN body END AS body
  FROM horizon LEFT JOIN measured ON true ORDER BY place
"""


class Entry(NamedTuple):
    """An event. `content` is the part of it that is the same for every listener."""

    position: Position
    content: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Events after a position, and the position up to which there are no others.

    `horizon`: everything in front of it is settled for good.
    """

    entries: list[Entry]
    upto: Position
    horizon: Position
    has_next: bool


class EventReader:
    """Runs in the transaction of whoever asks, and sees what that one may see."""

    def __init__(self, table: type[Table]) -> None:
        name = f'"{table._meta.tablename}"'
        self._page = _PAGE.format(row=row_json(plain(table), "e"), table=name, limit=PAGE_ROWS, bytes=PAGE_BYTES)

    async def now(self) -> Snapshot:
        """Which transactions are over."""
        found = (await run(Compiled(_NOW, [])))[0]
        return Snapshot.read(found["snapshot"], found["base"])

    async def page(self, after: Position) -> Page:
        """The next events, as many as are read at once."""
        rows = await run(Compiled(self._page, [after.transaction_id, after.created_at, after.event_id]))
        horizon = Position.before(rows[0]["horizon"])
        entries = [_entry(row) for row in rows if row["body"] is not None]
        has_next = len(rows) == PAGE_ROWS or (rows[-1]["body"] is None and bool(entries))
        upto = entries[-1].position if has_next else max(after, horizon)
        return Page(entries, upto, horizon, has_next)


def _entry(row: Any) -> Entry:
    position = Position.of(row["transaction_id"], row["created_at"], row["id"])
    content = f"event: {_one_line(row['event_type'])}\ndata: {_one_line(row['body'])}\n\n"
    return Entry(position, content.encode())


def _one_line(text: str) -> str:
    """A line break would end the field."""
    return text.replace("\r", " ").replace("\n", " ")
