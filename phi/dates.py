"""Dates of birth: a date that is called one, in front of it or behind."""

import re
from collections.abc import Iterator

from phi.kinds import Kind
from phi.spans import Span

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
_DATE = (
    r"(?:\d{4}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?\d{1,2}(?!\d)|"
    r"\d{1,2}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?(?:\d{4}|\d{2})(?!\d)|"
    rf"\d{{1,2}}(?:st|nd|rd|th)?[-\s/.,]{{1,2}}(?:of )?{_MONTH}\.?[-\s/.,']{{1,3}}(?:\d{{4}}|\d{{2}})(?!\d)|"
    rf"{_MONTH}\.?[-\s/]{{1,2}}\d{{1,2}}(?:st|nd|rd|th)?[-\s/,']{{1,3}}(?:\d{{4}}|\d{{2}})(?!\d)|"
    rf"\d{{4}}[-\s/.]{_MONTH}\.?[-\s/.]\d{{1,2}}(?!\d)|"
    rf"\d{{1,2}}{_MONTH}(?:\d{{4}}|\d{{2}})(?!\d)|"
    r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)|"
    r"(?:0[1-9]|1[0-2]|[12]\d|3[01])(?:0[1-9]|[12]\d|3[01])(?:19|20)\d{2}(?!\d)|"
    r"\d{1,2} \d{1,2} (?:19|20)\d{2}(?!\d)|(?:19|20)\d{2} \d{1,2} \d{1,2}(?!\d)|"
    r"\d{1,2}[-/.](?:19|20)\d{2}(?!\d)|"
    rf"{_MONTH}\.?,? (?:of )?(?:19|20)\d{{2}}(?!\d))"
)
DATE = re.compile(_DATE)
_LABEL = (
    r"(?:\bd\.?\s?o\.?\s?b\b\.?|\bdate[\s_-]{0,2}of[\s_-]{0,2}birth\b|\bbirth[\s_-]?dates?\b|\bbirth[\s_-]?days?\b|"
    r"\bb-?day\b|\bborn\b|\bdate born\b|\bday of birth\b|\bbirth\b(?=\s?[:=]))"
)
_FILLER = (
    r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|is|was|of|on|in|the|as|listed|recorded|reads?|given|entered|shown|"
    r"stated|registered|(?:reported|noted|documented|confirmed|verified) as|for|this|her|his|their|patient|pt|member|"
    r"subscriber|child|prematurely|preterm|sex|gender|age|ethnicity|at term|at home|at \d{1,2} weeks(?: gestation)?|"
    r"in [a-z][a-z. ]{1,24}(?:, ?[a-z]{2})? on|yyyy|mm|dd|full|date|value|record|file|form|application|sheet|"
    r"referral|license|portal|card|a|be|to)"
)
_BEFORE = re.compile(
    rf"(?:{_LABEL}|\bdob(?=\d)|(?<=[(,])\s?b\.)(?:[\s:=#\"'()\[\]<>*|,;/.-]{{0,6}}\b{_FILLER}\b(?:'s)?){{0,6}}"
    rf"[\s:=#\"'()\[\]<>*|,.-]{{0,8}}({_DATE})"
)
_BEHIND = re.compile(
    rf"(?<![\d/.-])({_DATE})(?:t[\d:.]{{5,16}}z?)?(?:\s?[(\[]\s?|,?\s+(?:is|was|as|being)\s+(?:(?:the|her|his|their|"
    rf"listed|recorded|as|(?:patient|member|pt|subscriber)(?:'s)?) ){{0,4}}|\s{{0,2}}[-=,]?\s{{0,2}}(?=d\.?o\.?b))"
    r"(?:d\.?o\.?b\b\.?|date of birth\b|birth\s?dates?\b|birthdays?\b)(?!\s{0,2}:?\s{0,2}(?:not|was not|is not|un|"
    r"missing|to be|verif|confirm|on file|pending|redact|withh|omit|and|match))"
)
# One of these is in any text of a birth.
LABELS = ("birth", "born", "dob", "d.o", "d o", "bday", "b-day", "b.")


def find_births(text: str, lower: str) -> Iterator[Span]:
    """In either order of day and month, in digits or words."""
    del text
    for pattern in (_BEFORE, _BEHIND):
        for match in pattern.finditer(lower):
            yield Span(match.start(1), match.end(1), Kind.birth_date)
