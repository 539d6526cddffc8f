"""A text as the recognisers read it, and where in it something was recognised."""

import re
import unicodedata
from typing import NamedTuple

from phi.kinds import Kind

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_QUOTES = "\u2018\u2019\u201b\u02bc\uff07\u00b4"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_ONE_FOR_ONE = str.maketrans({
    **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_QUOTES, "'"),
    **dict.fromkeys(_INVISIBLE, None),
})  # fmt: skip
_CODE = (
    r"\b(?:npi|ndc|snomed|loinc|rxnorm|rxcui|cpt|hcpcs|icd|gtin|udi|upc|dea|nct|cas|reference|ref|auth(?:orization)?|"
    r"pre-?auth(?:orization)?|prior auth(?:orization)?|claim|case|order|accession|acc|lot|batch|serial|model|catalog|"
    r"part|item|invoice|ticket|tracking|confirmation|request|transaction|document|specimen|sample|study|trial|protocol|"
    r"version|code|concept|procedure|policy|bulletin|ncd|lcd|drg|bin|pcn|license|device|cohort|trace|build|tax|ein|"
    r"job|submission|encounter|visit|id|identifier|approval|denial|cert(?:ification)?|precert(?:ification)?|notification|receipt|check|remit(?:tance)?|eob|icn|"
    r"dcn|tcn|episode|intake|srn?|po|rx|prescription|product|sku|terminal|stock|referral|determination|decision|appeal|session|message|event|isbn|pmid|pmcid|doi|dicom|uid|ruleset|"
    r"(?:group|plan|payer|provider|facility|pharmacy|clinic|vendor|site|taxonomy|location|practice)\s+"
    r"(?:id|identifier|number|num|no|code|#))\b"
)
_CALLED = r"number|numbers|num|no|nr|id|ids|code|codes|ct|concept|line|item|sct|cm|v"
_CODE_WORD = re.compile(_CODE)
_CODE_BEFORE = re.compile(
    rf"{_CODE}(?:[^a-z0-9]{{0,4}}(?:{_CALLED}|is|was|of|for|under|and|or|the)\b){{0,3}}[^a-z0-9]{{0,5}}$"
)
_CODE_CALLED = re.compile(rf"{_CODE}(?:[^a-z0-9]{{0,4}}(?:{_CALLED}|is|was)\b){{0,3}}[^a-z0-9]{{0,5}}$")
_REACH = 48


class Span(NamedTuple):
    """Something that was recognised, in a text that `plain` made."""

    start: int
    end: int
    kind: Kind


def plain(text: str) -> str:
    """The text with one sort of dashes, blanks, digits and quotes, and without what cannot be seen."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_ONE_FOR_ONE)


def lowered(text: str) -> str:
    """In lower case, each character at its old place."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := character.lower()) == 1 else character for character in text)


def before(lower: str, start: int, reach: int = _REACH) -> str:
    """What stands in front of a place."""
    return lower[max(0, start - reach) : start]


def is_code(lower: str, start: int) -> bool:
    """Whether the number at `start` is announced as the code of something that is no person."""
    return _CODE_BEFORE.search(before(lower, start)) is not None


def is_near_code(lower: str, start: int, end: int) -> bool:
    """Whether such a word is anywhere near: what only its digits make suspicious is let through then."""
    return _CODE_WORD.search(before(lower, start)) is not None or _CODE_WORD.search(lower, end, end + 32) is not None


def is_called_code(lower: str, start: int) -> bool:
    """The same in fewer words: what looks so much like something else is a code only when it is called one outright."""
    return _CODE_CALLED.search(before(lower, start)) is not None
