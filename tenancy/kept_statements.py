"""A connection that keeps prepared statements, to bind and run one of them in a single message.

`tenancy/sql/statements_1.sql` has the function that does it. The settings, the role and the policies are
those of any other transaction; what is spared are the round trips of BEGIN and COMMIT.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tenancy.context import Scope
from tenancy.transaction import begin_statement, settings_of

MOST_KEPT = 100
SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class _Kept:
    """`call` runs it, with the settings, its name and its arguments as parameters."""

    statement: PreparedStatement  # Held: what nobody holds is closed on the server.
    name: str
    call: str


class KeepingConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is not annotated.
    """Used for connections that are ours alone: behind a transaction pooler a prepared statement gets lost."""

    __slots__ = ("_kept",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._kept: dict[str, _Kept] = {}

    async def run_bound(self, scope: Scope, timeout_ms: int, statement: str, arguments: tuple[Any, ...]) -> list[Any]:
        """The rows of a statement that is a transaction of its own, bound to `scope`.

        Raises `asyncpg.PostgresError`.
        """
        kept = self._kept.pop(statement, None) or await self._keep(scope, timeout_ms, statement)
        self._kept[statement] = kept  # The one that was used last comes last.
        texts = [as_text(argument) for argument in arguments]
        settings = SEPARATOR.join([value.replace(SEPARATOR, " ") for value in settings_of(scope)])
        rows: list[Any] = await self.fetch(kept.call, settings, kept.name, *texts)
        return rows

    async def _keep(self, scope: Scope, timeout_ms: int, statement: str) -> _Kept:
        """Prepares it under the scope, with whose rights its names are looked up."""
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        try:
            await self.execute(begin_statement(scope, timeout_ms))
            # Another text than in asyncpg's own cache, or it would not be closed when it is forgotten here.
            prepared = await self.prepare(f"/* kept */ {statement}")
            await self.execute("ROLLBACK")
        except asyncpg.PostgresError:
            await self.execute("ROLLBACK")
            raise
        except BaseException:
            self.terminate()  # Nobody knows which of the three messages was the last.
            raise
        columns = ", ".join(f'"{column.name}" {column.type.name}' for column in prepared.get_attributes())
        # One placeholder each: asyncpg takes long over a list.
        given = ", ".join(f"${number}" for number in range(3, 3 + len(prepared.get_parameters())))
        call = f"SELECT * FROM tenancy.run_1($1, $2, ARRAY[{given}]::text[]) AS row({columns})"  # noqa: S608
        return _Kept(prepared, prepared.get_name(), call)


def as_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it from a text: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO"""
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case date():  # And a time, with its zone.
            return value.isoformat()
        case list():
            return "{" + ",".join(_element(item) for item in value) + "}"
    return str(value)


def _element(value: Any) -> str:
    text = as_text(value)
    if text is None:
        return "NULL"
    if isinstance(value, list):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
