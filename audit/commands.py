"""`piccolo audit …`: seals the trail, verifies it, and takes it over a restore."""

import sys
import time
from typing import NoReturn

import asyncpg

from audit.chain import Fault
from audit.epochs import begin_epoch as begin
from audit.ledger import LedgerConflict
from audit.sealer import RestoredDatabase, Sealer
from audit.signing import SigningKey, spelled
from audit.verify import Verified
from audit.verify import verify as verify_trail
from tenancy.database_url import InvalidDatabaseURL
from tenancy.scoping import database, platform
from tenancy.tables import Tenant

PROGRESS_SECONDS = 5.0
UNREACHABLE = (LookupError, InvalidDatabaseURL, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def verify(tenant: str = "") -> None:
    """
    Recomputes the tamper evidence; exit status 1 names the first thing that is wrong.

    :param tenant: The slug of the one tenant whose rows are looked at, beside the chain itself.
    """
    try:
        tenant_id = None
        if tenant:
            async with platform():
                found = await Tenant.objects().where(Tenant.slug == tenant).first()
            if found is None:
                _fail(f"no tenant is called {tenant!r}")
            tenant_id = found.id
        verified = await verify_trail(database(), tenant_id, _Progress())
    except Fault as fault:
        _fail(str(fault))
    except UNREACHABLE as error:
        _fail(f"not verified: {error}")
    for warning in verified.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(_told(verified))


async def seal() -> None:
    """
    Seals what is on the trail and not sealed yet.
    """
    try:
        links = await Sealer(database()).seal_all(wait=True)
    except (RestoredDatabase, LedgerConflict, *UNREACHABLE) as error:
        _fail(f"not sealed: {error}")
    rows = sum(link.entries for link in links)
    print(f"sealed {rows} rows in checkpoint {links[-1].id}" if links else "nothing to seal")


async def begin_epoch(yes: bool = False) -> None:
    """
    After a restore into another cluster, before the service starts there. Needs DIRECT_DATABASE_URL.

    :param yes: Even where transaction numbers have not gone back.
    """
    try:
        base = await begin(database(), regardless=yes)
    except UNREACHABLE as error:
        _fail(f"no epoch was begun: {error}")
    if base is None:
        _fail("transaction numbers have not gone back: no epoch is needed here; --yes begins one all the same")
    print(f"an epoch has begun: transactions count from {base} on")


def public_key() -> None:
    """
    Prints the public key of the one that signs checkpoints, for AUDIT_PUBLIC_KEYS when it was changed.
    """
    try:
        print(spelled(SigningKey.from_settings(database().databases.settings).public))
    except LookupError as error:
        _fail(str(error))


def _told(verified: Verified) -> str:
    beside = [
        f"{verified.redacted} of them redacted" if verified.redacted else "",
        f"those up to checkpoint {verified.archived} archived" if verified.archived else "",
        f"{verified.unsealed} not sealed yet" if verified.unsealed else "",
    ]
    return ", ".join(
        [f"verified {verified.rows} rows in {verified.checkpoints} checkpoints", *(part for part in beside if part)]
    )


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(1)


class _Progress:
    """A line on stderr every few seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PROGRESS_SECONDS

    def __call__(self, rows: int) -> None:
        if time.monotonic() >= self._next:
            print(f"{rows} rows so far …", file=sys.stderr, flush=True)
            self._next = time.monotonic() + PROGRESS_SECONDS
