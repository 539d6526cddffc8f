"""What an answer of Piccolo Admin's own CRUD tells: seen in path and body, for the stock code leaves no note."""

from collections.abc import Mapping
from uuid import UUID

import orjson
from piccolo.table import Table

from api.exchange import HeldResponse, Scope
from api.looks import Listing, Look, View


async def looks_at_answer(
    tables: Mapping[str, type[Table]], viewed: Mapping[type[Table], str], scope: Scope, held: HeldResponse
) -> list[Look]:
    """The looks of a read that succeeded. For inside its transaction: the database is asked whose a row is."""
    if scope["method"] != "GET" or held.status != 200:
        return []
    match scope["path"].strip("/").split("/")[1:]:
        case ["api", "tables", name] if name in tables:
            return [Listing("list", len(orjson.loads(held.body)["rows"]))]
        case ["api", "tables", name, "ids"] if name in tables:
            return [Listing("list", len(orjson.loads(held.body)))]
        case ["api", "tables", name, "count"] if name in tables:
            return [Listing("list", None)]
        case ["api", "tables", name, "new" | "schema" | "references"]:
            return []
        case ["api", "tables", name, row_id] if name in tables and tables[name] in viewed:
            return [await _view(tables[name], viewed[tables[name]], UUID(row_id))]
    return []


async def _view(table: type[Table], entity: str, row_id: UUID) -> View:
    """An operator of the platform looks into the tenant that the row belongs to."""
    tenant = table._meta.get_column_by_name("tenant_id")
    row = await table.select(tenant).where(table._meta.primary_key == row_id).first()
    return View(entity, row_id, row["tenant_id"] if row else None)
