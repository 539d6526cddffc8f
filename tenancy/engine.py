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
from piccolo.querystring import QueryString

from tenancy.context import DatabaseRole, Scope
from tenancy.database_url import DatabaseURL
from tenancy.databases import Databases
from tenancy.kept_statements import KeepingConnection
from tenancy.pool import ConnectionPool
from tenancy.request_transaction import RequestTransaction
from tenancy.transaction import BoundTransaction, session_settings

MIGRATION_LOCK = 0x7A57_1A9E
IDLE_CONNECTION_SECONDS = 120.0
ACQUIRE_SECONDS = 10.0
# Queries here are short and many: a plan that is kept beats one that knows its arguments, compiling never pays, and
# what a tenant's index finds is mostly in memory, wherever it lies.
_PLANNING = {"plan_cache_mode": "force_generic_plan", "jit": "off", "random_page_cost": "1.1"}


class DatabaseUnavailable(Exception):
    """No connection can be had right now; the message may be shown."""


class FastlaneEngine(PostgresEngine):
    """One engine for the process; `databases` says where the two URLs come from."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self.statement_timeout_ms = databases.settings.statement_timeout_ms
        self.keeps_statements = False
        self.uses = 0  # How often a connection was given back: whether anybody did anything since.
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
        self.statement_timeout_ms = settings.statement_timeout_ms
        self.keeps_statements = not (url.declared_pooled or await _is_behind_pooler(arguments))
        if self.keeps_statements:
            arguments["server_settings"] = {**session_settings(self.statement_timeout_ms), **_PLANNING}
        else:  # A pooler loses prepared statements, and refuses settings at the start.
            arguments["statement_cache_size"] = 0
        pool = ConnectionPool(
            lambda: asyncpg.connect(**arguments, connection_class=KeepingConnection),
            least=settings.pool_min_size,
            most=url.connection_limit or settings.pool_max_size,
            idle_seconds=IDLE_CONNECTION_SECONDS,
        )
        await pool.open()
        self.pool = pool

    async def close_connection_pool(self) -> None:
        if self.pool is not None:
            pool, self.pool = self.pool, None
            await pool.close()

    async def acquire(self) -> Any:
        """A connection for one transaction. Raises `DatabaseUnavailable`."""
        if self.pool is None:
            return await self._command_line_connection()
        try:
            return await self.pool.acquire(ACQUIRE_SECONDS)
        except TimeoutError:
            raise DatabaseUnavailable("All database connections are busy.") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable("The database cannot be reached right now.") from error

    async def release(self, connection: Any) -> None:
        """Gives back what `acquire` gave; a terminated connection too."""
        self.uses += 1
        if self.pool is not None:
            self.pool.release(connection)
        elif connection is not self._owner:
            await connection.close()

    def transaction(self, allow_nested: bool = True, scope: Scope | None = None) -> BoundTransaction:
        """A transaction bound to `scope`; on the command line, by default, to the platform."""
        if scope is None and self.pool is None and not self._acts_as_owner:
            scope = None if self.transaction_exists() else Scope(role=DatabaseRole.platform, actor=script_actor())
        return BoundTransaction(engine=self, allow_nested=allow_nested, scope=scope)

    def request(self, scope: Scope) -> RequestTransaction:
        """The transaction of a request, which begins when a statement needs it."""
        return RequestTransaction(self, scope)

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Any:
        await self._begin_request()
        return await super().run_querystring(querystring, in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:
        await self._begin_request()
        return await super().run_ddl(ddl, in_pool)

    async def _begin_request(self) -> None:
        """Piccolo takes a transaction that it finds for one that has begun."""
        transaction = self.current_transaction.get()
        if isinstance(transaction, RequestTransaction):
            await transaction.begun()

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        """A query outside of any transaction, as the login role: it is refused."""
        async with self.transaction() as transaction:
            return await transaction.fetch(query, *(args or ()))

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
