"""Integers that a JSON parser would round: it makes floats of those that fit into no 64 bits."""

import re

_LONG = re.compile(rb"(?<![\d.eE+-])-?\d{19,4000}(?![\d.eE])")
# All digits as one, to be looked for faster than a pattern can.
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_NINETEEN = b"0" * 19
_STRING = re.compile(rb'"[^"]*"')


def holds_long_integer(document: bytes) -> bool:
    """Whether valid JSON holds one, in time that grows with its length only."""
    if _NINETEEN not in document.translate(_DIGITS) or not _LONG.search(document):
        return False
    # Without its escapes, a text ends at the next quote.
    bare = _STRING.sub(b"", document.replace(b"\\\\", b"").replace(b'\\"', b""))
    return any(not -(2**63) <= int(number) < 2**64 for number in _LONG.findall(bare))
