"""Bearer tokens, as a client sees them: which are taken, which are not, and with what answer."""

import asyncio
import json
import time

import httpx
import pytest

from tests.conftest import Running
from tests.tenancy.identity_provider import (
    SUBJECT,
    IdentityProvider,
    SigningKey,
    ask,
    claims,
    encode,
    jwt_payload,
    symmetric,
)


def forged(key: SigningKey) -> dict[str, str]:
    """Tokens that nobody but an attacker makes."""
    good = key.sign(SUBJECT)
    head, body, signature = good.split(".")
    other = jwt_payload(key.sign("south-admin"))
    public = key.public_pem
    raw = json.dumps(key.jwk()).encode()
    return {
        "alg none": f"{encode({'alg': 'none', 'kid': key.kid})}.{body}.",
        "alg None": f"{encode({'alg': 'None', 'kid': key.kid})}.{body}.{signature}",
        "no alg": f"{encode({'kid': key.kid})}.{body}.{signature}",
        "HS256 with the public PEM": symmetric({"alg": "HS256", "kid": key.kid}, claims(), public),
        "HS256 with the public JWK": symmetric({"alg": "HS256", "kid": key.kid}, claims(), raw),
        "HS256 called EdDSA": symmetric({"alg": "EdDSA", "kid": key.kid}, claims(), public),
        "another subject under the same signature": f"{head}.{encode(other)}.{signature}",
        "another key under a known id": SigningKey.create(key.algorithm, key.kid).sign(SUBJECT),
        "its own key in the header": SigningKey.create("EdDSA", "mine").sign(
            SUBJECT, headers={"jwk": SigningKey.create("EdDSA", "mine").jwk()}
        ),
        "its own JWKS in the header": SigningKey.create("EdDSA", "mine").sign(
            SUBJECT, headers={"jku": "http://127.0.0.1:9/"}
        ),
        "no signature": f"{head}.{body}.",
        "signature cut": good[:-8],
        "signature of zeros": f"{head}.{body}.{encode(bytes(64))}",
    }


def unacceptable(key: SigningKey) -> dict[str, str]:
    """Tokens that are truly signed and still prove nothing here."""
    now = int(time.time())
    return {
        "wrong aud": key.sign(SUBJECT, aud="https://other.example.com"),
        "aud prefix": key.sign(SUBJECT, aud="https://fastlane.example.com/"),
        "no aud": key.sign(SUBJECT, aud=None),
        "aud a number": key.sign(SUBJECT, aud=1),
        "wrong iss": key.sign(SUBJECT, iss="https://identity.example.com.evil.example"),
        "no iss": key.sign(SUBJECT, iss=None),
        "no exp": key.sign(SUBJECT, exp=None),
        "expired": key.sign(SUBJECT, exp=now - 60),
        "exp a text": key.sign(SUBJECT, exp="tomorrow"),
        "exp a list": key.sign(SUBJECT, exp=[now + 60]),
        "exp infinite": key.sign(SUBJECT, exp=float("inf")),
        "exp not a number": key.sign(SUBJECT, exp=float("nan")),
        "not yet": key.sign(SUBJECT, nbf=now + 600),
        "nbf infinite": key.sign(SUBJECT, nbf=float("inf")),
        "issued tomorrow": key.sign(SUBJECT, iat=now + 86_400),
        "no kid": key.sign(SUBJECT, headers={"kid": None}),
        "unknown kid": SigningKey.create("EdDSA", "nobody").sign(SUBJECT),
        "empty sub": key.sign(""),
        "sub with NUL": key.sign("north\x00-admin"),
        "unknown critical header": key.sign(SUBJECT, headers={"crit": ["x-mine"], "x-mine": 1}),
    }


