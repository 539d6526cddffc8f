"""The transaction of a request: begun when a statement needs it, and spared where none does.

A request that is refused before it asks the database costs no connection. A statement that stands for
itself is bound and run in one message, which takes one round trip where a transaction takes three.
"""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
from piccolo.engine.exceptions import TransactionError

from tenancy.context import Scope
from tenancy.transaction import FINISH_SECONDS, OVER, BoundTransaction, finish_regardless

if TYPE_CHECKING:
    from tenancy.engine import FastlaneEngine


class RequestTransaction(BoundTransaction):
    """A `BoundTransaction` that has no connection until `begun` is awaited, as `fetch` and Piccolo do."""

    scope: Scope

    def __init__(self, engine: "FastlaneEngine", scope: Scope) -> None:
        super().__init__(engine, allow_nested=False, scope=scope)
        self._is_beginning = False
        self._is_left = False
        self.connection: Any = None

    async def __aenter__(self) -> "RequestTransaction":
        self._token = self.engine.current_transaction.set(self)
        return self

    async def begun(self) -> Any:
        """The connection, in a transaction that is bound. Raises `DatabaseUnavailable`, `asyncpg.PostgresError`."""
        if self.connection is None:
            if self._is_beginning:
                raise TransactionError("another statement of this request is about to begin its transaction")
            self._is_beginning = True
            try:
                await self.open()
            finally:
                self._is_beginning = False
            if self._is_left:  # While this waited for a connection: nobody would end the transaction.
                await finish_regardless(self._finish(failed=True))
        return self.connection

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        await self.begun()
        return await super().fetch(statement, *arguments)

    async def run(self, statement: str, *arguments: Any) -> list[Any]:
        if self.connection is not None or not self.engine.keeps_statements:
            return await self.fetch(statement, *arguments)
        connection = await self.engine.acquire()
        try:
            timeout_ms = self.engine.statement_timeout_ms
            rows: list[Any] = await connection.run_bound(self.scope, timeout_ms, statement, arguments)
        except asyncpg.PostgresError:
            await self.engine.release(connection)
            raise
        except BaseException:
            await finish_regardless(self._settle(connection))
            raise
        await self.engine.release(connection)
        return rows

    async def _settle(self, connection: Any) -> None:
        """Gives a connection back whose statement was given up: asyncpg is ending it on the server, and says when."""
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await connection.execute("SELECT")
        except Exception:  # noqa: BLE001  # Whatever it is: nobody knows its state, and it must come back.
            connection.terminate()
        await self.engine.release(connection)

    async def rollback(self) -> None:
        if self.connection is not None and self.connection is not OVER:
            await super().rollback()

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self._is_left = True
        if self.connection is None or self.connection is OVER:
            self.connection = OVER
            self.leave()
            return False
        return await super().__aexit__(exception_type, exception, traceback)
