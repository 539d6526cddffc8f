"""What every answer tells a browser about itself (OWASP, HTTP Security Response Headers).

Nothing may frame us or guess a type; nothing may keep what a token has read without asking
again; our own pages load nothing but their inline style.
"""

_COMMON = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"), (b"x-frame-options", b"DENY"))
_PAGE_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_API = (
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Accept"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGES = ((b"content-security-policy", _PAGE_POLICY),)
_ADMIN = ((b"content-security-policy", b"frame-ancestors 'none'"),)
_TRANSPORT = ((b"strict-transport-security", b"max-age=31536000; includeSubDomains"),)
_NAMES = frozenset(name for name, _ in (*_COMMON, *_API, *_PAGES, *_ADMIN, *_TRANSPORT))

Header = tuple[bytes, bytes]


class SecurityHeaders:
    """Adds what an answer does not say itself."""

    def __init__(self, *, is_production: bool) -> None:
        common = _COMMON + (_TRANSPORT if is_production else ())
        self._api, self._admin, self._pages = common + _API, common + _ADMIN, common + _PAGES

    def complete(self, path: str, headers: list[Header]) -> list[Header]:
        """The headers of an answer to `path`, with ours added."""
        ours = self._api if path.startswith("/api") else self._admin if path.startswith("/admin") else self._pages
        said = {name.lower() for name, _ in headers}
        if said.isdisjoint(_NAMES):
            return [*headers, *ours]
        return [*headers, *(header for header in ours if header[0] not in said)]
