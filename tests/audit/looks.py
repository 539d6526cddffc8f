"""What was recorded of looks and refusals, read past every policy."""

from typing import Any
from uuid import UUID

import asyncpg


class Log:
    """Reads what was recorded since the last time, oldest first."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._seen: set[UUID] = set()

    async def views(self) -> list[dict[str, Any]]:
        """The view rows of the trail."""
        return await self._news("SELECT * FROM audit_logs WHERE action = 'view' ORDER BY created_at, id")

    async def accesses(self) -> list[dict[str, Any]]:
        """The rows of access_logs."""
        return await self._news("SELECT * FROM access_logs ORDER BY created_at, id")

    async def viewed(self) -> list[tuple[str, UUID]]:
        """Of each view, what kind of row it was, and which."""
        return [(row["entity_type"], row["entity_id"]) for row in await self.views()]

    async def summary(self) -> list[tuple[Any, ...]]:
        """Of each access, what it was and how it ended."""
        names = ("access", "method", "path", "filter", "row_count", "status")
        return [tuple(row[name] for name in names) for row in await self.accesses()]

    async def _news(self, query: str) -> list[dict[str, Any]]:
        rows = [dict(row) for row in await self._connection.fetch(query)]
        found = [row for row in rows if row["id"] not in self._seen]
        self._seen |= {row["id"] for row in found}
        return found
