"""Invitations: how a person who is signed in becomes the user that an admin has prepared.

A code is shown once and stored as a digest, so that a copy of the table invites nobody. It is good for a week and for
one person; a new one for the same user replaces it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from piccolo import columns
from piccolo.columns import Bytea, ForeignKey, Timestamptz
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from pydantic import BaseModel, Field

from tenancy.actions import Action, Answer, Call, RowMissing, StateConflict, Told
from tenancy.context import Scope
from tenancy.engine import FastlaneEngine
from tenancy.permissions import Operation
from tenancy.scoping import database
from tenancy.tables import Tenant, TenantTable, User
from tenancy.transaction import BoundTransaction

LONGEST_SUBJECT = 255
# Crockford's: no letter that reads like a digit.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_GROUPS = 5
_LOCK = "SELECT tenant_id, auth_id FROM users WHERE id = $1 FOR NO KEY UPDATE"
_REPLACE = "DELETE FROM invitations WHERE tenant_id = $1 AND user_id = $2"
_INVITE = """
INSERT INTO invitations (tenant_id, user_id, invited_by, code_digest, expires_at)
VALUES ($1, $2, $3, $4, now() + interval '7 days') RETURNING expires_at
"""


class Invitation(
    TenantTable,
    tablename="invitations",
    tags=["internal"],
    help_text="A one-time code with which a signed-in person becomes a user.",
):
    """The latest of each user. It stays when it was accepted, and says who had invited whom.

    Internal: isolated like any tenant's table, but neither served nor audited.
    """

    id = columns.UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade)
    user_id = ForeignKey(User, null=False, default=None, on_delete=OnDelete.cascade)
    invited_by = columns.UUID(null=True, default=None, help_text="The user who invited; empty: the platform.")
    code_digest = Bytea(required=True, help_text="SHA-256 of the code.")
    expires_at = Timestamptz(null=False, default=None, help_text="When the code ends: a week after it was made.")
    accepted_at = Timestamptz(null=True, default=None, help_text="When somebody became the user by it.")
    created_at = Timestamptz()

    invitations_tenant_id_user_id_key = Unique([tenant_id, user_id])
    invitations_code_digest_key = Unique([code_digest])


class Invited(BaseModel):
    """What an admin passes on."""

    code: str = Field(description="The one-time code, shown this once.")
    expires_at: datetime = Field(description="Until when it can be accepted.")


@dataclass(frozen=True, slots=True)
class Code:
    """A new code, and until when it is good."""

    text: str
    expires_at: datetime


async def invite(user_id: UUID) -> Code:
    """A code for a user whom nobody has become yet, in place of an earlier one. For a bound transaction.

    Raises `RowMissing`, and `StateConflict` where somebody is the user already.
    """
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    found = await transaction.fetch(_LOCK, user_id)  # One invitation at a time.
    if not found:
        raise RowMissing
    if found[0]["auth_id"] is not None:
        raise StateConflict("Somebody is this user already: there is nobody to invite.")
    text = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(_GROUPS))
    tenant_id = found[0]["tenant_id"]
    inviter = transaction.scope.user_id if transaction.scope else None
    await transaction.fetch(_REPLACE, tenant_id, user_id)
    rows = await transaction.fetch(_INVITE, tenant_id, user_id, inviter, digest_of(text))
    return Code(text, rows[0]["expires_at"])


async def accept(engine: FastlaneEngine, code: str, subject: str, scope: Scope) -> bool:
    """Makes `subject` the user who was invited with the code. False: no such code, or not any more.

    `scope` is that of somebody who is nobody's user yet. Raises `asyncpg.UniqueViolationError` when the subject became
    a user meanwhile.
    """
    if len(subject) > LONGEST_SUBJECT:
        return False
    async with engine.transaction(allow_nested=False, scope=scope) as transaction:
        statement = "SELECT tenancy.accept_invitation_1($1, $2)"
        return bool(await transaction.connection.fetchval(statement, digest_of(code), subject))


def digest_of(code: str) -> bytes:
    """What the database stores of a code, however it was typed."""
    return hashlib.sha256(code.upper().translate(_READ_AS).encode()).digest()


async def _run(call: Call) -> Answer:
    assert call.row_id is not None
    code = await invite(call.row_id)
    return Told({"code": code.text, "expires_at": code.expires_at})


INVITE = Action(
    name="invite",
    summary="Invites a person to become this user",
    run=_run,
    needs=(("users", Operation.update),),
    kind=Told,
    answer=Invited,
    status=201,
    is_secret=True,
)
