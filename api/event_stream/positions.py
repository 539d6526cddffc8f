"""Where in the events of a tenant a client stands, written as the `id` of a server-sent event.

Events are in the order of their transactions' numbers. A stream that began at some moment leaves out what was over
by then, although transactions with lower numbers may still be at work: until it is past all of them, its ids carry
that moment's snapshot, so that who resumes goes on with the same stream.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

PATTERN = r"[0-9]{1,19}-[0-9]{1,18}-[0-9a-f]{32}(~[0-9]{1,19}(\.[0-9]{1,19})+)?"
LONGEST_ID = 4_000
_LARGEST_NUMBER = 2**63 - 1
_NONE = UUID(int=0)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


class MalformedId(ValueError):
    """Not an id that a stream has given out."""


class Position(NamedTuple):
    """Behind the event that has these values; positions compare as PostgreSQL compares the events."""

    transaction_id: int
    microseconds: int
    event_id: UUID

    @classmethod
    def before(cls, transaction_id: int) -> "Position":
        """In front of all events of a transaction."""
        return cls(transaction_id, 0, _NONE)

    @classmethod
    def of(cls, transaction_id: int, created_at: datetime, event_id: UUID) -> "Position":
        """Behind an event."""
        return cls(transaction_id, (created_at - _EPOCH) // _MICROSECOND, event_id)

    @property
    def created_at(self) -> datetime:
        return _EPOCH + self.microseconds * _MICROSECOND

    def __str__(self) -> str:
        return f"{self.transaction_id}-{self.microseconds}-{self.event_id.hex}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions were over at a moment: all below `least`, up to `next` all but `running`, and no others."""

    least: int
    next: int
    running: frozenset[int] = frozenset()

    @classmethod
    def read(cls, text: str, base: int) -> "Snapshot":
        """https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT-PARTS"""
        least, next_one, running = text.split(":")
        numbers = frozenset(base + int(number) for number in running.split(",") if number)
        return cls(base + int(least), base + int(next_one), numbers)

    def is_over(self, transaction_id: int) -> bool:
        """Whether the transaction was over by then."""
        return transaction_id < self.next and transaction_id not in self.running

    def __str__(self) -> str:
        above = (number - self.least for number in (self.next, *sorted(self.running)))
        return f"{self.least}" + "".join(f".{number}" for number in above)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Goes on after a position, with what was not over at `since`."""

    after: Position
    since: Snapshot | None = None

    @classmethod
    def from_now(cls, now: Snapshot) -> "Cursor":
        """What is not over yet."""
        return cls(Position.before(now.least), now)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises `MalformedId`."""
        if len(text) > LONGEST_ID or not re.fullmatch(PATTERN, text):
            raise MalformedId
        position, _, snapshot = text.partition("~")
        transaction_id, microseconds, event_id = position.split("-")
        after = Position(int(transaction_id), int(microseconds), UUID(hex=event_id))
        if after.transaction_id > _LARGEST_NUMBER or after.microseconds > _LATEST:
            raise MalformedId
        if not snapshot:
            return cls(after)
        least, *above = map(int, snapshot.split("."))
        next_one, *running = (least + number for number in above)
        return cls(after, Snapshot(least, next_one, frozenset(running)))

    def __str__(self) -> str:
        return str(self.after) if self.since is None else f"{self.after}~{self.since}"
