"""Fields that a client sends in place of a column, which is computed from them. None of their values is kept."""

from typing import Any
from uuid import UUID

from piccolo.table import Table

from api.problems import FieldError, Problem
from tenancy.derivations import Derivation, Deriver, Derivers, derivations_of

Row = dict[str, Any]


class Derived:
    """Puts what is computed, or what came ready-made, into the bodies of a table."""

    def __init__(self, table: type[Table], derivers: Derivers) -> None:
        self._fields = [(derivation, derivers.get(derivation.source)) for derivation in derivations_of(table)]

    def replace(self, data: Row, tenant_id: UUID) -> tuple[Row, list[FieldError]]:
        """The body with columns only, and what is wrong with the fields."""
        errors: list[FieldError] = []
        for derivation, deriver in self._fields:
            if deriver is not None and (derivation.source in data or isinstance(data.get(derivation.target), str)):
                data = dict(data)
                name = derivation.source if derivation.source in data else derivation.target
                try:
                    data[derivation.target] = _value(derivation, deriver, data, tenant_id)
                except ValueError as error:
                    errors.append(FieldError((name,), str(error)))
                    data[derivation.target] = name  # So that nobody misses it too: what has errors is not stored.
                data.pop(derivation.source, None)
        return data, errors


def refuse_raw(table: type[Table], derivers: Derivers, values: Any) -> None:
    """For whoever writes columns only: what does not pass for a ready-made one. Raises `Problem` 422."""
    for derivation in derivations_of(table) if isinstance(values, dict) else ():
        given = values.get(derivation.target)
        try:
            if isinstance(given, str) and derivers[derivation.source].accept(given) != given:
                raise ValueError("must be in lower case")
        except ValueError as error:
            fault = FieldError((derivation.target,), str(error))
            raise Problem(422, f"{fault.name} {fault.message}.", (fault,)) from None


def with_sources(table: type[Table], schema: Row) -> Row:
    """The JSON schema of a body of columns, with the fields that may stand for some of them."""
    for derivation in derivations_of(table):
        properties = schema["properties"]
        target = {
            name: value
            for name, value in properties[derivation.target].items()
            if name not in ("minLength", "maxLength")
        }
        properties[derivation.target] = {**target, "pattern": derivation.pattern}
        properties[derivation.source] = {
            "type": "string",
            "minLength": 1,
            "maxLength": derivation.longest,
            "description": derivation.help_text,
            "writeOnly": True,
        }
        if derivation.target in schema.get("required", ()):
            schema["required"] = [name for name in schema["required"] if name != derivation.target]
            schema["oneOf"] = [{"required": [name]} for name in (derivation.source, derivation.target)]
    return schema


def _value(derivation: Derivation, deriver: Deriver, data: Row, tenant_id: UUID) -> str:
    """Raises `ValueError`."""
    if derivation.source not in data:
        return deriver.accept(data[derivation.target])
    if derivation.target in data:
        raise ValueError(f"and {derivation.target} are two ways to say the same; give one")
    text = data[derivation.source]
    if not isinstance(text, str):
        raise ValueError("must be a text")
    return deriver.derive(tenant_id, text)
