"""Whether words that stand where a name may stand are one.

Capital letters alone name drugs, clinics and headings too: given names and ordinary words, of two lists, decide.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import combining, normalize

from phi.words import words, words_in

MOST_WORDS = 5
GIVEN = words_in("given_names")
ORDINARY = words_in("ordinary_words")
_PARTICLES = words("particles of names")
_SUFFIXES = words("suffixes of names")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['-](?=[^\W\d_])){0,30}")
_BETWEEN = re.compile(r"\.?\s{1,2}|\.?,\s{0,2}|\.")


class Token(NamedTuple):
    """A word that may be a part of a name; `comma` when one stands behind it."""

    text: str
    end: int
    comma: bool


def tokens_at(text: str, start: int) -> list[Token]:
    """The words from here on, up to the end of the sentence."""
    tokens: list[Token] = []
    at = start
    while len(tokens) < MOST_WORDS and (word := _WORD.match(text, at)):
        between = _BETWEEN.match(text, word.end())
        shown = between[0] if between else ""
        tokens.append(Token(word[0], word.end(), "," in shown))
        is_abbreviated = len(word[0]) == 1 or word[0].lower() in _SUFFIXES or word[0].lower() in _PARTICLES
        if between is None or ("." in shown and not is_abbreviated):
            break
        at = between.end()
    return tokens


def begins_name(text: str, at: int) -> bool:
    """Whether the letter there is a capital, or of a script that has none."""
    letter = text[at : at + 1]
    return letter.isalpha() and not letter.islower()


def name_end(label: str, tokens: Sequence[Token], *, shouted: bool) -> int | None:
    """Where the name ends that the words begin with; None when they begin with none. `shouted`: in capitals."""
    words = _leading(tokens)
    full = [word for word in words if len(word.text) > 1 and word.text.lower() not in _PARTICLES | _SUFFIXES]
    if not full:
        return None
    if not full[0].text.isascii() and full[0].text.lower() == full[0].text.upper():
        return words[-1].end  # Of a script without capitals, which an English text uses for names.
    if full[0].text[0].islower():
        return _small_end(label, full)
    if label == "title":
        is_name = _is_given(full[0]) or not (_is_ordinary(full[0]) and (shouted or full[0].text.isupper()))
        return full[0].end if is_name else None
    if len(words) == 1:
        return full[0].end if _is_single(label, full[0]) else None
    return words[-1].end if _is_name(label, words, full) else None


def _leading(tokens: Sequence[Token]) -> list[Token]:
    """The words up to the first that cannot belong to the name: `Jane Roe reports`, `Roe, Jane, born`."""
    words: list[Token] = []
    commas = 0
    for token in tokens:
        is_particle = token.text.lower() in _PARTICLES
        if words and not is_particle and token.text[0].islower() != words[0].text[0].islower():
            break
        words.append(token)
        commas += token.comma
        if token.comma and (commas > 1 or len(words) > 1):
            break
    while len(words) > 1 and words[-1].text.lower() in _PARTICLES:
        words.pop()
    return words[:4]


def _is_single(label: str, word: Token) -> bool:
    """One word is a name where a name was announced, or when it is a given name and nothing else."""
    if label == "named":
        return not _is_ordinary(word)
    return label in ("name", "colon", "direct") and _is_only_given(word) and not word.text.isupper()


def _small_end(label: str, full: Sequence[Token]) -> int | None:
    """`patient name: jane roe`."""
    if label not in ("named", "name", "colon") or len(full) < 2:
        return None
    return full[1].end if _is_only_given(full[0]) and not _is_ordinary(full[1]) else None


def _is_name(label: str, words: Sequence[Token], full: Sequence[Token]) -> bool:
    full = _before_ordinary(full)
    first = full[1] if words[0].comma and len(full) > 1 else full[0]
    others = [word for word in full if word is not first]
    has_ordinary = any(_is_ordinary(word) for word in full)
    if _is_only_given(first):
        return label != "about" or (bool(others) and not all(_is_ordinary(word) for word in others))
    if _is_given(first):
        return bool(others) and not any(_is_ordinary(word) for word in others)
    if has_ordinary:
        return False
    if label in ("re", "aged"):
        return len(full) > 1
    if label == "about":  # Some put the family's name first.
        return len(full) > 1 and any(_is_only_given(word) for word in full)
    in_capitals = any(word.text.isupper() for word in full)
    return label in ("named", "colon", "name") or not in_capitals


def _before_ordinary(full: Sequence[Token]) -> Sequence[Token]:
    """`Jane Roe Procedure MRI`: the first two words or more, when only what follows them is ordinary."""
    for index, word in enumerate(full):
        if _is_ordinary(word):
            return full[:index] if index > 1 else full
    return full


def _is_given(word: Token) -> bool:
    return any(part in GIVEN for part in _folded(word.text).replace("'", "-").split("-"))


def _is_only_given(word: Token) -> bool:
    return _is_given(word) and not _is_ordinary(word)


def _is_ordinary(word: Token) -> bool:
    lower = word.text.lower().removesuffix("'s")
    return lower in ORDINARY or all(part in ORDINARY for part in lower.split("-"))


def _folded(word: str) -> str:
    """Without accents, in lower case."""
    lower = word.lower().removesuffix("'s")
    return lower if lower.isascii() else "".join(c for c in normalize("NFD", lower) if not combining(c))
