"""Names of routes for logs and metrics: paths with their variable parts taken out, few labels and no identifier."""

from collections.abc import Iterable

from tenancy.actions import Action
from tenancy.permissions import PERMISSIONS

_FIRST_PARTS = frozenset({"me", *(table for table, _ in PERMISSIONS)})
_COLLECTION_PARTS = frozenset({"accept", "ids", "count", "new", "schema", "references"})
_ROW_PARTS = frozenset({"history", "restore"})
_SERVICE = frozenset({"", "healthz", "readyz", "metrics", "openapi.json"})


class RouteNames:
    """Knows the paths of CRUD, and of these actions."""

    def __init__(self, actions: Iterable[Action]) -> None:
        named = [(action.place, action.name) for action in actions]
        self._first = _FIRST_PARTS | {name for place, name in named if place == "api"}
        self._collection = _COLLECTION_PARTS | {name for place, name in named if place == "table"}
        self._row = _ROW_PARTS | {name for place, name in named if place == "row"}

    def of(self, path: str) -> str:
        """The name of the route that a path leads to."""
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 1:
            return self._of_api(parts)
        if parts[0] in ("admin", "docs"):
            return f"/{parts[0]}/"
        return f"/{parts[0]}" if parts[0] in _SERVICE else "other"

    def _of_api(self, parts: list[str]) -> str:
        first = parts[1] if parts[1] in self._first else "unknown"
        if len(parts) == 2:
            return f"/api/{first}/"
        is_named = parts[1:] == ["events", "stream"] or (len(parts) == 3 and parts[2] in self._collection)
        below = f"{parts[3]}/" if len(parts) == 4 and parts[3] in self._row else ""
        return f"/api/{first}/{parts[2] if is_named else '{id}'}/{below}"
