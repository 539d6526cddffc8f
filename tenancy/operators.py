"""The people of the admin GUI: an operator of one tenant, or of the whole platform.

A tenant operator acts as one named user of the tenant. Session tokens are stored as digests,
so that a copy of the table opens no session.
"""

import asyncio
import hashlib
import secrets
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from piccolo.apps.user.tables import BaseUser
from piccolo.columns import ForeignKey, Serial
from piccolo.columns.base import OnDelete
from piccolo_api.session_auth.tables import SessionsBase

from tenancy.tables import Tenant, User


class Operator(BaseUser, tablename="operators", tags=["platform"]):
    """`superuser` means the whole platform; a constraint ties it to having no tenant."""

    id: Serial
    tenant_id = ForeignKey(Tenant, null=True, default=None, on_delete=OnDelete.cascade)
    user_id = ForeignKey(User, null=True, default=None, on_delete=OnDelete.cascade)

    @classmethod
    async def login(cls, username: str, password: str) -> int | None:
        """The operator's id when the password is right, else None.

        Hashing takes a good part of a second: it runs in a thread, and as long for a name
        that nobody has.
        """
        if len(username) > 100 or len(password) > cls._max_password_length:
            return None
        may_enter = (cls.username == username) & (cls.active == True) & (cls.admin == True)  # noqa: E712  # SQL's.
        row = await cls.select(cls.id, cls.password).where(may_enter).first()
        stored = row["password"] if row else _nobodys_hash()
        _, iterations, salt, _ = cls.split_stored_password(stored)
        given = await asyncio.to_thread(cls.hash_password, password, salt, int(iterations))
        if row is None or not secrets.compare_digest(given, stored):
            return None
        await cls.update({cls.last_login: datetime.now()}).where(cls.id == row["id"])
        return int(row["id"])

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """A new password, hashed in a thread. Raises `ValueError` for one that is too short or too long."""
        cls._validate_password(password)
        hashed = await asyncio.to_thread(cls.hash_password, password)
        whose = cls.username == user if isinstance(user, str) else cls.id == user
        await cls.update({cls.password: hashed}).where(whose)


@cache
def _nobodys_hash() -> str:
    """What the password of an unknown name is compared with, so that it takes as long."""
    return f"pbkdf2_sha256${Operator._pbkdf2_iteration_count}${secrets.token_hex(16)}${secrets.token_hex(32)}"


class OperatorSession(SessionsBase, tablename="operator_sessions", tags=["platform"]):
    """A login of an operator. `token` holds the SHA-256 of what the cookie holds."""

    @classmethod
    async def create_session(
        cls,
        user_id: int,
        expiry_date: datetime | None = None,
        max_expiry_date: datetime | None = None,
    ) -> "OperatorSession":
        """A new session; its `token` attribute is the secret itself, this once."""
        token = secrets.token_urlsafe(32)
        values: dict[str, Any] = {"user_id": user_id, "token": digest(token)}
        if expiry_date:
            values["expiry_date"] = expiry_date
        if max_expiry_date:
            values["max_expiry_date"] = max_expiry_date
        session = cls(**values)
        await session.save()
        session.token = token
        return session

    @classmethod
    async def get_user_id(cls, token: str, increase_expiry: timedelta | None = None) -> int | None:
        """The operator of a session that has not expired; a near expiry is put off."""
        session = await cls.objects().where(cls.token == digest(token)).first()
        now = datetime.now()
        if session is None or session.expiry_date <= now or session.max_expiry_date <= now:
            return None
        if increase_expiry and session.expiry_date - now < increase_expiry:
            later = session.expiry_date + increase_expiry
            await cls.update({cls.expiry_date: later}).where(cls.id == session.id)
        return session.user_id

    @classmethod
    async def remove_session(cls, token: str) -> None:
        await cls.delete().where(cls.token == digest(token))


def digest(token: str) -> str:
    """What the database stores of a session token."""
    return hashlib.sha256(token.encode()).hexdigest()
