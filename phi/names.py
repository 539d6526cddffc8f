"""Names of persons that are called so: `Patient: Jane Roe`, `Mrs. Roe`, `member John Q. Public`, `name is …`.

Where a name may stand is told by the words around it; whether one stands there, by `phi.name_words`.
"""

import re
from collections.abc import Iterator
from typing import Literal

from phi.kinds import Kind
from phi.name_words import Token, begins_name, name_end, tokens_at
from phi.spans import Span, before
from phi.words import any_of, words

Label = Literal["named", "name", "colon", "direct", "title", "about", "re", "aged"]

_PERSONS = words("labels of persons")
_NAMES = words("labels of names")
_TITLES = words("titles")
# What it is about, or from whom: what follows is a name only if a given name is in it.
_ABOUT = words("labels of subjects")
_TRIGGERS = _PERSONS | _NAMES | _TITLES | _ABOUT
_TRIGGER = re.compile(rf"\b(?<!['-])(?:{any_of(_TRIGGERS)})(?![a-z])")
_TO_BLANKS = {ord(sign): " " for sign in "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~0123456789"}
_OWN_NAMES = (
    r"(?:(?:first|last|middle|full|legal|given|family|maiden|preferred|birth|complete)[ _-]){0,3}"
    r"(?:names?|surname|forename|initials|f[ _]?name|l[ _]?name)\b"
)
_OPEN = r"[\"'(\[*]{0,2}"
_JOIN = (
    r"(?:\s{0,2}\([^()]{0,30}\))?\s{0,3}(?:(?:on (?:file|record|the card)|of record)\s)?(?:(?:[:=#|*>-]{1,3}|,|"
    rf"\b(?:is|was|as|reads?|shown as|listed as|given as|recorded as)\b)\s{{0,3}}){{0,2}}{_OPEN}"
)
_NAMED = re.compile(rf"(?:'s|s')?[ _-]{{1,2}}{_OWN_NAMES}{_JOIN}")
_NAME_OF = re.compile(rf" of (?:the |this |our )?{any_of(_PERSONS)}\b{_JOIN}")
_NAME_IS = re.compile(rf"(?:\s{{0,2}}\([^()]{{0,30}}\))?\s{{0,2}}(?:[:=|]|\b(?:is|was)\b|-\s)\s{{0,3}}{_OPEN}")
_COLON = re.compile(rf"(?:'s)?(?:\s{{0,2}}\([^()]{{0,30}}\))?\s{{0,2}}(?:[:=|#]{{1,2}}|\s-{{1,2}}\s)\s{{0,3}}{_OPEN}")
_DIRECT = re.compile(r"(?:\s?\(|\s{1,2}|,\s{0,2})(?:(?:is|was|named|called|known as|identified as)\s{1,2})?")
_TITLE = re.compile(r"\.?\s{0,2}")
_OF = re.compile(r"(?: (?:of|for|is|by|today|back|with|to)\b){0,2}[\s:,-]{1,3}(?:(?:our|my|your) )?")
_AGE = re.compile(
    r",?\s{1,2}(?:\(|is |was )?(?:an? |the |our )?(?:\d{1,3}[- ]?(?:years?|yrs?|y\.?/?o\b|y\.o|months?|weeks?|days?)|"
    r"\(?\d{1,3}\s?(?:f|m|yo|y)\b|\(?(?:age|aged) \d{1,3})"
)
_HAS_AGE = re.compile(r"\d[- ]?(?:year|yr|y\.?/?o|month|week|day|[fmy]\b)|age[d]? \d")
_BEHIND = re.compile(
    r"\s?(?:\(|,\s?(?:the |a |our )?|\s-\s)(?:patient|member|subscriber|insured|beneficiary|pt|dob)\b"
    r"(?!'|\s?(?:portal|care|has a))"
)
_CAPITALISED = re.compile(r"(?<![\w'-])[^\W\d_a-z](?:[^\W\d_]|[-'.](?=[^\W\d_])){0,30}\.?,? [^\W\d_]")
_THING_BEFORE = re.compile(
    r"\b(?:rep|representative|agent|clerk|staff|employee|manager|coordinator|drug|brand|generic|trade|file|procedure|payer|payor|plan|facility|provider|physician|doctor|prescriber|"
    r"hospital|clinic|practice|test|lab|laboratory|device|product|medication|medicine|diagnosis|insurance|insurer|"
    r"carrier|company|organization|pharmacy|surgeon|radiologist|group|center|vendor|supplier|manufacturer|study|program|"
    r"policy|document|form|code|field|column|table|template|user|host|domain|species|gene|organism|compound|therapy|"
    r"exam|series|employer|school|agency|reviewer|nurse|therapist|specialist|the|a|its|whose|no|in|by|under)(?:'s)?"
    r"[ _-](?:(?:first|last|full|legal)[ _-])?$"
)
_TREATS_BEFORE = re.compile(r"(?:\bdrs?\b\.?|\bdoctor|\bprof\b\.?|\bnurse|\bprovider:?|\bphysician:?)\s{0,2}$")
_CREDENTIALS = re.compile(
    r",?\s{0,2}(?:m\.?d\b|d\.?o\b|n\.?p\b|p\.?a(?:-c)?\b|r\.?n\b|dpt\b|ph\.?d\b|pharmd|aprn|dds|dpm|lcsw|at (?:the )?"
    r"(?:payer|aetna|cigna|humana|plan|insur))"
)


