"""`python -m tests.phi.figures`: the guard's recall on synthetic identifiers, its false alarms on clean sentences.

With `--misses` it prints what was missed, and what was refused, too.
"""

import sys
from collections.abc import Sequence

from phi.guard import findings
from tests.phi.corpus import CORPORA, KINDS, Identified, clean, identified


def main(*, shows_misses: bool) -> None:
    """Prints the figures of each corpus."""
    for hidden, sentences in CORPORA:
        made, missed = list(identified(hidden)), misses(hidden)
        refused, number = refusals(sentences), len(list(clean(sentences)))
        print(f"{hidden}: recall {1 - len(missed) / len(made):.1%}, {len(made) - len(missed)} of {len(made)}")
        for kind in KINDS:
            total, left = (sum(item.kind == kind for item in items) for items in (made, missed))
            print(f"  {kind:7}{total - left:4} of {total}")
        print(f"{sentences}: {len(refused)} of {number} clean sentences refused, {len(refused) / number:.2%}")
        if shows_misses:
            print(*(f"  missed: {item.text}" for item in missed), *(f"  refused: {text}" for text in refused), sep="\n")


def misses(sentences: str) -> Sequence[Identified]:
    """The identifiers that are not recognised."""
    return [item for item in identified(sentences) if not is_refused(item.text)]


def refusals(sentences: str) -> Sequence[str]:
    """The clean sentences that are refused."""
    return [text for text in clean(sentences) if is_refused(text)]


def is_refused(text: str) -> bool:
    """Whether the text may not stand in a case's document."""
    return bool(findings("cases", {"extracted_data": {"notes": text}}))


if __name__ == "__main__":
    main(shows_misses="--misses" in sys.argv)
