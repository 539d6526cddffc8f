"""Time-based one-time passwords, against the standard's own examples."""

from base64 import b32encode

import pytest

from tenancy import totp

SECRET = b32encode(b"12345678901234567890").decode()
# RFC 6238, appendix B: seconds since 1970, and the last six of the eight digits.
EXAMPLES = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    2000000000: "279037",
    20000000000: "353130",
}


def test_examples_of_the_standard() -> None:
    """The codes of RFC 6238's test vectors, cut to six digits."""
    assert {moment: totp.code_at(SECRET, moment // totp.STEP_SECONDS) for moment in EXAMPLES} == EXAMPLES


@pytest.mark.parametrize("drift", [-2, -1, 0, 1, 2])
def test_a_clock_may_be_off_by_a_step(monkeypatch: pytest.MonkeyPatch, drift: int) -> None:
    """The codes of this step and of the one before and after are taken, and tell which they are; others are not."""
    monkeypatch.setattr(totp, "step_now", lambda: 1_000_000)
    found = totp.matching_step(SECRET, totp.code_at(SECRET, 1_000_000 + drift))
    assert found == (1_000_000 + drift if abs(drift) < 2 else None)
    for odd in ("", "12345", "1234567", "ééé", "000000 "):
        assert totp.matching_step(SECRET, odd) is None