def garbage() -> dict[str, str]:
    """Not tokens at all."""
    header = {"alg": "EdDSA", "kid": "eddsa"}
    return {
        "a word": "garbage",
        "two dots": "..",
        "many dots": "." * 50,
        "not base64": "%%%.%%%.%%%",
        "header no JSON": f"{encode(b'{')}.{encode(b'{}')}.{encode(b'x')}",
        "header a list": f"{encode([])}.{encode({})}.{encode(b'x')}",
        "header a number": f"{encode(1)}.{encode({})}.{encode(b'x')}",
        "payload a list": f"{encode(header)}.{encode([])}.{encode(b'x')}",
        "kid a list": f"{encode({**header, 'kid': ['eddsa']})}.{encode({})}.{encode(b'x')}",
        "kid an object": f"{encode({**header, 'kid': {}})}.{encode({})}.{encode(b'x')}",
        "alg a list": f"{encode({**header, 'alg': ['EdDSA']})}.{encode({})}.{encode(b'x')}",
        "alg an object": f"{encode({**header, 'alg': {}})}.{encode({})}.{encode(b'x')}",
        "deep header": f"{encode(b'[' * 3000)}.{encode({})}.{encode(b'x')}",
        "invalid UTF-8": f"{encode(bytes([255, 254]))}.{encode({})}.{encode(b'x')}",
        "9 kB": "a" * 9_000,
    }


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_accepted_algorithms(app: Running, provider: IdentityProvider, algorithm: str) -> None:
    """A token of each asymmetric algorithm of the contract is taken, and asked for again is taken again."""
    key = next(key for key in provider.keys if key.algorithm == algorithm)
    token = key.sign(SUBJECT)
    for _ in range(2):
        assert (await ask(app, token)).status_code == 200


async def test_audience_may_be_a_list(app: Running, provider: IdentityProvider) -> None:
    """A token for several audiences is taken when ours is among them."""
    key = provider.keys[0]
    audience = jwt_payload(key.sign(SUBJECT))["aud"]
    assert (await ask(app, key.sign(SUBJECT, aud=["https://other.example.com", audience]))).status_code == 200
    assert (await ask(app, key.sign(SUBJECT, aud=["https://other.example.com"]))).status_code == 401


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
async def test_bad_tokens(app: Running, provider: IdentityProvider, algorithm: str) -> None:
    """Every forged, expired, misdirected or broken token is a 401 with WWW-Authenticate."""
    key = next(key for key in provider.keys if key.algorithm == algorithm)
    assert (await ask(app, key.sign(SUBJECT))).status_code == 200
    wrong = {}
    for name, token in {**forged(key), **unacceptable(key), **garbage()}.items():
        answer = await ask(app, token)
        challenge = answer.headers.get("www-authenticate", "")
        if answer.status_code != 401 or 'Bearer error="invalid_token"' not in challenge:
            wrong[name] = (answer.status_code, challenge, answer.text)
    assert wrong == {}


NO_BEARER = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Basic dXNlcjpwYXNz",
    b"Bearer a.b.c extra",
    b"Bearer\ta.b.c",
    b"Bearer,a.b.c",
    b"a.b.c",
    b"Token a.b.c",
    b"Bearer \xff\xfe\xe9",
]


async def test_no_bearer_token(app: Running) -> None:
    """Without a bearer token in the Authorization header the answer is 401 with WWW-Authenticate, on every path."""
    for path in ("/api/cases/", "/api/me/", "/api/nothing/", "/api/cases/no-id/"):
        answer = await app.client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")
    for header in NO_BEARER:
        status, headers = await send_raw(app, header)
        assert (header, status) == (header, 401)
        assert b"www-authenticate: bearer" in headers


async def send_raw(app: Running, authorization: bytes) -> tuple[int, bytes]:
    """Status and headers in lower case of a request whose header httpx would refuse to send."""
    url = httpx.URL(app.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = b"GET /api/cases/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: "
    writer.write(head + authorization + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[0].lower()


async def test_token_elsewhere_is_no_token(app: Running, provider: IdentityProvider) -> None:
    """A token in the query, a cookie or a body does not authenticate."""
    token = provider.keys[0].sign(SUBJECT)
    answers = [
        await app.client.get("/api/cases/", params={"access_token": token}),
        await app.client.get("/api/cases/", headers={"Cookie": f"token={token}; Authorization={token}"}),
        await app.client.request("GET", "/api/cases/", data={"access_token": token}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]


async def test_scheme_is_case_insensitive(app: Running, provider: IdentityProvider) -> None:
    """`bearer` is `Bearer` (RFC 9110, section 11.1)."""
    for scheme in ("bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {provider.keys[0].sign(SUBJECT)}"}
        assert (await app.client.get("/api/me", headers=headers)).status_code == 200
