"""Looks through the values that a client writes into a row, and tells where something could identify a patient."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from string import digits
from typing import Any, NamedTuple

from phi.exemptions import EVERY_KIND, exempt_kinds
from phi.keys import kind_of_key, words_of
from phi.kinds import Kind
from phi.masking import STAR, kinds_of_name, shown
from phi.recognisers import kinds_in
from phi.words import words

MOST = 100
# Words that, as a key, say of a text what it would otherwise have to say itself.
_LABELS = words("keys that label their text")
# `{"label": "MRN", "value": "0012345"}`: the one says what the other is.
_PAIR_LABELS = ("label", "key", "field", "name", "type", "system", "question", "title", "code", "display", "kind")
_PAIR_VALUES = ("value", "text", "answer", "val", "content", "data", "response")
_HAS_VALUE = frozenset(_PAIR_VALUES)
_BARE_NUMBERS = (Kind.ssn, Kind.phone)
_LONGEST_LABELLED = 200
# What a key that is itself a value has, at least.
_MAY_BE_VALUE = re.compile(r"[@\s]|\d\D{0,3}\d\D{0,3}\d\D{0,3}\d")
_FEW = 4
Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """Where something was found, and what may be said of it. The path does not repeat a key that is a value itself."""

    path: Path
    message: str


def findings(table: str, values: Mapping[str, Any]) -> list[Finding]:
    """What must not be stored, among values of a row by column; the first hundred."""
    found: list[Finding] = []
    for column, value in values.items():
        if isinstance(value, str):
            found += _of_text(table, (column,), _traits(column, "")[1], value)
        elif isinstance(value, dict | list) and value:
            found += islice(_below(table, (column,), column, value), MOST)
        if len(found) >= MOST:
            return found[:MOST]
    return found


def _below(table: str, path: Path, above: str, value: Any) -> Iterator[Finding]:
    """Of an object or a list, with all that is in it. `above` is the last key on the way."""
    if isinstance(value, list):
        context = _traits(above, "")[1]
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield from _of_text(table, (*path, index), context, item)
            elif isinstance(item, dict | list):
                yield from _below(table, (*path, index), above, item)
    else:
        yield from _in_object(table, path, above, value)


def _in_object(table: str, path: Path, above: str, value: Mapping[str, Any]) -> Iterator[Finding]:
    pair = _kind_of_pair(value)
    for key, item in value.items():
        kind, context, may_be_value = _traits(key, above)
        if kind is not None and kind not in exempt_kinds(table, (*path, key), item):
            yield Finding((*path, shown(key)), kind.of_key)
            continue
        name = key
        if may_be_value and (kinds := kinds_of_name(key)):
            name = STAR
            yield from (Finding((*path, name), kind.of_value) for kind in kinds)
        if isinstance(item, str):
            if pair is not None and key in _PAIR_VALUES and item.strip():
                yield Finding((*path, name), pair.of_value)
            else:
                yield from _of_text(table, (*path, name), context, item)
        elif isinstance(item, dict | list):
            yield from _below(table, (*path, name), key, item)


def _of_text(table: str, path: Path, context: str, text: str) -> Iterable[Finding]:
    """`context` are the words that the text's own key says in front of it, if they matter."""
    exempt = exempt_kinds(table, path, text)
    if exempt is EVERY_KIND:
        return ()
    found = kinds_in(text)
    if context and len(text) < _LONGEST_LABELLED:
        labelled = kinds_in(f"{context}: {text}")
        # A code that is called one is nobody's number: `{"snomed": "109838007"}`.
        found = [kind for kind in found if kind not in _BARE_NUMBERS or kind in labelled] or labelled
    return [Finding(path, kind.of_value) for kind in found if kind not in exempt]


def _kind_of_pair(value: Mapping[str, Any]) -> Kind | None:
    """What the object's own label says that its value is."""
    if _HAS_VALUE.isdisjoint(value):
        return None
    for name in _PAIR_LABELS:
        label = value.get(name)
        if isinstance(label, str) and 2 < len(label) <= 60:
            kind = kind_of_key(label)
            if kind is not None and words_of(label) != ["name"]:
                return kind
    return None


def _traits(key: str, above: str) -> tuple[Kind | None, str, bool]:
    """What the key is for, if it must not be; the words that it puts in front of its text; and whether it may be a
    value itself."""
    stem = key.rstrip(digits)
    if len(key) < len(stem) + _FEW and stem.replace("_", "").isalpha() and (not above or above.isidentifier()):
        return *_known_traits(stem, above), False
    return *_traits_of(key, above), _MAY_BE_VALUE.search(key) is not None


def _traits_of(key: str, above: str) -> tuple[Kind | None, str]:
    parts = words_of(key)
    return kind_of_key(key, above), " ".join(parts) if _LABELS.intersection(parts) else ""


# What is kept in memory is names, without a number in them.
_known_traits = lru_cache(4096)(_traits_of)
