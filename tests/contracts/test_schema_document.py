"""docs/database-schema.md says what a migrated database is."""

from pathlib import Path

import asyncpg
import pytest
from piccolo.columns import JSON, JSONB

from tenancy.catalog import tenant_tables
from tenancy.engine import FastlaneEngine
from tenancy.json_documents import known_documents
from tenancy.schema_document import SCHEMA_DOCUMENT, describe_schema, write_schema_document

ROOT = Path(__file__).parents[2]


async def test_document_is_up_to_date(superuser: asyncpg.Connection) -> None:
    """The file equals a fresh one; `make docs` writes it anew."""
    assert (ROOT / SCHEMA_DOCUMENT).read_text(encoding="utf-8") == await describe_schema(superuser)


async def test_command_writes_the_document(engine: FastlaneEngine, tmp_path: Path) -> None:
    """`piccolo tenancy write_schema_document`, as the login role, writes the same."""
    target = tmp_path / "schema.md"
    await write_schema_document(str(target))
    assert target.read_text(encoding="utf-8") == (ROOT / SCHEMA_DOCUMENT).read_text(encoding="utf-8")


async def test_document_follows_the_database(superuser: asyncpg.Connection) -> None:
    """A check, an index and a column's default that only the database has are described."""
    await superuser.execute(
        """
        ALTER TABLE tasks ADD CONSTRAINT tasks_title_check CHECK (title <> '');
        CREATE UNIQUE INDEX tasks_title_idx ON tasks (title) WHERE status = 'pending';
        ALTER TABLE tasks ALTER COLUMN title SET DEFAULT 'To do';
        """
    )
    text = await describe_schema(superuser)
    assert "| `tasks_title_check` | `title <> ''` |" in text
    assert "| `tasks_title_idx` | unique `btree (title) WHERE" in text
    assert "| `title` | varchar(255) |  | `'To do'` |" in text


async def test_command_fails_on_a_database_that_lacks_a_table(
    engine: FastlaneEngine, superuser: asyncpg.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr that names it, exit status 1, and no file."""
    await superuser.execute("ALTER TABLE cases RENAME TO moved")
    target = tmp_path / "schema.md"
    with pytest.raises(SystemExit, match="1"):
        await write_schema_document(str(target))
    assert capsys.readouterr().err.endswith("no table cases\n")
    assert not target.exists()


def test_documents_belong_to_json_columns() -> None:
    """Each typed document is of a column that exists."""
    columns = {
        f"{table._meta.tablename}.{column._meta.name}"
        for table in tenant_tables()
        for column in table._meta.columns
        if isinstance(column, JSON | JSONB)
    }
    assert set(known_documents()) <= columns
