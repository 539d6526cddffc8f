"""An identity provider on loopback: real keys, real signatures, a JWKS over real HTTP.

https://www.rfc-editor.org/rfc/rfc7517
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.conftest import Running

ISSUER = "https://identity.example.com"
AUDIENCE = "https://fastlane.example.com"
SUBJECT = "north-admin"
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A private key, the algorithm it signs with, and the id that its tokens name."""

    kid: str
    algorithm: str
    private: PrivateKey

    @classmethod
    def create(cls, algorithm: str, kid: str | None = None) -> "SigningKey":
        private: PrivateKey
        match algorithm:
            case "EdDSA":
                private = ed25519.Ed25519PrivateKey.generate()
            case "ES256":
                private = ec.generate_private_key(ec.SECP256R1())
            case _:
                private = rsa.generate_private_key(65537, 2048)
        return cls(kid or algorithm.lower(), algorithm, private)

    @property
    def public_pem(self) -> bytes:
        encoding = serialization.Encoding.PEM
        return self.private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)

    def jwk(self) -> dict[str, Any]:
        """The public half."""
        algorithm: Any = jwt.get_algorithm_by_name(self.algorithm)
        public: dict[str, Any] = algorithm.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "use": "sig"}

    def sign(self, subject: str, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token that is good unless `claims` or `headers` make it bad; None leaves a claim out."""
        now = int(time.time())
        payload = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, **claims}
        payload = {name: value for name, value in payload.items() if value is not None}
        named = {name: value for name, value in {"kid": self.kid, **(headers or {})}.items() if value is not None}
        return jwt.encode(payload, self.private, algorithm=self.algorithm, headers=named)


@dataclass
class IdentityProvider:
    """Serves `keys`, or whatever `answer` says instead; counts how often it is asked."""

    keys: list[SigningKey] = field(default_factory=list)
    answer: bytes | None = None
    fetches: int = 0
    port: int = 0
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/.well-known/jwks.json"

    async def start(self) -> None:
        """Listens, after a stop on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuses connections from here on."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fetches += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer or http_answer(json.dumps({"keys": [key.jwk() for key in self.keys]})))
        await writer.drain()
        writer.close()


def http_answer(body: str, status: str = "200 OK") -> bytes:
    """A whole HTTP/1.1 response."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


async def ask(app: Running, token: str) -> httpx.Response:
    """A request with the token."""
    return await app.client.get("/api/cases/", headers={"Authorization": f"Bearer {token}"})


def encode(part: Any) -> str:
    """A part of a token: base64url without padding."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def symmetric(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token signed with HMAC, by hand: PyJWT refuses to make one with a public key."""
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def jwt_payload(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    part = token.split(".")[1]
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return payload


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes."""
    token = SigningKey.create("EdDSA").sign(SUBJECT)
    return {**jwt_payload(token), **changes}
