"""The corpora of the two figures: 500 synthetic identifiers of eight kinds, and 2,000 clean clinical sentences."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.phi import vocabulary

FOLDER = Path(__file__).parent / "sentences"
IDENTIFIERS, CLEAN = 500, 2_000
KINDS = ("ssn", "phone", "email", "dob", "mrn", "member", "name", "mbi")


class Identified(NamedTuple):
    """A text, and the identifier of that kind in it."""

    kind: str
    identifier: str
    text: str


def identified(templates: str = "identified.txt", seed: int = 6, number: int = IDENTIFIERS) -> list[Identified]:
    """As many of each kind, in each sentence in turn."""
    random = Random(seed)
    lines = [line.partition(": ") for line in _lines(templates)]
    found: list[Identified] = []
    for index in range(number):
        kind = KINDS[index % len(KINDS)]
        choices = [text for named, _, text in lines if named == kind]
        text = choices[index // len(KINDS) % len(choices)]
        found.append(_filled(random, kind, text))
    return found


def clean(templates: str = "clean.txt", seed: int = 6, number: int = CLEAN) -> Iterator[str]:
    """Sentences of requests for authorization that identify nobody."""
    random = Random(seed)
    lines = _lines(templates)
    for index in range(number):
        text = lines[index % len(lines)]
        while "{" in text:  # Each blank is filled by itself: two dates of a sentence differ.
            name = text[text.index("{") + 1 : text.index("}")]
            text = text.replace("{" + name + "}", vocabulary.clinical(random)[name], 1)
        yield text


def _filled(random: Random, kind: str, text: str) -> Identified:
    first, last = random.choice(vocabulary.FIRST), random.choice(vocabulary.LAST)
    title = random.choice(("Mr.", "Mrs.", "Ms.", "Ms", "Mr"))
    made = {
        "ssn": lambda: vocabulary.ssn(random),
        "phone": lambda: vocabulary.phone(random),
        "email": lambda: vocabulary.email(random, first, last),
        "dob": lambda: vocabulary.birth_date(random),
        "mrn": lambda: vocabulary.mrn(random),
        "member": lambda: vocabulary.member_id(random),
        "mbi": lambda: vocabulary.mbi(random),
        "name": lambda: last if "{last}" in text else vocabulary.name(random, first, last),
    }[kind]()
    filled = text.replace("{" + kind + "}", made).replace("{title}", title).replace("{last}", last)
    return Identified(kind, made, filled)


def _lines(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()
