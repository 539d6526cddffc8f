"""How often somebody may try what can be guessed: a password, a one-time code. Counted over all processes.

The database counts, for the account that is tried and for the address that tries; `tenancy/sql/logins_1.sql` says how.
It knows both as digests only. Other than for requests (`tenancy.rate_limit`) each attempt asks: there are few.
"""

import hashlib
import math
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from tenancy.context import DatabaseRole, Scope
from tenancy.engine import FastlaneEngine

WINDOW_SECONDS = 300
_AUTHN = Scope(role=DatabaseRole.authn, actor="authn")
_TAKE = "SELECT tenancy.take_attempt_1($1, $2, $3, $4, $5)"
_GIVE_BACK = "SELECT tenancy.give_back_attempt_1($1, $2)"


@dataclass(frozen=True, slots=True)
class Attempts:
    """Grants attempts at one kind of thing. Raises the database's errors."""

    engine: FastlaneEngine
    kind: str
    of_account: int = 10
    of_address: int = 20

    async def take(self, account: str, address: str) -> int | None:
        """None: go on. Else how many seconds to wait; what is refused is not counted."""
        keys = self._keys(account, address)
        async with self.engine.transaction(allow_nested=False, scope=_AUTHN) as transaction:
            limits = (self.of_account, self.of_address, WINDOW_SECONDS)
            seconds = await transaction.connection.fetchval(_TAKE, *keys, *limits)
        return None if seconds is None else max(1, math.ceil(seconds))

    async def give_back(self, account: str, address: str) -> None:
        """For an attempt that guessed nothing."""
        async with self.engine.transaction(allow_nested=False, scope=_AUTHN) as transaction:
            await transaction.connection.execute(_GIVE_BACK, *self._keys(account, address))

    def _keys(self, account: str, address: str) -> tuple[bytes, bytes]:
        named = (f"{self.kind} of {account}", f"{self.kind} from {_network(address)}")
        account_key, address_key = (hashlib.sha256(text.encode(errors="replace")).digest() for text in named)
        return account_key, address_key


def _network(address: str) -> str:
    """A customer has 2^64 addresses of IPv6, and is one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
