"""Runs statements for whoever the request was bound to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from piccolo.querystring import QueryString

from tenancy.scoping import database
from tenancy.transaction import BoundTransaction


class Compiled(NamedTuple):
    """SQL with its placeholders, and the values that go into them."""

    sql: str
    values: Sequence[Any]


Statement = QueryString | Compiled


async def fetch(statement: Statement) -> list[Any]:
    """Runs a statement in the request's transaction. Raises `asyncpg.PostgresError`."""
    sql, values = _compiled(statement)
    return await _transaction().fetch(sql, *values)


async def run(statement: Statement) -> list[Any]:
    """Runs a statement that needs no other one to be true, and no way back. Raises `asyncpg.PostgresError`."""
    sql, values = _compiled(statement)
    return await _transaction().run(sql, *values)


def _compiled(statement: Statement) -> Compiled:
    return statement if isinstance(statement, Compiled) else Compiled(*statement.compile_string())


def _transaction() -> BoundTransaction:
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    return transaction
