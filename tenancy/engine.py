"""Piccolo's engine, made lazy, fail-closed and safe for concurrent migration runners.

Importing it opens nothing. In the service it owns a pool of login-role connections, on
which an unbound query is refused by the database. On the command line, where there is no
pool, a query runs as the platform, or, for `piccolo migrations`, as the owner on one direct
connection that holds an advisory lock.
"""

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from piccolo.engine.postgres import PostgresEngine

from tenancy.context import DatabaseRole, Scope
from tenancy.database_url import DatabaseURL
from tenancy.databases import Databases
from tenancy.transaction import BoundTransaction

MIGRATION_LOCK = 0x7A57_1A9E
IDLE_CONNECTION_SECONDS = 120.0
ACQUIRE_SECONDS = 10.0


class DatabaseUnavailable(Exception):
    """No connection can be had right now; the message may be shown."""


class FastlaneEngine(PostgresEngine):
    """One engine for the process; `databases` says where the two URLs come from."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self.statement_timeout_ms = databases.settings.statement_timeout_ms
        self._acts_as_owner = False
        self._owner: asyncpg.Connection | None = None
        super().__init__(config={})

    async def check_version(self) -> None:
        """Nothing: the stock engine connects while it is constructed."""

    async def prep_database(self) -> None:
        """Nothing: no extension is needed."""

    # -- The service ---------------------------------------------------------

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Opens the pool of the login role. Raises `OSError` or `asyncpg.PostgresError`."""
        settings = self.databases.settings
        url = self.databases.app()
        arguments = url.connect_arguments()
        if url.declared_pooled or await _is_behind_pooler(arguments):
            arguments["statement_cache_size"] = 0
        self.statement_timeout_ms = settings.statement_timeout_ms
        self.pool = await asyncpg.create_pool(
            **arguments,
            min_size=settings.pool_min_size,
            max_size=url.connection_limit or settings.pool_max_size,
            max_inactive_connection_lifetime=IDLE_CONNECTION_SECONDS,
            reset=_nothing_to_reset,
            **kwargs,
        )

    async def close_connection_pool(self) -> None:
        if self.pool is not None:
            pool, self.pool = self.pool, None
            await pool.close()

    async def acquire(self) -> Any:
        """A connection for one transaction. Raises `DatabaseUnavailable`."""
        if self.pool is None:
            return await self._command_line_connection()
        try:
            return await self.pool.acquire(timeout=ACQUIRE_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable("All database connections are busy.") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable("The database cannot be reached right now.") from error

    async def release(self, connection: Any) -> None:
        """Gives back what `acquire` gave; a terminated connection too."""
        if self.pool is not None:
            await self.pool.release(connection)
        elif connection is not self._owner:
            await connection.close()

    def transaction(self, allow_nested: bool = True, scope: Scope | None = None) -> BoundTransaction:
        """A transaction bound to `scope`; on the command line, by default, to the platform."""
        if scope is None and self.pool is None and not self._acts_as_owner:
            scope = None if self.transaction_exists() else Scope(role=DatabaseRole.platform, actor=script_actor())
        return BoundTransaction(engine=self, allow_nested=allow_nested, scope=scope)

    # -- The command line ----------------------------------------------------

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> Any:
        async with self.transaction() as transaction:
            return await transaction.connection.fetch(query, *(args or ()))

    async def get_new_connection(self) -> Any:
        return await self._command_line_connection()

    async def _command_line_connection(self) -> Any:
        if not self._acts_as_owner:
            return await asyncpg.connect(**self.databases.app().connect_arguments(), statement_cache_size=0)
        if self._owner is None or self._owner.is_closed():
            self._owner = await _connect_as_migrator(self.databases.direct())
        return self._owner

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Within it, unpooled queries run as the owner, one migration runner at a time."""
        self._acts_as_owner = True
        try:
            yield
        finally:
            self._acts_as_owner = False
            if self._owner is not None:
                self._owner.terminate()
                self._owner = None

    def act_as_owner(self) -> None:
        """For the rest of the process: what `piccolo migrations` needs."""
        self._acts_as_owner = True


async def _nothing_to_reset(connection: Any) -> None:
    """Saves the reset query, a round trip: every setting of ours ends with its transaction."""


async def _is_behind_pooler(arguments: dict[str, Any]) -> bool:
    """A pooler answers with a process id of its own, not with the backend's."""
    connection = await asyncpg.connect(**arguments, statement_cache_size=0)
    try:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
        return bool(backend != connection.get_server_pid())
    finally:
        await connection.close()


async def _connect_as_migrator(url: DatabaseURL) -> asyncpg.Connection:
    connection = await asyncpg.connect(**url.connect_arguments())
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", MIGRATION_LOCK):
        print("Another migration runner is at work; waiting for it …", file=sys.stderr, flush=True)
        await connection.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK})", timeout=None)
    await connection.execute("SET lock_timeout = '10s'; SET statement_timeout = '10min'")
    return connection


def script_actor() -> str:
    """How the trail names whoever runs a script."""
    try:
        return f"script:{getpass.getuser()}"
    except (KeyError, OSError):
        return "script:unknown"
