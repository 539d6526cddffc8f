"""Times that PostgreSQL and Python both hold."""

from datetime import datetime


def in_range(moment: datetime) -> datetime:
    """The time itself. Raises `ValueError` for Python's first and last, which the driver sends
    to PostgreSQL as minus and plus infinity."""
    if moment.replace(tzinfo=None) in (datetime.min, datetime.max):
        raise ValueError("is out of range")
    return moment
