"""What the tables themselves call for, by table and path: the one place that says what the guard leaves alone.

A path names the column, then the keys below it; `*` is any key or index. Exempt is the value at that place, from the
kinds that are named or from all of them, and the key that leads there; what is below is looked at as usual.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from phi.kinds import Kind

EVERY_KIND = frozenset(Kind)
# Names and addresses of people who work at the clinic, or write to it; what identifies a patient stays refused.
_OF_STAFF = frozenset({Kind.name, Kind.email, Kind.phone, Kind.address})
Path = tuple[str, ...]


class Exemption(NamedTuple):
    """From which kinds a value is exempt, and, where that depends on it, for which values."""

    kinds: frozenset[Kind] = EVERY_KIND
    values: Callable[[str], object] = bool


EXEMPTIONS: Mapping[str, Mapping[Path, Exemption]] = {
    "tenants": {("name",): Exemption(_OF_STAFF)},
    "users": {("email",): Exemption(_OF_STAFF), ("name",): Exemption(_OF_STAFF)},
    "ingestions": {
        # The key is the source's type, and the address that of who sent the request.
        ("source_metadata", "email"): Exemption(),
        ("source_metadata", "email", "from"): Exemption(_OF_STAFF),
    },
    "cases": {
        # They name fields, and their values are numbers.
        ("confidence_json", "fields", "*"): Exemption(),
        # The payer's own number, whatever it looks like.
        ("authorization_number",): Exemption(),
        # Hashed before anything is stored.
        ("member_id",): Exemption(),
        # Only what is a hash: anything else is looked at like any other text.
        ("member_id_hash",): Exemption(
            values=re.compile(r"[0-9a-f]{64}|hash_[a-z0-9_]{1,200}", re.IGNORECASE).fullmatch
        ),
    },
}
_COLUMNS = frozenset((table, path[0]) for table, paths in EXEMPTIONS.items() for path in paths)
_NONE: frozenset[Kind] = frozenset()


def exempt_kinds(table: str, path: tuple[str | int, ...], value: object) -> frozenset[Kind]:
    """The kinds that the value at this place may be of."""
    if (table, path[0]) not in _COLUMNS:
        return _NONE
    for pattern, exemption in EXEMPTIONS[table].items():
        if len(pattern) != len(path):
            continue
        if all(step in ("*", taken) for step, taken in zip(pattern, path, strict=True)):
            return exemption.kinds if not isinstance(value, str) or exemption.values(value) else _NONE
    return _NONE
