"""Times that PostgreSQL and Python both hold."""

import re
from datetime import UTC, datetime

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def in_range(moment: datetime) -> datetime:
    """The time itself. Raises `ValueError` for Python's first and last, which the driver sends
    to PostgreSQL as minus and plus infinity."""
    if moment.replace(tzinfo=None) in (datetime.min, datetime.max):
        raise ValueError("is out of range")
    return moment


def parse_instant(text: str) -> datetime:
    """A time with its zone, as in RFC 3339, and in no other spelling. Raises `ValueError`."""
    if not _RFC_3339.fullmatch(text):
        raise ValueError("is not a time as in RFC 3339")
    try:
        return in_range(datetime.fromisoformat(text.upper()).astimezone(UTC))
    except OverflowError:
        raise ValueError("is out of range") from None
