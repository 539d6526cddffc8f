"""What an operator writes in Piccolo Admin, looked at before the admin's own CRUD sees it."""

import json
from collections.abc import Mapping
from typing import Any

from piccolo.columns import JSON, JSONB
from piccolo.table import Table

from api.crud.screening import screen_of
from api.exchange import Scope
from api.problems import Problem, invalid
from tenancy.identity import OperatorIdentity

_WRITES = ("POST", "PUT", "PATCH")


def refusal_of(
    operator: OperatorIdentity, tables: Mapping[str, type[Table]], scope: Scope, body: bytes
) -> Problem | None:
    """Why the row in the body must not be stored. What is no row, the admin refuses itself."""
    match scope["path"].strip("/").split("/")[1:]:
        case ["api", "tables", name, *_] if name in tables and scope["method"] in _WRITES:
            screen = screen_of(operator, name)
        case _:
            return None
    if screen is None:
        return None
    try:
        row = json.loads(body)  # As the admin reads it: what it takes for JSON, this must, too.
        errors = screen(_opened(tables[name], row)) if isinstance(row, dict) else []
    except (ValueError, RecursionError):
        return Problem(400, "The request cannot be understood.")
    return invalid(errors) if errors else None


def _opened(table: type[Table], row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its documents, which the admin's page sends as texts that hold JSON."""
    documents = {column._meta.name for column in table._meta.columns if isinstance(column, JSON | JSONB)}
    return {name: _document(value) if name in documents else value for name, value in row.items()}


def _document(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
