"""What a client may write into a row: types, required fields, the server's own columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from piccolo.table import Table
from pydantic import BaseModel, ValidationError

from api.crud.body import is_same
from api.crud.derived import Derived
from api.crud.models import create_body, field_errors, patch_body, server_columns
from api.crud.screening import screen_of
from api.encoding import dump_json
from api.problems import MAX_ERRORS, FieldError, Problem, invalid
from tenancy.derivations import Derivers
from tenancy.identity import Identity
from tenancy.rules import Change, Rule, RuleViolation
from tenancy.tables import Role

Row = dict[str, Any]


class BodyValidator:
    """Checks bodies against a table, and against the rules that the domain gave it."""

    def __init__(self, table: type[Table], rules: Sequence[Rule], derivers: Derivers) -> None:
        self._name = table._meta.tablename
        self._create: type[BaseModel] = create_body(table)
        self._patch: type[BaseModel] = patch_body(table)
        self._server_columns = server_columns(table)
        # What the database fills in: a whole row that leaves it out keeps it.
        self._kept: frozenset[str] = frozenset(getattr(table, "kept_columns", ()))
        self._required = {column._meta.name for column in table._meta.columns if not column._meta.null}
        self._rules = rules
        self._derived = Derived(table, derivers)

    def permit(self, role: Role, values: Mapping[str, Any], stored: Row | None) -> None:
        """What the role may not is said before the content is looked at. Raises `Forbidden`."""
        for rule in self._rules:
            try:
                rule(Change(role=role, values=values, stored=stored))
            except RuleViolation:
                continue

    def new_row(self, identity: Identity, data: Row, given: Mapping[str, Any]) -> Row:
        """The values of a row to insert. The server's columns may say only what is `given`."""
        data = {name: value for name, value in data.items() if value is not None or name not in self._server_columns}
        values = self._values(identity, data, given, partial=False)
        self._obey(identity.role, values, None)
        return values

    def change(
        self, identity: Identity, data: Row, stored: Mapping[str, Any], *, whole: bool, is_screened: bool = False
    ) -> Row:
        """The values to change. The server's columns may be sent back as they are `stored`. `is_screened`: that there
        is nothing in them that identifies a patient is known.

        Raises `Problem` 422, `Forbidden`, and `StoredRowNeeded` for an unknown row.
        """
        values = self._values(identity, data, stored, partial=not whole, is_screened=is_screened)
        self._obey(identity.role, values, stored)
        return values

    def _values(
        self, identity: Identity, data: Row, unchanged: Mapping[str, Any], *, partial: bool, is_screened: bool = False
    ) -> Row:
        """Raises `Problem` 422 that names every field at fault."""
        data, errors = self._derived.replace(data, identity.tenant_id)
        errors += [
            FieldError((name,), "is set by the server and cannot be changed")
            for name in sorted(self._server_columns & data.keys())
            if not is_same(data[name], unchanged.get(name))
        ]
        own = {name: value for name, value in data.items() if name not in self._server_columns}
        model = self._patch if partial else self._create
        unknown = own.keys() - model.model_fields.keys()
        if len(unknown) > MAX_ERRORS:  # Pydantic would write an error for each of a million.
            raise invalid(FieldError((name,), "is not a field of this table") for name in sorted(unknown))
        try:
            values = model.model_validate_json(dump_json(own))
        except ValidationError as error:
            raise invalid([*errors, *field_errors(error)]) from None
        names = own if partial else [name for name in model.model_fields if name in own or name not in self._kept]
        found: Row = {name: getattr(values, name) for name in names}
        errors += [
            FieldError((name,), "cannot be null")
            for name, value in found.items()
            if value is None and name in self._required
        ]
        screen = None if is_screened else screen_of(identity, self._name)
        if screen is not None:
            errors += screen(own)
        if errors:
            raise invalid(errors)
        return found

    def _obey(self, role: Role, values: Row, stored: Mapping[str, Any] | None) -> None:
        for rule in self._rules:
            try:
                rule(Change(role=role, values=values, stored=stored))
            except RuleViolation as violation:
                raise invalid([FieldError(violation.path, violation.message)]) from None


def at_index(problem: Problem, index: int) -> Iterable[FieldError]:
    """The errors of one row of many, with the way to it."""
    if not problem.errors:
        yield FieldError((index,), problem.detail)
    for error in problem.errors:
        yield FieldError((index, *error.path), error.message)
