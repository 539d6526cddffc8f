"""Member identifiers: read, keyed, forgotten. What is stored opens nothing, and finds the same member again.

A keyed hash is a pseudonym, and not de-identification: https://www.ecfr.gov/current/title-45/section-164.514
"""

import hashlib
import hmac
import re
import unicodedata
from functools import lru_cache
from uuid import UUID

from pydantic import BaseModel, Field

from cases.tables import MEMBER_ID, Case
from tenancy.actions import Action, Call, Found
from tenancy.permissions import Operation
from tenancy.rules import RuleViolation
from tenancy.scoping import database
from tenancy.secrets import derived_keys
from tenancy.settings import Settings
from tenancy.transaction import BoundTransaction

PURPOSE = "fastlane/member-id/1/"
MOST_FOUND = 1000
_KEPT_KEYS = 1024
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"hash_[A-Za-z0-9_-]{1,200}")
# Written like dashes, and no punctuation to Unicode: soft hyphen, hyphen bullet, minus sign.
_DASHES = "\u00ad\u2043\u2212"
_LEFT_OUT = ("Zs", "Zl", "Zp", "Cc", "Cf", "Pd")
_FIND = "SELECT id FROM cases WHERE member_id_hash = ANY($1) ORDER BY created_at DESC, id LIMIT $2"


class MemberIds:
    """Hashes member identifiers, each tenant's under a key of its own.

    `HMAC-SHA256(key, normalised id)` in hex, where `key` is `HMAC-SHA256(MEMBER_ID_PEPPER, "fastlane/member-id/1/"
    and the tenant's id)`, texts being UTF-8 and the id in lower case with its dashes.
    """

    def __init__(self, settings: Settings) -> None:
        self._is_production = settings.is_production
        self._keys = lru_cache(_KEPT_KEYS)(lambda tenant_id: derived_keys(settings, f"{PURPOSE}{tenant_id}"))

    def derive(self, tenant_id: UUID, text: str) -> str:
        """The hash that is stored. Raises `ValueError`."""
        return self.hashes(tenant_id, text)[0]

    def hashes(self, tenant_id: UUID, text: str) -> list[str]:
        """The hash under today's key, and after a rotation that under the one before. Raises `ValueError`."""
        normalised = normalise(text).encode()
        return [hmac.digest(key, normalised, hashlib.sha256).hex() for key in self._keys(tenant_id)]

    def accept(self, text: str) -> str:
        """A hash that somebody else made, so that no identifier passes for one. Raises `ValueError`."""
        if _DIGEST.fullmatch(text.lower()):
            return text.lower()
        if self._is_production:
            raise ValueError("must be a hash of 64 hex digits; an identifier belongs into member_id")
        if not _NAME.fullmatch(text):
            raise ValueError(
                "must be a hash of 64 hex digits, or hash_ and a name; an identifier belongs into member_id"
            )
        return text


def normalise(text: str) -> str:
    """Case, blanks and dashes tell no member from another. Raises `ValueError`."""
    text = text.strip()
    if not 1 <= len(text) <= MEMBER_ID.longest:
        raise ValueError(f"must have 1 to {MEMBER_ID.longest} characters")
    upper = unicodedata.normalize("NFKC", text).upper()
    kept = "".join(letter for letter in upper if not _is_left_out(letter))
    if not any(letter.isalnum() for letter in kept):
        raise ValueError("must hold a letter or a digit")
    return kept


def _is_left_out(letter: str) -> bool:
    return letter in _DASHES or unicodedata.category(letter) in _LEFT_OUT


class MemberIdQuery(BaseModel, extra="forbid"):
    """Whose cases are looked for."""

    member_id: str = Field(
        min_length=1,
        description=MEMBER_ID.help_text,
        json_schema_extra={"maxLength": MEMBER_ID.longest, "writeOnly": True},
    )


def find_cases(member_ids: MemberIds) -> Action:
    """The action that finds the cases of a member, under both keys while a rotation goes on."""

    async def find(call: Call) -> Found:
        try:
            hashes = member_ids.hashes(call.tenant_id, call.data[MEMBER_ID.source])
        except ValueError as error:
            raise RuleViolation(MEMBER_ID.source, str(error)) from None
        transaction = database().current_transaction.get()
        assert isinstance(transaction, BoundTransaction), "outside of a bound request"
        rows = await transaction.fetch(_FIND, hashes, MOST_FOUND)
        return Found([row["id"] for row in rows])

    return Action(
        name="find",
        summary="Find the cases of a member, newest first, a thousand of them at most",
        run=find,
        needs=((Case._meta.tablename, Operation.read),),
        kind=Found,
        place="table",
        input=MemberIdQuery,
    )
