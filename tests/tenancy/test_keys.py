"""Where verification keys come from: a JWKS that rotates, goes away, and answers nonsense."""

import json

import pytest

from tenancy import tokens
from tests.conftest import Running
from tests.tenancy.identity_provider import (
    SUBJECT,
    IdentityProvider,
    SigningKey,
    ask,
    claims,
    encode,
    http_answer,
    symmetric,
)


async def test_rotation(app: Running, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key of the provider is known at its first token, without a restart; a withdrawn one is forgotten."""
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_FETCH_SECONDS", 0.0)
    old, new = provider.keys[0], SigningKey.create("EdDSA", "rotated")
    assert (await ask(app, old.sign(SUBJECT))).status_code == 200
    assert (await ask(app, new.sign(SUBJECT))).status_code == 401
    provider.keys = [new]
    assert (await ask(app, new.sign(SUBJECT))).status_code == 200
    assert (await ask(app, old.sign(SUBJECT, jti="not seen before"))).status_code == 401


async def test_stale_keys_are_fetched_again(
    app: Running, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that have grown old are fetched again for a known id, so that a withdrawn key ends."""
    old = provider.keys[0]
    assert (await ask(app, old.sign(SUBJECT))).status_code == 200
    provider.keys = [SigningKey.create("EdDSA", "rotated")]
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_FETCH_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "KEYS_FRESH_SECONDS", 0.0)
    assert (await ask(app, old.sign(SUBJECT, jti="not seen before"))).status_code == 401


async def test_unknown_ids_fetch_seldom(app: Running, provider: IdentityProvider) -> None:
    """Made-up key ids cannot make the service hammer the provider."""
    assert (await ask(app, provider.keys[0].sign(SUBJECT))).status_code == 200
    stranger = SigningKey.create("EdDSA")
    for number in range(30):
        answer = await ask(app, stranger.sign(SUBJECT, headers={"kid": f"made-up-{number}"}))
        assert answer.status_code == 401
    assert provider.fetches <= 2


async def test_provider_down(app: Running, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the provider is away known keys still verify, an unknown one is a 503 with Retry-After."""
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_FETCH_SECONDS", 0.0)
    key, later = provider.keys[0], SigningKey.create("EdDSA", "later")
    assert (await ask(app, key.sign(SUBJECT))).status_code == 200
    await provider.stop()
    for _ in range(2):
        answer = await ask(app, later.sign(SUBJECT))
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert (await ask(app, key.sign(SUBJECT, jti="not seen before"))).status_code == 200
    provider.keys.append(later)
    await provider.start()
    assert (await ask(app, later.sign(SUBJECT))).status_code == 200


NONSENSE = [
    http_answer("", "500 Internal Server Error"),
    http_answer("", "302 Found"),
    http_answer("<html>"),
    http_answer("[]"),
    http_answer("null"),
    http_answer('{"keys": []}'),
    http_answer('{"keys": null}'),
    http_answer('{"keys": [1]}'),
    http_answer('{"keys": {"a": 1}}'),
    http_answer('{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "eddsa"}]}'),
    http_answer('{"keys": [{"kty": "nothing"}]}'),
    http_answer("[" * 5000),
    b"not HTTP at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
]


async def test_provider_answers_nonsense(
    app: Running, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JWKS that cannot be read costs no known key; tokens of unknown keys wait for a better one."""
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_FETCH_SECONDS", 0.0)
    key, later = provider.keys[0], SigningKey.create("EdDSA", "later")
    assert (await ask(app, key.sign(SUBJECT))).status_code == 200
    for answer in NONSENSE:
        provider.answer = answer
        assert (answer, (await ask(app, later.sign(SUBJECT))).status_code) == (answer, 503)
        assert (answer, (await ask(app, key.sign(SUBJECT, jti=str(hash(answer))))).status_code) == (answer, 200)


async def test_keys_of_other_kinds_are_passed_over(
    app: Running, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of a kind that is not ours spoils neither the others nor the rule of the algorithms."""
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_FETCH_SECONDS", 0.0)
    secret = b"s" * 32
    shared = {"kty": "oct", "kid": "shared", "alg": "HS256", "k": encode(secret)}
    keys = [shared, {"kty": "new", "kid": "new"}, *(key.jwk() for key in provider.keys)]
    provider.answer = http_answer(json.dumps({"keys": keys}))
    assert (await ask(app, provider.keys[0].sign(SUBJECT))).status_code == 200
    for algorithm in ("HS256", "EdDSA"):
        token = symmetric({"alg": algorithm, "kid": "shared"}, claims(), secret)
        assert (await ask(app, token)).status_code == 401
