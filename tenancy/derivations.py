"""Columns that a client may have computed: it sends another field, which is read once and stored nowhere.

A table class names its own in `derivations`; who knows the secret that it takes is handed to the API beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from piccolo.table import Table


@dataclass(frozen=True, slots=True)
class Derivation:
    """A client sends the field `source`, or else the column `target` ready-made, whose values match `pattern`."""

    source: str
    target: str
    longest: int
    help_text: str
    pattern: str


class Deriver(Protocol):
    """Computes the column. Both raise `ValueError` with words that do not repeat the value."""

    def derive(self, tenant_id: UUID, text: str) -> str:
        """What is stored of a `source`."""
        ...

    def accept(self, text: str) -> str:
        """What is stored of a `target` that came ready-made."""
        ...


Derivers = Mapping[str, Deriver]
"""By `source`."""


def derivations_of(table: type[Table]) -> tuple[Derivation, ...]:
    """What a client may have computed in the table."""
    found: tuple[Derivation, ...] = getattr(table, "derivations", ())
    return found
