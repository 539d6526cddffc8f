"""Names and texts as an error or a log may show them: a star where an identifier would be repeated."""

import re

from phi.recognisers import SHORTEST, recognise
from phi.spans import plain

STAR = "*"
# As a whole these are no names of fields: many digits, perhaps behind a few letters; words with capitals.
_NUMBER_ALONE = re.compile(r"[A-Za-z]{0,4}[- ]?\d[\d\- ]{5,}[A-Za-z]?")
_WORDS = re.compile(r"[A-Z][a-z]+,? (?:[A-Z]\.? )?[A-Z][a-z'-]+")


def holds_identifier(text: str) -> bool:
    """Whether anything in the text looks like an identifier of a person."""
    return len(text) >= SHORTEST and bool(recognise(plain(text)))


def shown(name: str) -> str:
    """A name that a client made up, or a star if it is or holds an identifier itself."""
    if len(name) < SHORTEST:
        return name
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
