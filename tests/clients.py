"""HTTP clients of the tests' servers."""

import ssl
from collections.abc import Mapping

import httpx

# Nothing here speaks TLS, and reading the authorities takes longer than a test.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(url: str, headers: Mapping[str, str] | None = None, timeout: float = 30) -> httpx.AsyncClient:
    """A client whose paths begin at `url`."""
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, verify=_NO_AUTHORITIES)
