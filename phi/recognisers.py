"""All recognisers over one text, each behind a cheap look at whether it could find anything."""

import re

from phi import dates, emails, names, numbers, record_numbers
from phi.kinds import Kind
from phi.spans import Span, lowered, plain

SHORTEST = 5
_DIGITS = re.compile(r"\d+")
UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_SIGNS = (" ", ":", "#", "=", "@", "555-")


def recognise(text: str) -> list[Span]:
    """What looks like an identifier of a person, in a text that `plain` made."""
    if len(text) < SHORTEST:
        return []
    if text.count("-") > 3:
        text = UUID.sub("u" * 36, text)  # The id of a row has digits by chance.
    lower = lowered(text)
    if len(text) < 9 and "mr" not in lower and not any(sign in text for sign in _SIGNS):
        return []  # A code, or a single word.
    found: list[Span] = []
    if "@" in text or "dot" in lower:
        found += emails.find_emails(text, lower)
    digits = sum(map(len, _DIGITS.findall(text)))
    if digits:
        found += names.find_names_with_age(text, lower)
        if digits >= 7 and numbers.MAY_HOLD.search(text):
            found += numbers.find_ssns(text, lower)
            found += numbers.find_phones(text, lower)
        if digits >= 5 and len(text) >= 11:
            found += numbers.find_mbis(text)
        if digits >= 3:
            found += record_numbers.find_record_numbers(text, lower)
        if any(word in lower for word in dates.LABELS):
            found += dates.find_births(text, lower)
    found += names.find_names(text, lower)
    return found


def kinds_in(text: str) -> list[Kind]:
    """The kinds that a text holds, each once."""
    if len(text) < SHORTEST:
        return []
    return list(dict.fromkeys(span.kind for span in recognise(plain(text))))
