"""What fills the blanks of the sentences: synthetic identifiers, none of a real person, and clinical words."""

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from random import Random

FOLDER = Path(__file__).parent / "sentences"
_LINES = (FOLDER / "words.txt").read_text(encoding="utf-8").splitlines()
WORDS = {name: choices.split("|") for name, _, choices in (line.partition(": ") for line in _LINES if line[0] != "#")}
_MBI_LETTERS, _DIGITS = "ACDEFGHJKMNPQRTUVWXY", "0123456789"


def drawn(random: Random, name: str) -> str:
    """A value for the blank of that name."""
    if name in WORDS:
        return re.sub("#", lambda _: random.choice(_DIGITS), random.choice(WORDS[name]))
    makers: Mapping[str, Callable[[Random], str]] = {
        "ssn": _ssn, "phone": _phone, "email": _email, "dob": _birth_date, "mrn": _mrn, "member": _member_id,
        "mbi": _mbi,
        "name": _name, "date": _date, "year": lambda random: str(random.randrange(2009, 2027)),
        "iso": lambda random: f"2026-{random.randrange(10, 13)}-01T10:15:00Z",
    }  # fmt: skip
    return makers[name](random)


def _day(random: Random, first: date, days: int) -> date:
    return first + timedelta(days=random.randrange(days))


def _date(random: Random) -> str:
    day, month = _day(random, date(2025, 1, 1), 700), random.choice(WORDS["month"])
    shapes = (f"{day:%Y-%m-%d}", f"{day:%m/%d/%Y}", f"{month} {day.day}, {day.year}", f"{day.month}/{day.day}/{day:%y}")
    return random.choice(shapes)


def _birth_date(random: Random) -> str:
    day, month = _day(random, date(1935, 1, 1), 32_000), random.choice(WORDS["month"])
    digits = (
        f"{day:%m/%d/%Y}",
        f"{day:%Y-%m-%d}",
        f"{day:%m-%d-%Y}",
        f"{day:%d.%m.%Y}",
        f"{day.month}/{day.day}/{day:%y}",
    )
    written = (
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month[:3]} {day.year}",
        f"{day.day}-{month[:3].upper()}-{day.year}",
    )
    return random.choice((*digits, *written))


def _phone(random: Random) -> str:
    """Of the range that is kept for fiction: 555-0100 to 555-0199."""
    area, line = random.choice((202, 312, 415, 617, 713, 206, 305)), f"01{random.randrange(100):02}"
    shapes = (
        "({a}) 555-{n}",
        "{a}-555-{n}",
        "{a}.555.{n}",
        "{a} 555 {n}",
        "+1 {a} 555 {n}",
        "1-{a}-555-{n}",
        "{a}555{n}",
    )
    return random.choice((*shapes, "+1{a}555{n}", "({a})555-{n}", "+1 ({a}) 555-{n}")).format(a=area, n=line)


def _ssn(random: Random) -> str:
    area = random.choice((random.randrange(1, 665), random.randrange(900, 999)))
    group, serial = random.randrange(1, 99), random.randrange(1, 9999)
    return random.choice([f"{area:03}-{group:02}-{serial:04}"] * 4 + [f"{area:03} {group:02} {serial:04}"])


def _email(random: Random) -> str:
    first, last = random.choice(WORDS["first"]), random.choice(WORDS["last"]).replace("'", "")
    name = random.choice((f"{first}.{last}", f"{first[0]}{last}{random.randrange(99)}", f"{first}_{last}+mri")).lower()
    return f"{name}@{random.choice(('example.com', 'mail.example.org', 'example.net', 'clinic.test'))}"


def _mrn(random: Random) -> str:
    number = random.randrange(10_000, 99_999_999)
    return random.choice((str(number), f"{number:08}", f"A{number}", f"MR-{number:07}", f"{number:08}-{number % 10}"))


def _member_id(random: Random) -> str:
    number, letters = random.randrange(10**8, 10**9), "".join(random.choices(_MBI_LETTERS, k=3))
    return random.choice(("{l}{n}", "W{n}", "{n}", "MBR-{n}", "{l} {n}", "{n}-01")).format(l=letters, n=number)


def _mbi(random: Random) -> str:
    """https://www.cms.gov/medicare/new-medicare-card/understanding-new-medicare-beneficiary-identifier-mbi"""
    either = _MBI_LETTERS + _DIGITS
    shape = (_DIGITS[1:], _MBI_LETTERS, either, _DIGITS, _MBI_LETTERS, either, _DIGITS, _MBI_LETTERS, _MBI_LETTERS)
    text = "".join(map(random.choice, (*shape, _DIGITS, _DIGITS)))
    return random.choice((text, f"{text[:4]}-{text[4:7]}-{text[7:]}"))


def _name(random: Random) -> str:
    first, last = random.choice(WORDS["first"]), random.choice(WORDS["last"])
    initial = random.choice(_MBI_LETTERS)
    return random.choice(
        [f"{first} {last}"] * 4 + [f"{last}, {first}", f"{first} {initial}. {last}", f"{first} {last}".upper()]
    )
