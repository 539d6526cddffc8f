"""What an `Idempotency-Key` may be, and what makes two requests the same."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from api.idempotency import IdempotencyKeys, key_of
from api.problems import Problem


def test_fingerprint_covers_each_part() -> None:
    """A fingerprint has 32 bytes, differs with each part and with the key, and where the parts meet counts."""
    keys = IdempotencyKeys(b"k" * 32)
    parts: tuple[Any, ...] = ("POST", "/api/cases/", b"a=1", "application/json", b"{}")
    changed: list[tuple[Any, ...]] = [
        ("PUT", *parts[1:]),
        (parts[0], "/api/tasks/", *parts[2:]),
        (*parts[:2], b"", *parts[3:]),
        (*parts[:3], "text/csv", parts[4]),
        (*parts[:4], b"[]"),
        ("POST/", "api/cases/", *parts[2:]),
        (*parts[:2], b"a=1application", "/json", b"{}"),
        (*parts[:3], "application/json{", b"}"),
    ]
    found = [keys.fingerprint(*request) for request in (parts, *changed)]
    found.append(IdempotencyKeys(b"l" * 32).fingerprint(*parts))
    assert {len(fingerprint) for fingerprint in found} == {32}
    assert len(set(found)) == len(found)
    assert keys.fingerprint(*parts) == found[0]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("  abc\t", "abc"),
        ('"a b;c"', "a b;c"),
        (r'"a\"b\\c"', r'a"b\c'),
        ("~", "~"),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
)
def test_key_syntax(given: str, key: str) -> None:
    """The draft's quoted form and the bare one name the same key."""
    assert key_of(Headers({"Idempotency-Key": given})) == key


@pytest.mark.parametrize(
    "given",
    [
        "",
        " ",
        '""',
        '"',
        '"abc',
        '"a"b"',
        r'"a\b"',
        '"a";p=1',
        "k" * 256,
        "é",
        "a\tb",
        "a b",
        'a"b',
        "a\x7f",
        '"a\x1f"',
    ],
)
def test_bad_keys(given: str) -> None:
    """A key that is empty, too long, not printable ASCII or badly quoted is a 400."""
    with pytest.raises(Problem) as caught:
        key_of(Headers({"Idempotency-Key": given}))
    assert caught.value.status == 400


def test_one_key_or_none() -> None:
    """Without the header there is no key; with two, even equal ones, it is a 400."""
    assert key_of(Headers({})) is None
    with pytest.raises(Problem) as caught:
        key_of(Headers(raw=[(b"idempotency-key", b"a"), (b"idempotency-key", b"a")]))
    assert caught.value.status == 400
