"""How an answer tells its client where it stands with the rate limit.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ and the three fields
that came before it.
"""

from api.problems import Problem
from tenancy.rate_limit import WINDOW_SECONDS, Allowance

_WHOSE = {"user": "A user", "tenant": "The users of a tenant together"}


def refuse(allowance: Allowance) -> Problem:
    """429, which says when to try again and has the fields of `headers` too."""
    seconds = allowance.reset_seconds
    fields = {name.decode(): value.decode() for name, value in headers(allowance)}
    detail = f"{_WHOSE[allowance.name]} may make {allowance.limit} requests a minute. Try again in {seconds} s."
    return Problem(429, detail, headers={"Retry-After": str(seconds), **fields})


def headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    """The fields of the tighter limit, as ASGI wants them."""
    name = allowance.name.encode()
    limit, remaining, reset = b"%d" % allowance.limit, b"%d" % allowance.remaining, b"%d" % allowance.reset_seconds
    return [
        (b"ratelimit-policy", b'"%b";q=%b;w=%d' % (name, limit, WINDOW_SECONDS)),
        (b"ratelimit", b'"%b";r=%b;t=%b' % (name, remaining, reset)),
        (b"ratelimit-limit", limit),
        (b"ratelimit-remaining", remaining),
        (b"ratelimit-reset", reset),
    ]
