"""What an answer of Piccolo Admin's own CRUD tells: seen in path and body, for the stock code leaves no note."""

from collections.abc import Mapping
from uuid import UUID

import orjson
from piccolo.table import Table

from api.exchange import HeldResponse, Scope
from api.looks import Listing, Look, View
from tenancy.transaction import BoundTransaction


async def looks_at_answer(
    tables: Mapping[str, type[Table]],
    viewed: Mapping[type[Table], str],
    scope: Scope,
    held: HeldResponse,
    transaction: BoundTransaction,
) -> list[Look]:
    """The looks of a request that succeeded, whose transaction is still open."""
    is_read = scope["method"] == "GET"
    if held.status != 200:
        return []
    match scope["path"].strip("/").split("/")[1:]:
        case ["api", "tables", name] if name in tables and is_read:
            return [Listing("list", len(orjson.loads(held.body)["rows"]))]
        case ["api", "tables", name, "ids"] if name in tables:
            return [Listing("list", len(orjson.loads(held.body)))]
        case ["api", "tables", name, "count"] if name in tables:
            return [Listing("list", None)]
        case ["api", "tables", name, "new" | "schema" | "references"]:
            return []
        case ["api", "tables", name, row_id] if name in tables and tables[name] in viewed:
            # An operator of the platform looks into the tenant that the row belongs to. What changes nothing shows
            # the row as well; `updated_at` is set by trigger, of what differs.
            statement = f'SELECT tenant_id, updated_at = now() AS is_changed FROM "{name}" WHERE id = $1'  # noqa: S608
            found = await transaction.fetch(statement, UUID(row_id))
            return [
                View(viewed[tables[name]], UUID(row_id), row["tenant_id"])
                for row in found
                if is_read or not row["is_changed"]
            ]
        case ["api", "tables", name, _] if name in tables and is_read and _is_noted(tables[name], transaction):
            return [Listing("list", 1)]
    return []


def _is_noted(table: type[Table], transaction: BoundTransaction) -> bool:
    """Whether a row of a table whose views do not count is noted all the same: an operator of the platform looks
    across tenants, and an entry of the trail may hold a whole case."""
    scope = transaction.scope
    return "trail" in table._meta.tags or (scope is not None and scope.tenant_id is None)
