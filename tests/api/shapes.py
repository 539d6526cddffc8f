"""Rows in the shape that was asked for."""

from typing import Any

import httpx


async def rows_of(client: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    """The rows of a list."""
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


async def row_of(client: httpx.AsyncClient, table: str, row_id: object, query: str = "") -> dict[str, Any]:
    """One row, which a list must show in the same shape."""
    answer = await client.get(f"/api/{table}/{row_id}/?{query}")
    assert answer.status_code == 200, answer.text
    row: dict[str, Any] = answer.json()
    # `id` may be left out of the shape, so it is the filter that finds the row.
    assert await rows_of(client, f"/api/{table}/?id={row_id}&{query}") == [row]
    return row
