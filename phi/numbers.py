"""Social Security numbers, phone numbers and Medicare beneficiary identifiers, labelled or not.

The Medicare format: https://www.cms.gov/medicare/new-medicare-card/understanding-new-medicare-beneficiary-identifier-mbi
"""

import re
from collections.abc import Callable, Iterator

import phonenumbers
from stdnum.us import ssn

from phi.dates import DATE
from phi.kinds import Kind
from phi.spans import Span, before, is_called_code, is_code, is_near_code

# Enough digits, close enough to each other, for either of the first two.
MAY_HOLD = re.compile(r"\d(?:[-./() \t\n]{0,3}\d){6}")

# The first digit is looked for before what stands in front of it: a search by digits is quick.
_FIRST = r"\d(?:(?<![A-Za-z0-9]\d)|(?<=ssn\d)|(?<=SSN\d))"
_SSN = re.compile(
    rf"{_FIRST}(?<!\d[-./]\d)"
    r"(\d{2})(\s?-\s?|[ ./])(\d{2})\2(\d{4})(?:-?[A-Z]\d?)?(?![A-Za-z0-9]|[-./]\d)"
)
_NINE = re.compile(rf"{_FIRST}(?<![$.,]\d)(?<!\d[-/ ]\d)\d{{8}}(?![A-Za-z0-9%]|[-./,]\d)")
_SSN_BEFORE = re.compile(
    r"(?:\bs\.?\s?s\.?\s?n\b\.?|\bss\s?(?:#|no\b|num|number)|\bsocial\b|\bsoc\.?\s?sec\b|\bsocials\b|\bssn|\bitin\b|"
    r"\btaxpayer id)[^0-9]{0,32}$"
)
_PERSON_BEFORE = re.compile(r"\b(?:patient|pt|member|subscriber|beneficiary|insured|his|her|their|my)\b[^0-9.;]{0,30}$")
_UNIT_AFTER = re.compile(
    r"\s?(?:mg|mcg|g|kg|ml|l|dl|iu|units?|cells?|copies|vg|viral|vector|genomes?|cfu|pfu|mm|cm|u/|/|x10|million|usd|"
    r"dollars|rvus?|base pairs|bp|reads|steps)"
)

_PHONE = re.compile(
    r"(?<![A-Za-z0-9+])(?<!\d[-./])(?:(?:\+|00|011[-. ]{0,2})?1[-. /]{0,2})?"
    r"(?:\(\s?\d{3}\s?\)[-. /]{0,2}\d{3}(?P<p>[-. ]{0,3})\d{4}|\d{3}(?P<a>[-. /]{1,3})\d{3}(?P<b>[-. ]{0,3})\d{4})"
    r"(?!\d|[-./]\d|%)"
)
_TEN = re.compile(r"\d(?<![A-Za-z0-9$.,+]\d)(?<!\d[-/ ]\d)\d{9,10}(?![A-Za-z0-9%]|[-./,]\d)")
_HOUR = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])")
_ABROAD = re.compile(r"(?<![A-Za-z0-9])\+\s?\d(?:[-. ()/]{0,2}\d){6,14}(?!\d)")
_LOCAL = re.compile(r"(?<![A-Za-z0-9])(?<!\d[-./ ])\d{3}[-. ]\d{4}(?![A-Za-z0-9%]|[-./]\d)")
_LABELLED = re.compile(r"(?<![A-Za-z0-9$])\(?\+?\d(?:[-. ()/]{0,3}\d){6,14}(?![A-Za-z0-9%])")
_CALL = (
    r"(?:tele?phones?|phones?|tel|cell(?:ular)?(?: ?phone)?|mobile|fax(?:ed)?|ph|call(?:ed|ing|back)?|call-back|dial|"
    r"voice ?mail|sms|whatsapp|texts?|landline|beeper|pager|hotline|reach(?:ed|able)?)"
)
_GLUE = (
    r"(?:[^a-z0-9]{0,4}\b(?:number|num|no|nr|line|is|was|at|on|to|him|her|them|me|us|back|the|patient|pt|home|work|"
    r"office|mobile|cell|phone|contact|daytime|evening|primary|preferred|listed|as|of|record|file|or|and|via|by|"
    r"his|their|member|daughter|son|wife|husband|mother|father|spouse|caregiver|anytime)\b){0,6}[^a-z0-9]{0,5}$"
)
_CALL_CLOSE = re.compile(rf"\b{_CALL}\b{_GLUE}")
_CALL_NEAR = re.compile(
    rf"\b(?:{_CALL}|contact(?:ed)?|reached?|(?:best|home|work|contact|daytime|alternate|my|her|his|their) number)\b"
    r"[^0-9]{0,40}$"
)

