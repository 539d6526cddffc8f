"""Reads PostgreSQL URLs as Neon, Prisma and libpq write them into asyncpg's arguments.

asyncpg sends parameters that it does not know to the server as settings, which a pooler
refuses; and its `sslmode=require` does not verify the certificate. Both are put right here.
"""

import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class InvalidDatabaseURL(ValueError):
    """The URL is not one of PostgreSQL."""


@dataclass(frozen=True, slots=True)
class DatabaseURL:
    """A parsed URL. `host` is a name, an address or the directory of a Unix socket."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)
    sslmode: str = "require"
    declared_pooled: bool = False
    connection_limit: int | None = None

    @classmethod
    def parse(cls, url: str) -> "DatabaseURL":
        """Raises `InvalidDatabaseURL`; the message never holds the password."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql"):
            raise InvalidDatabaseURL("a database URL starts with postgresql://")
        try:
            port = parts.port
        except ValueError:
            raise InvalidDatabaseURL("the port of the database URL is not a number") from None
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        user = unquote(parts.username or query.get("user", ""))
        database = unquote(parts.path.lstrip("/")) or query.get("dbname", "")
        if not user or not database:
            raise InvalidDatabaseURL("a database URL names a user and a database")
        host = unquote(parts.hostname or query.get("host", "localhost"))
        limit = query.get("connection_limit", "")
        return cls(
            host=host,
            port=port or int(query.get("port", 5432)),
            database=database,
            user=user,
            password=unquote(parts.password or query.get("password", "")),
            sslmode=query.get("sslmode", "require"),
            declared_pooled=query.get("pgbouncer") == "true" or "-pooler" in host.partition(".")[0],
            connection_limit=int(limit) if limit.isdigit() and int(limit) > 0 else None,
        )

    @property
    def is_local(self) -> bool:
        """A socket or a loopback address: no network to protect the connection from."""
        if self.host.startswith("/") or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def connect_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect`. Remote hosts are verified, always."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password or None,
            "database": self.database,
            "ssl": self._ssl(),
            "timeout": 10,
        }

    def _ssl(self) -> ssl.SSLContext | str | bool:
        if self.host.startswith("/") or (self.is_local and self.sslmode == "disable"):
            return False
        return "prefer" if self.is_local else ssl.create_default_context()
