"""Pydantic models of a table, built once: what a client may send.

Piccolo's own generator makes strings of JSON columns and knows no closed sets; PiccoloCRUD
builds its models anew for every request.
"""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal

from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    Array,
    Boolean,
    Column,
    Date,
    DoublePrecision,
    ForeignKey,
    Numeric,
    Real,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.constraints import Unique
from piccolo.table import Table
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    create_model,
)

from api.problems import FieldError
from api.query.values import INTEGER_BITS
from api.times import in_range
from tenancy.json_documents import known_documents

MAX_ITEMS = 1000
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this table",
    "dict_type": "Input should be an object",
    "list_type": "Input should be a valid array",
}
SERVER_COLUMNS = ("id", "tenant_id", "created_at", "updated_at")


def _to_utc(value: datetime) -> datetime:
    try:
        return in_range(value.astimezone(UTC))
    except OverflowError:
        raise ValueError("is out of range") from None


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]


def _whole(bits: int) -> Any:
    return Annotated[int, Field(ge=-(2 ** (bits - 1)), lt=2 ** (bits - 1))]


_TYPES: dict[type, Any] = {
    UUID: uuid.UUID,
    ForeignKey: uuid.UUID,
    Boolean: bool,
    Timestamptz: UtcTime,
    Date: date,
    DoublePrecision: Annotated[float, Field(allow_inf_nan=False)],
    Real: Annotated[float, Field(allow_inf_nan=False)],
    Numeric: Annotated[Decimal, Field(allow_inf_nan=False)],
    **{kind: _whole(bits) for kind, bits in INTEGER_BITS.items()},
}


def server_columns(table: type[Table]) -> frozenset[str]:
    """The columns that the server sets: a client may only send them back unchanged."""
    own = getattr(table, "server_columns", ())
    return frozenset({*SERVER_COLUMNS, *own} & {c._meta.name for c in table._meta.columns})


def writable_columns(table: type[Table]) -> list[Column]:
    """The columns that a client may set."""
    return [column for column in table._meta.columns if column._meta.name not in server_columns(table)]


def unique_key(table: type[Table]) -> list[str] | None:
    """The columns of the table's unique key that a client may write, the tenant's among them."""
    writable = {column._meta.name for column in writable_columns(table)} | {"tenant_id"}
    for constraint in table._meta.constraints:
        names: list[str] = constraint.get_column_names() if isinstance(constraint, Unique) else []  # type: ignore[no-untyped-call]
        if names and set(names) <= writable:
            return names
    return None


@cache
def create_body(table: type[Table]) -> type[BaseModel]:
    """The body of POST and PUT: what is required is required, the rest has its default."""
    return _model(table, f"{table.__name__}In", partial=False)


@cache
def patch_body(table: type[Table]) -> type[BaseModel]:
    """The body of PATCH: whatever is there is changed."""
    return _model(table, f"{table.__name__}Patch", partial=True)


@cache
def output_model(table: type[Table]) -> type[BaseModel]:
    """A row as it is answered; for the documentation, rows are not validated."""
    fields: dict[str, Any] = {
        column._meta.name: (_type(column) | None if column._meta.null else _type(column), _field(column, ...))
        for column in table._meta.columns
        if not column._meta.secret
    }
    return create_model(f"{table.__name__}Out", **fields)


def field_errors(error: ValidationError) -> list[FieldError]:
    """Pydantic's errors, without the values that caused them."""
    return [
        FieldError(tuple(item["loc"]), _worded(item["type"], item["msg"], is_inside=len(item["loc"]) > 1))
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _worded(kind: str, message: str, *, is_inside: bool) -> str:
    if kind == "extra_forbidden" and is_inside:
        return "is not known here"
    return _WORDS.get(kind, message.removeprefix("Value error, "))


def _model(table: type[Table], name: str, *, partial: bool) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for column in writable_columns(table):
        kind = _input_type(table, column)
        nullable = kind | None if column._meta.null else kind
        if partial:
            fields[column._meta.name] = (nullable, _field(column, None))
        elif column._meta.required:
            fields[column._meta.name] = (nullable, _field(column, ...))
        else:
            fields[column._meta.name] = (nullable, _default(column))
    config = ConfigDict(extra="forbid", strict=True, title=name, json_schema_extra=_table_extra(table))
    return create_model(name, __config__=config, **fields)


def _input_type(table: type[Table], column: Column) -> Any:
    """What a client may send: stricter than the column's type where the domain has a type or a document for it."""
    name = column._meta.name
    own = getattr(table, "value_types", {}).get(name)
    if own is not None:
        return _many(own) if isinstance(column, Array) else own
    document = known_documents().get(f"{table._meta.tablename}.{name}")
    if document is None:
        return _type(column)
    # The columns' schemas name the document; here it would be a reference that leads nowhere.
    plain = WithJsonSchema({"type": "object", "additionalProperties": True})
    return Annotated[document, WrapValidator(_as_sent), plain]


def _as_sent(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """The document itself: a whole number stays one where any number may be."""
    check(value)
    return value


def _many(item: Any) -> Any:
    # Bounded: each faulty item would be an error of its own.
    return Annotated[list[item], Field(max_length=MAX_ITEMS)]


def _type(column: Column) -> Any:
    if column._meta.choices:
        return Literal[tuple(choice.value for choice in column._meta.choices)]
    shortest = 1 if column._meta.required else 0
    match column:
        case JSON() | JSONB():
            return dict[str, Any]
        case Array():
            return _many(_type(column.base_column))
        case Varchar():
            return Annotated[str, StringConstraints(min_length=shortest, max_length=column.length)]
        case Text():
            return Annotated[str, StringConstraints(min_length=shortest)]
    for kind in type(column).__mro__:
        if kind in _TYPES:
            return _TYPES[kind]
    raise TypeError(f"no type for {column!r}")


def _default(column: Column) -> Any:
    if isinstance(column, Array):
        return Field(default_factory=list, json_schema_extra={"extra": _column_extra(column)})
    default = column.get_default_value()
    return _field(column, default.value if isinstance(default, Enum) else default)


def _field(column: Column, default: Any) -> Any:
    return Field(default, description=column._meta.help_text, json_schema_extra={"extra": _column_extra(column)})


def _column_extra(column: Column) -> dict[str, Any]:
    """What PiccoloCRUD's /schema/ tells a form about a column."""
    extra: dict[str, Any] = {
        "help_text": column._meta.help_text,
        "choices": column._meta.get_choices_dict(),
        "secret": column._meta.secret,
        "nullable": column._meta.null,
        "unique": column._meta.unique,
    }
    match column:
        case ForeignKey():
            target = column._foreign_key_meta.resolved_references
            extra["foreign_key"] = {"to": target._meta.tablename, "target_column": "id"}
        case Text():
            extra["widget"] = "text-area"
        case JSON() | JSONB():
            extra["widget"] = "json"
        case Timestamptz():
            extra["widget"] = "timestamptz"
        case Array():
            extra["dimensions"] = column._get_dimensions()
    return extra


def _table_extra(table: type[Table]) -> dict[str, Any]:
    return {
        "extra": {
            "help_text": table._meta.help_text,
            "primary_key_name": table._meta.primary_key._meta.name,
            "visible_fields_options": [c._meta.name for c in table._meta.columns if not c._meta.secret],
        }
    }
