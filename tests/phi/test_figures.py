"""The two figures that the guard is held to, on each corpus."""

import pytest

from tests.phi.corpus import CLEAN, CORPORA, IDENTIFIERS, clean, identified
from tests.phi.figures import misses, refusals


@pytest.mark.parametrize("corpus", CORPORA)
def test_recall_and_false_alarms(corpus: tuple[str, str]) -> None:
    """Of 500 identifiers at least 95 % are found; of 2,000 clean sentences at most 2 % are refused."""
    hidden, sentences = corpus
    assert len(list(identified(hidden))) == IDENTIFIERS
    assert len(set(clean(sentences))) > CLEAN / 3
    assert len(misses(hidden)) <= 0.05 * IDENTIFIERS, misses(hidden)[:20]
    assert len(refusals(sentences)) <= 0.02 * CLEAN, refusals(sentences)[:20]


def test_identifiers_are_in_their_sentences() -> None:
    """The corpus is what it says: each sentence holds its identifier, and no two kinds share a sentence."""
    for hidden, _ in CORPORA:
        assert all(item.identifier in item.text for item in identified(hidden))
