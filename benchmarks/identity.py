"""The identity provider of the benchmark: a key, the JWKS that publishes it, tokens that it signs."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_ID = "benchmark"
LIFETIME_SECONDS = 24 * 3600


class IdentityProvider:
    """Signs tokens as Neon Auth does, with EdDSA."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.jwks_url = ""

    def token(self, subject: str) -> str:
        """Good for a day."""
        claims = {"sub": subject, "exp": int(time.time()) + LIFETIME_SECONDS}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": KEY_ID})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Publishes the key on loopback."""
        public: dict[str, Any] = jwt.get_algorithm_by_name("EdDSA").to_jwk(self._key.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**public, "alg": "EdDSA", "kid": KEY_ID}]}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            self.jwks_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
            yield