_LETTER = "[AC-HJKMNP-Yac-hjkmnp-y]"
_MBI = re.compile(
    rf"(?<![A-Za-z0-9])[1-9]{_LETTER}[A-Za-z0-9]\d[- ]?{_LETTER}[A-Za-z0-9]\d[- ]?[A-Za-z]{{2}}\d{{2}}(?![A-Za-z0-9])"
)


def find_ssns(text: str, lower: str) -> Iterator[Span]:
    """With dashes whatever the digits; otherwise those that were ever given out, or that are called so."""
    for match in _SSN.finditer(text):
        digits = text[match.start()] + "".join(match.group(1, 3, 4))
        if (
            "-" in match[2]
            or _is_labelled_ssn(lower, match.start())
            or (_may_be_given(digits) and _stands_alone(text, match) and not is_code(lower, match.start()))
        ):
            yield Span(match.start(), match.end(), Kind.ssn)
    for match in _NINE.finditer(text):
        start = match.start()
        if _is_labelled_ssn(lower, start) or (
            ssn.is_valid(match[0])
            and not is_code(lower, start)
            and not _UNIT_AFTER.match(lower, match.end())
            and (_PERSON_BEFORE.search(before(lower, start)) or not is_near_code(lower, start, match.end()))
        ):
            yield Span(start, match.end(), Kind.ssn)


def find_phones(text: str, lower: str) -> Iterator[Span]:
    """In the North American ways to write one, from abroad with a plus, and whatever is called a phone number."""
    for pattern, is_phone in _PHONES:
        for match in pattern.finditer(text):
            if is_phone(match, lower):
                yield Span(match.start(), match.end(), Kind.phone)


def find_mbis(text: str) -> Iterator[Span]:
    """Eleven characters in the order that Medicare gives them, with or without dashes."""
    for match in _MBI.finditer(text):
        yield Span(match.start(), match.end(), Kind.mbi)


def _is_labelled_ssn(lower: str, start: int) -> bool:
    return _SSN_BEFORE.search(before(lower, start)) is not None


def _is_called(match: re.Match[str], lower: str) -> bool:
    """Whether somebody is to be called there."""
    found = _CALL_NEAR.search(before(lower, match.start(), 60))
    return found is not None and not is_code(lower, match.start())


def _is_written_as_phone(match: re.Match[str], lower: str) -> bool:
    """Blanks alone also part the numbers of a table; dashes, dots and parentheses are a phone number's."""
    if _is_called(match, lower):
        return True
    if match["p"] is not None or (("-" in match["a"] or "." in match["a"]) and match["b"]):
        return not is_called_code(lower, match.start())
    digits = "".join(re.findall(r"\d", match[0]))
    return not is_code(lower, match.start()) and _is_valid(digits[-10:], "US")


def _is_ten_digits_of_phone(match: re.Match[str], lower: str) -> bool:
    """Without any sign between the digits: an area that exists, and no code, quantity or time."""
    if _is_called(match, lower):
        return True
    digits = match[0]
    if is_code(lower, match.start()) or _HOUR.fullmatch(digits) or _UNIT_AFTER.match(lower, match.end()):
        return False
    return digits[-10] not in "01" and (len(digits) == 10 or digits[0] == "1") and _is_valid(digits, "US")


def _is_from_abroad(match: re.Match[str], lower: str) -> bool:
    del lower
    return _is_valid(match[0].replace("+ ", "+"), None)


def _is_of_films(match: re.Match[str], lower: str) -> bool:
    """Seven digits without an area are a phone number by themselves only where nobody has it: 555-0123."""
    return match[0].startswith("555") and not is_code(lower, match.start())


def _is_called_closely(match: re.Match[str], lower: str) -> bool:
    """Whatever it looks like, if it is no date: `fax 020 7946`."""
    start = match.start()
    return _CALL_CLOSE.search(before(lower, start, 60)) is not None and not DATE.match(lower, start)


_PHONES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], bool]], ...] = (
    (_PHONE, _is_written_as_phone),
    (_TEN, _is_ten_digits_of_phone),
    (_ABROAD, _is_from_abroad),
    (_LOCAL, _is_of_films),
    (_LABELLED, _is_called_closely),
)


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether no other number is beside it, as in a row of a table."""
    around = text[max(0, match.start() - 2) : match.start()].strip() + text[match.end() : match.end() + 2].strip()
    return not any(map(str.isdigit, around))


def _may_be_given(digits: str) -> bool:
    """Numbers from 900 on are the tax office's, for who has none of Social Security."""
    return ssn.is_valid(digits) or (digits[0] == "9" and digits[3:5] != "00" and digits[5:] != "0000")


def _is_valid(number: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except phonenumbers.NumberParseException:
        return False
