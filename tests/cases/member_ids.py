"""A member's identifier and its hash, as the documents have the formula."""

import hashlib
import hmac
from typing import Any

import httpx

from tests.clinics import Clinic

PEPPER = "a pepper of the tests"
RAW = "zqx-77341 Wkv–60"
NORMALISED = "ZQX77341WKV60"
DIGEST = "5f" * 32
CASES = "/api/cases/"


def keyed(clinic: Clinic, normalised: str = NORMALISED, pepper: str = PEPPER) -> str:
    """The formula as the documents say it, written down once more."""
    key = hmac.new(pepper.encode(), b"fastlane/member-id/1/" + str(clinic.id).encode(), hashlib.sha256).digest()
    return hmac.new(key, normalised.encode(), hashlib.sha256).hexdigest()


def case_of(clinic: Clinic, **changes: Any) -> dict[str, Any]:
    """A case to create by its member's identifier."""
    body = clinic.body("cases", member_id=RAW, **changes)
    return {name: value for name, value in body.items() if name != "member_id_hash" or name in changes}


async def find(client: httpx.AsyncClient, member_id: str = RAW, **options: Any) -> list[dict[str, Any]]:
    """The cases of a member."""
    answer = await client.post(f"{CASES}find/", json={"member_id": member_id}, **options)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"rows"}
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows
