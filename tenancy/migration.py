"""Runs the frozen `.sql` files that migrations name."""

from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine.finder import engine_finder


def add_sql(manager: MigrationManager, folder: Path, name: str) -> None:
    """Adds `{name}.sql` as the way forwards and `{name}_down.sql` as the way back.

    Piccolo runs raw SQL before it creates tables: the file belongs to a migration after the
    one that creates them.
    """

    async def forwards() -> None:
        await _execute(folder / f"{name}.sql")

    async def backwards() -> None:
        await _execute(folder / f"{name}_down.sql")

    manager.add_raw(forwards)
    manager.add_raw_backwards(backwards)


async def _execute(script: Path) -> None:
    engine = engine_finder()
    assert engine is not None
    transaction = engine.current_transaction.get()
    assert transaction is not None
    # One simple-query message: Piccolo's own `raw` allows a single statement.
    await transaction.connection.execute(script.read_text(encoding="utf-8"))  # noqa: ASYNC240  # A command line waits.
