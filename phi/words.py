"""The vocabulary in `phi/vocabulary`, and a set of words as one regular expression."""

from collections.abc import Collection, Iterable
from pathlib import Path

_FOLDER = Path(__file__).parent / "vocabulary"


def words_in(name: str) -> frozenset[str]:
    """All words of a file."""
    return frozenset((_FOLDER / f"{name}.txt").read_text(encoding="utf-8").split())


def words(section: str) -> frozenset[str]:
    """The words of a section of `labels.txt`."""
    text = (_FOLDER / "labels.txt").read_text(encoding="utf-8")
    return frozenset(text.partition(f"[{section}]\n")[2].partition("[")[0].split())


def any_of(choices: Iterable[str]) -> str:
    """A pattern for any of the words, which are of letters: it looks at each letter once, and takes the longest."""
    by_first: dict[str, set[str]] = {}
    ends = False
    for word in choices:
        if word:
            by_first.setdefault(word[0], set()).add(word[1:])
        else:
            ends = True
    return _grouped([first + any_of(rest) for first, rest in sorted(by_first.items())], ends=ends)


def _grouped(patterns: Collection[str], *, ends: bool) -> str:
    if not patterns:
        return ""
    return f"(?:{'|'.join(patterns)})" + ("?" if ends else "")
