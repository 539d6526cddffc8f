"""The corpora of the two figures: 500 synthetic identifiers of eight kinds, and 2,000 clean clinical sentences.

The sentences are written by hand, in the words of those who request and review authorizations, and know nothing of
the rules. The later ones were written when the rules stood, in other words. Before the rules learned from them, they
found 97 and 98 % of the identifiers of the second and the third, and refused 1.7 and 1.0 % of the clean sentences of
the second and the fourth: that is what to expect of texts that nobody has seen.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.phi.vocabulary import FOLDER, drawn

IDENTIFIERS, CLEAN = 500, 2_000
KINDS = ("ssn", "phone", "email", "dob", "mrn", "member", "name", "mbi")
CORPORA = (
    ("identified.txt", "clean.txt"),
    ("identified_2.txt", "clean_2.txt"),
    ("identified_3.txt", "clean_3.txt"),
    ("identified_3.txt", "clean_4.txt"),
)
_BLANK = re.compile(r"\{(\w+)\}")


class Identified(NamedTuple):
    """A text, and the identifier of that kind in it."""

    kind: str
    identifier: str
    text: str


def identified(sentences: str = "identified.txt", number: int = IDENTIFIERS) -> Iterator[Identified]:
    """As many of each kind, in each sentence in turn."""
    random = Random(sentences)
    lines = [line.partition(": ") for line in _lines(sentences)]
    by_kind = {kind: [text for named, _, text in lines if named == kind] for kind in KINDS}
    for index in range(number):
        kind, turn = KINDS[index % len(KINDS)], index // len(KINDS)
        text = by_kind[kind][turn % len(by_kind[kind])]
        identifier = drawn(random, "last" if "{last}" in text else kind)
        text = text.replace(f"{{{kind}}}", identifier).replace("{last}", identifier)
        yield Identified(kind, identifier, _filled(random, text))


def clean(sentences: str = "clean.txt", number: int = CLEAN) -> Iterator[str]:
    """Sentences of requests for authorization that identify nobody. Two dates in one of them differ."""
    random = Random(sentences)
    lines = _lines(sentences)
    for index in range(number):
        yield _filled(random, lines[index % len(lines)])


def _filled(random: Random, text: str) -> str:
    return _BLANK.sub(lambda blank: drawn(random, blank[1]), text)


def _lines(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()
