"""What a JSON column holds: the typed documents that an app keeps beside its tables.

An app that has JSON columns may have a module `documents.py` with
`DOCUMENTS: dict[str, type]`, a TypedDict for each `table.column`, which Pydantic understands.
"""

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

from piccolo.conf.apps import Finder
from pydantic import TypeAdapter

# What a JSON Schema says of a value, in words.
_LIMITS = {
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "at least {} long",
    "maxLength": "at most {} long",
    "maxItems": "at most {} items",
    "format": "a {}",
}


def known_documents() -> dict[str, type]:
    """The documents of every registered app, by `table.column`."""
    found: dict[str, type] = {}
    for config in Finder().get_app_registry().app_configs.values():
        module = f"{config.table_classes[0].__module__.rpartition('.')[0]}.documents"
        if importlib.util.find_spec(module):
            found |= importlib.import_module(module).DOCUMENTS
    return found


def document_schema(document: Any) -> dict[str, Any]:
    """The JSON Schema of a document, in one piece."""
    schema: dict[str, Any] = TypeAdapter(document).json_schema()
    return _whole(schema, schema.get("$defs", {}))


def document_fields(document: Any) -> Iterator[tuple[str, str, bool, str]]:
    """Dotted name, type, whether it is required, and meaning with the limits, of every field."""
    yield from _fields(document_schema(document), "")


def _whole(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it refers to in place, without titles."""
    schema = definitions.get(str(schema.get("$ref")).rpartition("/")[2], {}) | schema
    found = {name: value for name, value in schema.items() if name not in ("$defs", "$ref", "title")}
    if "properties" in found:
        found["properties"] = {name: _whole(value, definitions) for name, value in found["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            found[name] = _whole(found[name], definitions)
    if "anyOf" in found:
        found["anyOf"] = [_whole(value, definitions) for value in found["anyOf"]]
    return found


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, bool, str]]:
    for name, field in schema["properties"].items():
        meaning = " ".join(filter(None, (field.get("description"), _limits(field))))
        yield prefix + name, _kind(field), name in schema.get("required", ()), meaning
        if "properties" in field:
            yield from _fields(field, f"{prefix}{name}.")


def _kind(schema: dict[str, Any]) -> str:
    item = schema.get("items", schema.get("additionalProperties"))
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if isinstance(item, dict):
        return f"{schema['type']} of {_kind(item)}"
    return str(schema.get("type", "any value"))


def _limits(schema: dict[str, Any]) -> str:
    own = " ".join(words.format(schema[name]) for name, words in _LIMITS.items() if name in schema)
    item = schema.get("items", schema.get("additionalProperties"))
    each = _limits(item) if isinstance(item, dict) else ""
    said = [own[:1].upper() + own[1:] + "." if own else "", f"Each {each[:1].lower()}{each[1:]}" if each else ""]
    return " ".join(filter(None, said))
