"""Keys that are derived from the one secret of the service, `MEMBER_ID_PEPPER`."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from tenancy.settings import Settings

DEVELOPMENT_PEPPER = "development_pepper"


def derived_key(settings: Settings, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, such as `fastlane/idempotency/1`, and the same in every process.

    Development needs no pepper: it keeps a random one in its data directory. Raises
    `LookupError` where production has none.
    """
    return _derived(_pepper(settings), purpose)


def derived_keys(settings: Settings, purpose: str) -> list[bytes]:
    """`derived_key`, and while the pepper is rotated the same of the one before."""
    previous = settings.member_id_pepper_previous
    former = [_derived(previous.get_secret_value().encode(), purpose)] if previous is not None else []
    return [derived_key(settings, purpose), *former]


def _derived(pepper: bytes, purpose: str) -> bytes:
    return hmac.digest(pepper, purpose.encode(), hashlib.sha256)


def _pepper(settings: Settings) -> bytes:
    if settings.member_id_pepper is not None and settings.member_id_pepper.get_secret_value():
        return settings.member_id_pepper.get_secret_value().encode()
    if settings.is_production:
        raise LookupError("MEMBER_ID_PEPPER is not set")
    path = settings.data_dir / DEVELOPMENT_PEPPER
    if not path.exists():
        _create(path)
    return path.read_bytes()


def _create(path: Path) -> None:
    """Written aside and linked into place: of processes that start together, one pepper wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.") as draft:  # Of mode 0600, as its link is.
        draft.write(secrets.token_bytes(32))
        draft.flush()
        with suppress(FileExistsError):
            os.link(draft.name, path)
