"""Time-based one-time passwords (RFC 6238) as authenticator apps make them: SHA-1, six digits, thirty seconds."""

import hashlib
import hmac
import time
from base64 import b32decode

STEP_SECONDS = 30
DIGITS = 6
# One step to either side, for a clock that is off and a person who types.
_DRIFT = (0, -1, 1)


def code_at(secret: str, step: int) -> str:
    """The code of a base32 secret in the step since 1970 (RFC 4226, section 5.3)."""
    mac = hmac.digest(b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_now() -> int:
    """The thirty seconds that it is now."""
    return int(time.time()) // STEP_SECONDS


def matching_step(secret: str, code: str) -> int | None:
    """The step near this moment whose code it is, if there is one."""
    given = code.encode()
    now = step_now()
    steps = [now + drift for drift in _DRIFT if hmac.compare_digest(code_at(secret, now + drift).encode(), given)]
    return steps[0] if steps else None