def find_names(text: str, lower: str) -> Iterator[Span]:
    """What stands behind a label, in front of an age or of `(patient)`, if it looks like a person's name."""
    if _TRIGGERS.isdisjoint(lower.translate(_TO_BLANKS).split()):
        return
    for match in _TRIGGER.finditer(lower):
        for label, start in _places(text, lower, match):
            end = name_end(label, tokens_at(text, start), shouted=text[match.start() : match.end()].isupper())
            if end and not (label in ("direct", "about") and _CREDENTIALS.match(lower, end)):
                yield Span(start, end, Kind.name)
                break
    if _BEHIND.search(lower):
        yield from _names_in_front(text, lower)


def find_names_with_age(text: str, lower: str) -> Iterator[Span]:
    """`Jane Roe, a 54-year-old woman`."""
    if _HAS_AGE.search(lower):
        yield from _names_in_front(text, lower)


def is_person(text: str) -> bool:
    """Whether the text is a person's name, and nothing else."""
    tokens = tokens_at(text, 0)
    return len(tokens) > 1 and name_end("about", tokens, shouted=False) == tokens[-1].end == len(text)


def _places(text: str, lower: str, match: re.Match[str]) -> Iterator[tuple[Label, int]]:
    """Where a name may begin because of this word, and by how strong a label."""
    word, at = match[0], match.end()
    if word in _PERSONS:
        yield from _after_person(text, lower, at)
    elif word in _NAMES:
        if found := _NAME_OF.match(lower, at):
            yield "named", found.end()
        elif (found := _NAME_IS.match(lower, at)) and not _THING_BEFORE.search(before(lower, match.start(), 32)):
            yield "name", found.end()
    elif word in _TITLES and (found := _TITLE.match(lower, at)):
        # MR is a kind of imaging, and MS a disease.
        is_sure = text[match.start() : at] not in ("MR", "MS") or "." in found[0]
        yield "title" if is_sure else "about", found.end()
    elif (found := _OF.match(lower, at)) and begins_name(text, found.end()):
        is_sure = word == "behalf" or (word in ("re", "regarding", "contact") and ":" in found[0])
        yield "re" if is_sure else "about", found.end()


def _after_person(text: str, lower: str, at: int) -> Iterator[tuple[Label, int]]:
    if found := _NAMED.match(lower, at):
        yield "named", found.end()
    elif found := _COLON.match(lower, at):
        yield "colon", found.end()
    elif (found := _DIRECT.match(lower, at)) and begins_name(text, found.end()):
        yield "direct", found.end()


def _names_in_front(text: str, lower: str) -> Iterator[Span]:
    """`Jane Roe, a 54-year-old woman`, `Jane Roe (patient)`."""
    for match in _CAPITALISED.finditer(text):
        if _TREATS_BEFORE.search(before(lower, match.start(), 16)):
            continue
        tokens = tokens_at(text, match.start())
        for first in range(len(tokens) - 1):  # "Today Jane Roe, 54 years old": the name is what stands last.
            end = name_end("aged", tokens[first:], shouted=False)
            if end and (_AGE.match(lower, end) or _BEHIND.match(lower, end)):
                yield Span(_start(tokens[first]), end, Kind.name)
                break


def _start(token: Token) -> int:
    return token.end - len(token.text)
