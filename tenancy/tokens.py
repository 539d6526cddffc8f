"""Verifies bearer tokens (RFC 7519) against a JWKS (RFC 7517).

Asymmetric algorithms only, so that a verification key never signs. Without `AUTH_JWKS_URL` a
development key pair under the data directory takes the place of the identity provider.
"""

import asyncio
import os
import time
import uuid
from pathlib import Path
from typing import Any, Protocol

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenancy.settings import Settings

ALGORITHMS = ("EdDSA", "ES256", "RS256")
LEEWAY_SECONDS = 10
KEYS_FRESH_SECONDS = 300.0
UNKNOWN_KEY_FETCH_SECONDS = 5.0
FETCH_TIMEOUT_SECONDS = 5.0
REMEMBERED_TOKENS = 4096
MAX_TOKEN_LENGTH = 8192
_DEVELOPMENT_KEY_ID = "development"


class InvalidToken(Exception):
    """The token proves nothing; the message may be shown to its sender."""


class KeysUnavailable(Exception):
    """The token's key is unknown and the JWKS cannot be had; the message may be shown."""


class KeySource(Protocol):
    """Where verification keys come from."""

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        """Raises `InvalidToken` for an unknown id, `KeysUnavailable` when it can't tell."""


class RemoteKeys:
    """The keys of a JWKS URL: kept while a fetch fails, fetched again for an unknown id."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._reachable = True
        self._lock = asyncio.Lock()

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        now = time.monotonic()
        known = self._keys.get(key_id)
        if known is None or now - self._fetched_at > KEYS_FRESH_SECONDS:
            await self._refresh()
            known = self._keys.get(key_id)
        if known is not None:
            return known
        if not self._reachable:
            raise KeysUnavailable("The identity provider's keys cannot be fetched right now.")
        raise InvalidToken("The token is signed by an unknown key.")

    async def _refresh(self) -> None:
        """At most one fetch every few seconds, however many unknown ids come in."""
        async with self._lock:
            if time.monotonic() - self._tried_at < UNKNOWN_KEY_FETCH_SECONDS:
                return
            self._tried_at = time.monotonic()
            try:
                async with httpx.AsyncClient(timeout=FETCH_TIMEOUT_SECONDS) as client:
                    response = await client.get(self._url)
                response.raise_for_status()
                keys = jwt.PyJWKSet.from_dict(response.json()).keys
            except (httpx.HTTPError, jwt.PyJWTError, ValueError, AttributeError, TypeError, RecursionError):
                self._reachable = False
                return
            self._reachable = True
            self._fetched_at = time.monotonic()
            self._keys = {key.key_id: key for key in keys}


class DevelopmentKeys:
    """A key pair of this data directory, which also signs: development's identity provider."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "development-key.pem"

    async def key(self, key_id: str | None) -> jwt.PyJWK:
        if key_id != _DEVELOPMENT_KEY_ID:
            raise InvalidToken("The token is signed by an unknown key.")
        algorithm = jwt.get_algorithm_by_name("EdDSA")
        public: dict[str, Any] = algorithm.to_jwk(self._private_key().public_key(), as_dict=True)
        return jwt.PyJWK({**public, "alg": "EdDSA", "kid": _DEVELOPMENT_KEY_ID})

    def sign(self, subject: str, settings: Settings, minutes: int) -> str:
        """A token for `subject`, with the issuer and audience that the settings expect."""
        now = int(time.time())
        claims: dict[str, Any] = {"sub": subject, "iat": now, "exp": now + minutes * 60, "jti": str(uuid.uuid4())}
        if settings.auth_issuer:
            claims["iss"] = settings.auth_issuer
        if settings.auth_audience:
            claims["aud"] = settings.auth_audience
        return jwt.encode(claims, self._private_key(), algorithm="EdDSA", headers={"kid": _DEVELOPMENT_KEY_ID})

    def _private_key(self) -> Ed25519PrivateKey:
        if not self._path.exists():
            self._create()
        key = serialization.load_pem_private_key(self._path.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        return key

    def _create(self) -> None:
        """Written aside and linked into place: of two processes that start, one key wins."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_bytes(
            Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        try:
            os.link(draft, self._path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()


class TokenVerifier:
    """Turns a token into its subject. Verified tokens are remembered for some minutes."""

    def __init__(self, keys: KeySource, issuer: str | None = None, audience: str | None = None) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._verified: dict[str, tuple[str, float]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "TokenVerifier":
        keys: KeySource
        keys = RemoteKeys(settings.auth_jwks_url) if settings.auth_jwks_url else DevelopmentKeys(settings.data_dir)
        return cls(keys, settings.auth_issuer, settings.auth_audience)

    async def subject(self, token: str) -> str:
        """The `sub` of a valid token. Raises `InvalidToken` or `KeysUnavailable`."""
        remembered = self._verified.get(token)
        if remembered is not None and remembered[1] > time.time():
            return remembered[0]
        self._verified.pop(token, None)
        claims = await self._verify(token)
        if len(self._verified) >= REMEMBERED_TOKENS:
            self._verified.clear()
        # Not for longer than a key may be: a key that is withdrawn takes its tokens along.
        self._verified[token] = (claims["sub"], min(float(claims["exp"]), time.time() + KEYS_FRESH_SECONDS))
        return str(claims["sub"])

    async def _verify(self, token: str) -> dict[str, Any]:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidToken("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise InvalidToken("The token's algorithm is not accepted.")
            key = await self._keys.key(header.get("kid"))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp", "sub", *(["iss"] if self._issuer else []), *(["aud"] if self._audience else [])],
                    "verify_aud": self._audience is not None,
                },
            )
        except jwt.ExpiredSignatureError:
            raise InvalidToken("The token has expired.") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken("The token is not valid.") from None
        if not isinstance(claims["sub"], str) or not claims["sub"] or not _is_storable(claims["sub"]):
            raise InvalidToken("The token names no subject.")
        return claims


def _is_storable(subject: str) -> bool:
    """Whether PostgreSQL can hold it: no NUL, and no half of a character."""
    try:
        return b"\x00" not in subject.encode()
    except UnicodeEncodeError:
        return False
