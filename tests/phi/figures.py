"""`python -m tests.phi.figures`: the guard's recall on synthetic identifiers, and its false alarms on clean sentences."""

import sys
from collections import Counter

from phi.guard import findings
from tests.phi.corpus import KINDS, clean, identified


def main(*, shows_misses: bool) -> None:
    """Prints both figures for each corpus; with `--misses` also what was missed and what refused."""
    for corpus, hidden, sentences in (
        ("first", "identified.txt", "clean.txt"),
        ("second", "identified_2.txt", "clean_2.txt"),
    ):
        found, missed = recall(hidden)
        print(f"{corpus} corpus: recall {sum(found.values()) / (sum(found.values()) + len(missed)):.1%}")
        for kind in KINDS:
            total = found[kind] + sum(item.kind == kind for item in missed)
            print(f"  {kind:7} {found[kind]:3} of {total}")
        refused, number = refusals(sentences)
        print(f"{corpus} corpus: {len(refused)} of {number} clean sentences refused, {len(refused) / number:.2%}")
        if shows_misses:
            print(*(f"  missed  {item}" for item in missed), *(f"  refused {item}" for item in refused), sep="\n")


def recall(templates: str):
    found: Counter[str] = Counter()
    missed = []
    for item in identified(templates):
        if findings("cases", {"extracted_data": {"notes": item.text}}):
            found[item.kind] += 1
        else:
            missed.append(item)
    return found, missed


def refusals(templates: str):
    sentences = list(clean(templates))
    refused = [
        (text, [finding.message for finding in found])
        for text in sentences
        if (found := findings("cases", {"extracted_data": {"notes": text}}))
    ]
    return refused, len(sentences)


if __name__ == "__main__":
    main(shows_misses="--misses" in sys.argv)
