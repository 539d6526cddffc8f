"""Second factors of operators: an authenticator app's codes (TOTP), and recovery codes for who has lost it.

A provider for piccolo-api's login. The shared secret is encrypted with a key of the service's own, a code counts once,
and an authenticator counts when its first code was right.
"""

import hashlib
import secrets
from base64 import b32encode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from piccolo.apps.user.tables import BaseUser
from piccolo.columns import Array, BigInt, ForeignKey, Serial, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table
from piccolo_api.encryption.providers import FernetProvider
from piccolo_api.mfa.provider import MFAProvider
from piccolo_api.mfa.recovery_codes import generate_recovery_code

from tenancy import totp
from tenancy.operators import Operator
from tenancy.secrets import derived_key
from tenancy.settings import Settings

PURPOSE = "fastlane/authenticator/1"
RECOVERY_CODES = 8
_SECRET_BYTES = 20  # As many as SHA-1's digest has, says RFC 4226.


class OperatorAuthenticator(Table, tablename="operator_authenticators", tags=["platform"]):
    """The authenticator of an operator. Without `confirmed_at` it was begun and does not count."""

    id: Serial
    operator_id = ForeignKey(Operator, null=False, default=None, unique=True, on_delete=OnDelete.cascade)
    secret = Text(required=False, secret=True, help_text="The shared secret, encrypted.")
    recovery_codes = Array(Varchar(), secret=True, help_text="SHA-256 of each that is left.")
    last_step = BigInt(default=0, help_text="The 30 seconds whose code was used last.")
    confirmed_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz()


class Authenticators(MFAProvider):
    """Begins, confirms, asks and forgets, inside the caller's transaction."""

    def __init__(self, settings: Settings, issuer: str) -> None:
        super().__init__(name="Authenticator")
        self._cipher = FernetProvider(urlsafe_b64encode(derived_key(settings, PURPOSE)))
        self._issuer = issuer

    async def begin(self, operator: BaseUser) -> tuple[str, str, list[str]]:
        """A new secret as one types it, the same as a link that an app opens, and the recovery codes, this once."""
        table = OperatorAuthenticator
        secret = secrets.token_bytes(_SECRET_BYTES)
        codes = [generate_recovery_code() for _ in range(RECOVERY_CODES)]
        typed = b32encode(secret).decode()
        await table.delete().where((table.operator_id == operator.id) & table.confirmed_at.is_null())
        await table(
            operator_id=operator.id,
            secret=self._cipher.encrypt(typed),
            recovery_codes=[_digest(code) for code in codes],
        ).save()
        query = urlencode({"secret": typed, "issuer": self._issuer})
        link = f"otpauth://totp/{quote(f'{self._issuer}:{operator.username}')}?{query}"
        return typed, link, codes

    async def confirm(self, operator: BaseUser, code: str) -> bool:
        """From its first right code on an authenticator counts."""
        table = OperatorAuthenticator
        begun = await self._of(operator, is_confirmed=False)
        if begun is None or not await self._spend(begun, code):
            return False
        await table.update({table.confirmed_at: datetime.now(UTC)}).where(table.id == begun["id"])
        return True

    async def authenticate_user(self, user: BaseUser, code: Any) -> bool:
        """Whether it is the code of this moment, or a recovery code; either counts once."""
        found = await self._of(user, is_confirmed=True)
        return found is not None and isinstance(code, str) and await self._spend(found, code)

    async def is_user_enrolled(self, user: BaseUser) -> bool:
        return await self._of(user, is_confirmed=True) is not None

    async def send_code(self, user: BaseUser) -> bool:
        """There is nothing to send: the app knows the code."""
        return False

    async def get_registration_html(self, user: BaseUser) -> str:
        raise NotImplementedError("the admin has a page of its own")

    async def get_registration_json(self, user: BaseUser) -> dict[str, Any]:
        raise NotImplementedError("the admin has a page of its own")

    async def delete_registration(self, user: BaseUser) -> None:
        await OperatorAuthenticator.delete().where(OperatorAuthenticator.operator_id == user.id)

    async def _of(self, operator: BaseUser, *, is_confirmed: bool) -> dict[str, Any] | None:
        table = OperatorAuthenticator
        confirmed = table.confirmed_at.is_not_null() if is_confirmed else table.confirmed_at.is_null()
        return await table.select().where((table.operator_id == operator.id) & confirmed).first()

    async def _spend(self, found: dict[str, Any], code: str) -> bool:
        """Of two that send the same code at once, the database lets one through."""
        table = OperatorAuthenticator
        code = code.replace(" ", "").lower()
        step = totp.matching_step(self._cipher.decrypt(found["secret"]), code)
        if step is not None:
            later = (table.id == found["id"]) & (table.last_step < step)
            return bool(await table.update({table.last_step: step}).where(later).returning(table.id))
        spent = _digest(code)
        if spent not in found["recovery_codes"]:
            return False
        rest = [kept for kept in found["recovery_codes"] if kept != spent]
        unspent = (table.id == found["id"]) & table.recovery_codes.any(spent)
        return bool(await table.update({table.recovery_codes: rest}).where(unspent).returning(table.id))


async def has_authenticator(operator_id: int) -> bool:
    """Whether the operator has one that counts. For a transaction that may see it."""
    table = OperatorAuthenticator
    return await table.exists().where((table.operator_id == operator_id) & table.confirmed_at.is_not_null())


def _digest(code: str) -> str:
    """A recovery code has 62 random bits: nobody tries them all, and a slow hash would protect nothing more."""
    return hashlib.sha256(code.encode()).hexdigest()
