"""E-mail addresses, also those that hide their signs."""

import re
from collections.abc import Iterator

from phi.kinds import Kind
from phi.spans import Span

_LONGEST = 128
_LOCAL = re.compile(r"[^\s@<>()\[\],;:\"/\\]{1,128}+$")
_DOMAIN = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[^\W\d_]{2,24}(?![\w])")
_TOP = r"(?:com|org|net|edu|gov|mil|info|health|care|med|io|co|us|me|biz|test|example|invalid)"
_HIDDEN = re.compile(
    r"[\w.+-]{1,64}(?:\s?[\[({<]\s?at\s?[\])}>]\s?|\s@\s|\s@(?=\w)|@\s|\sat\s)"
    r"[\w-]{1,63}(?:(?:\.|\s?[\[({<]\s?dot\s?[\])}>]\s?|\sdot\s)[\w-]{1,63}){0,4}"
    rf"(?P<dot>\.|\s?[\[({{<]\s?dot\s?[\])}}>]\s?|\sdot\s){_TOP}\b"
)
MAY_HOLD = re.compile(r"[\[({<]\s?at\s?[\])}>]|\sdot\s|@")


def find_emails(text: str, lower: str) -> Iterator[Span]:
    """`jane@example.com`, and `jane (at) example (dot) com`."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - _LONGEST), at)
        domain = _DOMAIN.match(text, at + 1)
        if local and domain:
            yield Span(local.start(), domain.end(), Kind.email)
        at = text.find("@", at + 1)
    if MAY_HOLD.search(lower):
        for match in _HIDDEN.finditer(lower):
            if " at " not in match[0] or "dot" in match["dot"]:
                yield Span(match.start(), match.end(), Kind.email)
