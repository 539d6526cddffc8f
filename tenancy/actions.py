"""What a domain does beyond reading and writing rows, at a path of its own.

An action runs inside the caller's bound transaction. The API checks role and content before and words the answer
after; what an action raises is answered like the errors of a write, and undoes what it did.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from tenancy.permissions import Operation
from tenancy.tables import Role


class RowMissing(LookupError):
    """There is no such row, for this tenant."""


class StateConflict(Exception):
    """What is stored does not allow it now; the message says what would."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls an action, on which row if it is about one, and with what: the fields of its `input`."""

    tenant_id: UUID
    user_id: UUID
    role: Role
    row_id: UUID | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Created:
    """A row of the action's table: 201, with the row as stored."""

    row_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of the action's table, in this order, each with further members if there are any: 200."""

    row_ids: Sequence[UUID]
    more: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A document, of JSON values, times and UUIDs: 200, unless the action says 201."""

    document: Mapping[str, Any]


Answer = Created | Found | Told


@dataclass(frozen=True, slots=True)
class Action:
    """`POST` or `GET` at `/api/{table}/{id}/{name}/`, `/api/{table}/{name}/` or `/api/{name}/`, as `place` says.

    `input` is what the body, or the query of a `GET`, holds; `answer` what it tells: a document, or, where it finds
    rows, the further members of each. `status` is that of a document. What `is_secret` is shown once: no cache keeps
    it, and under an `Idempotency-Key` it is made anew.
    """

    name: str
    summary: str
    run: Callable[[Call], Awaitable[Answer]] = field(compare=False)  # Two that are documented alike are equal.
    needs: Sequence[tuple[str, Operation]]
    kind: type[Answer]
    place: Literal["row", "table", "api"] = "row"
    method: Literal["GET", "POST"] = "POST"
    input: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: Literal[200, 201] = 200
    is_secret: bool = False
