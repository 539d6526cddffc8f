"""The PHI guard, as the API asks it and words what it finds."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from api.problems import FieldError
from phi.guard import findings
from tenancy.identity import Identity, OperatorIdentity
from tenancy.tables import PhiGuard


def screen_of(
    identity: Identity | OperatorIdentity, table: str
) -> Callable[[Mapping[str, Any]], list[FieldError]] | None:
    """Looks at values for that table; None where the tenant has it off."""
    return partial(screened, table) if identity.phi_guard is PhiGuard.block else None


def screened(table: str, values: Mapping[str, Any]) -> list[FieldError]:
    """What must not be stored: the way there and the kind, never the value."""
    return [FieldError(path, message) for path, message in findings(table, values)]
