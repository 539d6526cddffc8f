"""What each role may do, per table. The only place that says so; everything asks here.

The API and the admin GUI ask before they touch the database; the database's own grants are
the union over the roles, and its policies keep tenants apart.
"""

from enum import Enum

from tenancy.tables import Role


class Operation(str, Enum):
    """The letters of the contract's table."""

    read = "read"
    create = "create"
    update = "update"
    delete = "delete"


_LETTERS = {"R": Operation.read, "C": Operation.create, "U": Operation.update, "D": Operation.delete}

#                  staff   clinician  admin
_TABLE = {
    "tenants": ("R", "R", "RU"),
    "users": ("R", "R", "RCUD"),
    "ingestions": ("RCU", "RCU", "RCUD"),
    "cases": ("RCU", "RCU", "RCUD"),
    "case_codes": ("RCUD", "RCUD", "RCUD"),
    "tasks": ("RCU", "RCU", "RCUD"),
    "rulesets": ("R", "R", "RCUD"),
    "events": ("R", "R", "R"),
    "audit_logs": ("", "", "R"),
    "access_logs": ("", "", "R"),
}
_COLUMNS = (Role.staff, Role.clinician, Role.admin)

PERMISSIONS: dict[tuple[str, Role], frozenset[Operation]] = {
    (table, role): frozenset(_LETTERS[letter] for letter in letters)
    for table, row in _TABLE.items()
    for role, letters in zip(_COLUMNS, row, strict=True)
}

DECIDING_ROLES = frozenset({Role.clinician, Role.admin})


class Forbidden(Exception):
    """The role may not do this; the message says what it may not."""


def allowed_to_any(table: str) -> frozenset[Operation]:
    """What at least one role may do with a table."""
    return frozenset().union(*(PERMISSIONS.get((table, role), frozenset()) for role in Role))


def is_allowed(role: Role, table: str, operation: Operation) -> bool:
    """Unknown tables allow nothing."""
    return operation in PERMISSIONS.get((table, role), frozenset())


def require(role: Role, table: str, operation: Operation) -> None:
    """Raises `Forbidden` unless the role may."""
    if not is_allowed(role, table, operation):
        raise Forbidden(f"The role {role.value} may not {operation.value} {table}.")


def permissions_of(role: Role) -> dict[str, list[str]]:
    """Every table with the operations that the role has on it, in a stable order."""
    return {table: [o.value for o in Operation if is_allowed(role, table, o)] for table in _TABLE}
