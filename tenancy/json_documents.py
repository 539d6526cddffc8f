"""What a JSON column holds: the typed documents that an app keeps beside its tables.

An app that has JSON columns may have a module `documents.py` with
`DOCUMENTS: dict[str, type]`, a TypedDict for each `table.column`.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from piccolo.conf.apps import Finder

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any value", NoneType: "null"}


def known_documents() -> dict[str, type]:
    """The documents of every registered app, by `table.column`."""
    found: dict[str, type] = {}
    for config in Finder().get_app_registry().app_configs.values():
        module = f"{config.table_classes[0].__module__.rpartition('.')[0]}.documents"
        if importlib.util.find_spec(module):
            found |= importlib.import_module(module).DOCUMENTS
    return found


def document_fields(document: Any, prefix: str = "") -> Iterator[tuple[str, str, bool, str]]:
    """Dotted name, type, whether it is required, and meaning: the text of an `Annotated`."""
    for name, hint in get_type_hints(document, include_extras=True).items():
        if get_origin(hint) in (Required, NotRequired):
            hint = get_args(hint)[0]  # noqa: PLW2901  # The same hint, unwrapped.
        meaning = ""
        if get_origin(hint) is Annotated:
            hint, meaning = get_args(hint)[:2]  # noqa: PLW2901  # And again.
        yield prefix + name, _json_type(hint), name in document.__required_keys__, meaning
        if is_typeddict(hint):
            yield from document_fields(hint, f"{prefix}{name}.")


def _json_type(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is list:
        return f"array of {_json_type(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {_json_type(arguments[1])}"
    if origin in (Union, UnionType):
        return " or ".join(map(_json_type, arguments))
    return "object" if is_typeddict(hint) else _NAMES[hint]


def document_schema(hint: Any) -> dict[str, Any]:
    """The JSON Schema of a document; what a field means becomes its description."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Required, NotRequired):
        return document_schema(arguments[0])
    if origin is Annotated:
        return {**document_schema(arguments[0]), "description": arguments[1]}
    if origin is list:
        return {"type": "array", "items": document_schema(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": document_schema(arguments[1])}
    if origin in (Union, UnionType):
        return {"anyOf": [document_schema(argument) for argument in arguments]}
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        properties = {name: document_schema(item) for name, item in hints.items()}
        return {"type": "object", "required": sorted(hint.__required_keys__), "properties": properties}
    return {} if hint is Any else {"type": _NAMES[hint]}
