"""The key that signs checkpoints, which the database does not hold, and the keys that are believed."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import Link
from tenancy.secrets import derived_key
from tenancy.settings import Settings

PURPOSE = "fastlane/audit-signing/1"


class SigningKey:
    """An Ed25519 key pair."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public)

    @classmethod
    def from_settings(cls, settings: Settings) -> "SigningKey":
        """`AUDIT_SIGNING_KEY`, or a key that is derived from `MEMBER_ID_PEPPER`, which development makes itself.
        Raises `LookupError` where production has neither."""
        if settings.audit_signing_key is not None:
            return cls(b64decode(settings.audit_signing_key.get_secret_value()))
        return cls(derived_key(settings, PURPOSE))

    def sign(self, message: bytes) -> bytes:
        """The signature, of 64 bytes."""
        return self._private.sign(message)


class KeyRing:
    """The public keys of today's signer and of former ones."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = {key_id_of(key): key for key in keys}
        self._verifiers = {name: Ed25519PublicKey.from_public_bytes(key) for name, key in self.keys.items()}

    @classmethod
    def from_settings(cls, settings: Settings) -> "KeyRing":
        """Today's key and `AUDIT_PUBLIC_KEYS`. Raises `LookupError` as `SigningKey` does."""
        former = (b64decode(key) for key in settings.audit_public_keys)
        return cls([SigningKey.from_settings(settings).public, *former])

    def fault_of(self, link: Link) -> str | None:
        """Why the signature of a checkpoint is not to be believed, or None."""
        if not link.signature:
            return "is not signed"
        if link.key_id not in self._verifiers:
            return f"is signed with the key {link.key_id!r}, which is neither ours nor among AUDIT_PUBLIC_KEYS"
        return None if self.has_signed(link.key_id, link.signature, link.hash) else "has a forged signature"

    def has_signed(self, key_id: str, signature: bytes, message: bytes) -> bool:
        """Whether one of these keys has signed the message."""
        try:
            self._verifiers[key_id].verify(signature, message)
        except (KeyError, InvalidSignature):
            return False
        return True


def key_id_of(public_key: bytes) -> str:
    """The first 16 hexadecimal digits of the key's SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def spelled(public_key: bytes) -> str:
    """A public key as `AUDIT_PUBLIC_KEYS` has it."""
    return b64encode(public_key).decode()
