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
    name, limit, remaining, reset = allowance.name, allowance.limit, allowance.remaining, allowance.reset_seconds
    fields = {
        "ratelimit-policy": f'"{name}";q={limit};w={WINDOW_SECONDS}',
        "ratelimit": f'"{name}";r={remaining};t={reset}',
        "ratelimit-limit": str(limit),
        "ratelimit-remaining": str(remaining),
        "ratelimit-reset": str(reset),
    }
    return [(field.encode(), value.encode()) for field, value in fields.items()]
