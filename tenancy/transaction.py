"""The transaction that binds a connection to a tenant, and always gives it back.

The only file that says `set_config`, `SET ROLE` or `app.tenant_id` (a test holds that).
Every setting is local to the transaction, so that nothing survives it, behind a
transaction-mode pooler neither:
https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SET
"""

import asyncio
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import asyncpg
from piccolo.engine.exceptions import TransactionError
from piccolo.engine.postgres import PostgresTransaction

from tenancy.context import Scope

if TYPE_CHECKING:
    from tenancy.engine import FastlaneEngine

FINISH_SECONDS = 5.0
LOCK_TIMEOUT_MS = 5_000
IDLE_TIMEOUT_MS = 30_000

# Whatever role a session was left with, an unbound transaction has the login's.
_BEGIN_AS_LOGIN = "BEGIN;SELECT set_config('role','none',true)"

# Strong references: the event loop keeps only weak ones to tasks.
_finishing: set[asyncio.Task[None]] = set()


class TransactionAborted(TransactionError):
    """COMMIT was answered with ROLLBACK: a statement had failed and nobody said so."""


def _literal(value: str) -> str:
    """A text literal of which no byte is the client's: hexadecimal cannot end a string."""
    hexadecimal = value.encode().hex()
    return f"convert_from(decode('{hexadecimal}','hex'),'UTF8')" if hexadecimal else "''"


def session_settings(statement_timeout_ms: int) -> dict[str, str]:
    """What holds for every transaction, whatever its scope."""
    return {
        "search_path": "public, pg_temp",
        "statement_timeout": str(statement_timeout_ms),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
    }


def settings_of(scope: Scope) -> list[str]:
    """What binds a transaction to a scope: names and values in turn, the role last.

    What a scope leaves out is emptied: nothing that a session was left with shines through.
    """
    return [
        *("app.tenant_id", str(scope.tenant_id or "")),
        *("app.user_id", str(scope.user_id or "")),
        *("app.user_role", scope.user_role.value if scope.user_role else ""),
        *("app.operator_id", "" if scope.operator_id is None else str(scope.operator_id)),
        *("app.actor", scope.actor.replace("\x00", "")),
        *("app.request_id", scope.request_id.replace("\x00", "")),
        *("app.ip_address", scope.ip_address.replace("\x00", "")),
        *("app.user_agent", scope.user_agent.replace("\x00", "")),
        *("role", scope.role.value),
    ]


def begin_statement(scope: Scope, statement_timeout_ms: int, mode: str = "") -> str:
    """One simple-query message that opens the transaction, in a mode such as ` READ ONLY`, and binds it.

    Parameters would need the extended protocol, and with it a round trip more.
    """
    bound = settings_of(scope)
    pairs = [*session_settings(statement_timeout_ms).items(), *zip(bound[::2], bound[1::2], strict=True)]
    return f"BEGIN{mode};SELECT " + ",".join(f"set_config('{name}',{_literal(value)},true)" for name, value in pairs)


class _Over:
    """In the place of a connection that was given back: whoever still holds the transaction gets no other's."""

    def __getattr__(self, name: str) -> NoReturn:
        raise asyncpg.InterfaceError("the transaction is over")


OVER: Any = _Over()


class BoundTransaction(PostgresTransaction):
    """Piccolo's transaction, bound to a `Scope`, that cannot leak its connection.

    Stock Piccolo returns the connection only after a COMMIT or ROLLBACK that succeeded.
    Here it is released whatever fails, terminated when its state is unknown, and the first
    error is the one that is raised. Without a scope it runs as the login role, which may
    read nothing.
    """

    engine: "FastlaneEngine"
    mode = ""

    def __init__(self, engine: "FastlaneEngine", allow_nested: bool = True, scope: Scope | None = None) -> None:
        super().__init__(engine=engine, allow_nested=allow_nested)
        self.scope = scope
        self._token: Token[Any] | None = None
        if isinstance(self._parent, BoundTransaction) and scope not in (None, self._parent.scope):
            raise TransactionError("this transaction is bound to another scope already")

    async def __aenter__(self) -> "BoundTransaction":
        if self._parent is not None:
            return cast("BoundTransaction", self._parent)
        await self.open()
        self._token = self.engine.current_transaction.set(self)
        return self

    async def open(self) -> None:
        """Takes a connection, and begins on it."""
        self.connection = await self.engine.acquire()
        try:
            await self.begin()
        except BaseException:
            await finish_regardless(self._release(self.connection, trusted=False))
            raise

    def leave(self) -> None:
        """Queries that follow are not in this transaction."""
        if self._token is not None:
            try:  # noqa: SIM105  # For each request, and `suppress` takes as long as all the rest.
                self.engine.current_transaction.reset(self._token)
            except ValueError:  # Another task ends it: the variable is not this context's.
                pass

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of a statement of this transaction. Raises `asyncpg.PostgresError`."""
        rows: list[Any] = await self.connection.fetch(statement, *arguments)
        return rows

    async def run(self, statement: str, *arguments: Any) -> list[Any]:
        """The rows of a statement that stands for itself: it may have been committed when they are here."""
        return await self.fetch(statement, *arguments)

    async def begin(self) -> None:
        if self.scope is not None:
            await self.connection.execute(begin_statement(self.scope, self.engine.statement_timeout_ms, self.mode))
        elif self.engine.pool is not None:
            await self.connection.execute(_BEGIN_AS_LOGIN)
        else:
            await self.connection.execute("BEGIN")

    async def commit(self) -> None:
        status = await self.connection.execute("COMMIT")
        if status != "COMMIT":
            self._rolled_back = True
            raise TransactionAborted("the transaction was rolled back at COMMIT")
        self._committed = True

    async def rollback(self) -> None:
        await self.connection.execute("ROLLBACK")
        self._rolled_back = True

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        if self._parent is not None:
            return False
        self.leave()
        try:
            await finish_regardless(self._finish(failed=exception is not None))
        except Exception:
            if exception is None:
                raise
        return False

    async def _finish(self, *, failed: bool) -> None:
        answered = False
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                if not (self._committed or self._rolled_back):
                    await (self.rollback() if failed else self.commit())
            answered = True
        except (asyncpg.PostgresError, TransactionAborted):
            answered = True  # A COMMIT that was refused ends the transaction as well as any.
            raise
        finally:
            connection = self.connection
            await self._release(connection, trusted=answered and not connection.is_in_transaction())

    async def _release(self, connection: Any, *, trusted: bool) -> None:
        self.connection = OVER  # It may be somebody else's in a moment.
        if not trusted:
            connection.terminate()
        await self.engine.release(connection)


class SnapshotTransaction(BoundTransaction):
    """Reads the database as it is at the first query, whatever is committed meanwhile."""

    mode = " ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def __init__(self, engine: "FastlaneEngine", scope: Scope) -> None:
        super().__init__(engine, allow_nested=False, scope=scope)


async def finish_regardless(work: Any) -> None:
    """Awaits `work` in a task of its own, which a cancellation of the caller cannot stop."""
    task: asyncio.Task[None] = asyncio.ensure_future(work)
    _finishing.add(task)
    task.add_done_callback(_forget)
    await asyncio.shield(task)


def _forget(task: asyncio.Task[None]) -> None:
    _finishing.discard(task)
    if not task.cancelled():
        task.exception()  # Retrieved, so that an abandoned one is not logged as lost.
