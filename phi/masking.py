"""Names and texts as an error or a log may show them: a star where an identifier would be repeated."""

import re

from phi.kinds import Kind
from phi.names import is_person
from phi.recognisers import SHORTEST, UUID, kinds_in, recognise
from phi.spans import plain

STAR = "*"
LONGEST_SHOWN = 400
# As a whole these are no names of fields: many digits, perhaps behind a few letters; words with capitals.
_NUMBER_ALONE = re.compile(r"[A-Za-z]{0,4}[- ]?\d[\d\- ]{5,}[A-Za-z]?")
_WORDS = re.compile(r"[A-Z][\w'-]+,? (?:[A-Z]\.? ?)?(?:[A-Z][\w'-]+)?")


def holds_identifier(text: str) -> bool:
    """Whether anything in the text looks like an identifier of a person."""
    return len(text) >= SHORTEST and bool(recognise(plain(text)))


def kinds_of_name(name: str) -> list[Kind]:
    """What a key is itself, if it is an identifier: `123-45-6789`, `Jane Roe`."""
    return kinds_in(name) or ([Kind.name] if is_person(plain(name)) else [])


def shown(name: str) -> str:
    """A name that a client made up, or a star if it is, holds, or may well be an identifier."""
    if len(name) < SHORTEST or UUID.fullmatch(name):
        return name
    name = name[:LONGEST_SHOWN]
    return STAR if _NUMBER_ALONE.fullmatch(name) or _WORDS.fullmatch(name) or holds_identifier(name) else name


def masked(text: str) -> str:
    """The text with a star for each identifier in it."""
    readable = plain(text)
    spans = recognise(readable)
    if not spans:
        return text
    parts: list[str] = []
    at = 0
    for span in sorted(spans):
        if span.end <= at:
            continue
        parts += [readable[at : max(at, span.start)], STAR]
        at = span.end
    return "".join([*parts, readable[at:]])
