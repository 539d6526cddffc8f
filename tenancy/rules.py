"""What a domain rule is told of a change, and how it says no.

The API asks the rules before the database does, so that the answer names the field; the
database holds them for everybody else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenancy.tables import Role


class StoredRowNeeded(Exception):
    """Whether the change is allowed depends on the row that it changes."""


class _Unknown(Mapping[str, Any]):
    """Stands for a stored row that nobody has read yet."""

    def __getitem__(self, name: str) -> Any:
        raise StoredRowNeeded

    def __iter__(self) -> Iterator[str]:
        raise StoredRowNeeded

    def __len__(self) -> int:
        raise StoredRowNeeded


UNKNOWN: Mapping[str, Any] = _Unknown()


@dataclass(frozen=True, slots=True)
class Change:
    """One row about to be written. `stored` is None for a row that is created, and `UNKNOWN` at the first try: a
    rule that can do without it spares the service a read."""

    role: Role
    values: Mapping[str, Any]
    stored: Mapping[str, Any] | None


class RuleViolation(Exception):
    """The change is refused; `field` is to blame, dotted where it is a part of a document."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message

    @property
    def path(self) -> tuple[str, ...]:
        """The way to what is to blame."""
        return tuple(self.field.split("."))


Rule = Callable[[Change], None]
"""Raises `RuleViolation` or `tenancy.permissions.Forbidden`."""
