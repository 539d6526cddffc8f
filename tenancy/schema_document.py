"""Writes `docs/database-schema.md`: what Piccolo's tables say, and what only the catalog knows.

Composite keys, checks, policies and triggers live in SQL, where Piccolo does not see them.
The same schema gives the same text on every PostgreSQL from 15 to 18; a test compares it
with the file.
"""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from piccolo.columns import JSON, JSONB, Column
from piccolo.conf.apps import Finder
from piccolo.table import Table

from tenancy.catalog import tenant_tables
from tenancy.commands import fail
from tenancy.json_documents import document_fields, known_documents
from tenancy.scoping import platform

SCHEMA_DOCUMENT = "docs/database-schema.md"
_FACTS = (Path(__file__).parent / "sql" / "schema_facts.sql").read_text(encoding="utf-8")
_SHORT_TYPES = {
    "character varying": "varchar",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}
_SAID_BY_ALL = {
    "id": "Primary key.",
    "tenant_id": "Whose row it is.",
    "created_at": "Set by the database.",
    "updated_at": "Set by the database at every change.",
}
_INTRODUCTION = """\
# Database schema

Written by `piccolo tenancy write_schema_document` (or `make docs`) from the tables and the
catalog of a migrated database. Do not edit it: a test compares it with a fresh one.

A reference between rows of a tenant is a composite key that includes `tenant_id`: no row can
point into another tenant, whoever writes it. Row-level security is enabled and forced on every
tenant table. Triggers of one moment fire in the order of their names.
"""
_PLATFORM = """\
## Platform tables

Not readable by a tenant, except the acting operator's own rows. Beside them Piccolo keeps its
own table `migration`.
"""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that the catalog says about a table."""

    name: str
    definition: str
    more: Mapping[str, Any]


Facts = Mapping[tuple[str, str], list[Fact]]


async def write_schema_document(path: str = SCHEMA_DOCUMENT) -> None:
    """
    Writes the description of the schema. The database must be migrated.

    :param path: The file to write.
    """
    try:
        async with platform() as transaction:
            text = await describe_schema(transaction.connection)
    except (OSError, LookupError, asyncpg.PostgresError) as error:
        fail(f"the database cannot be described; start it once with `make run`: {error}")
    Path(path).write_text(text, encoding="utf-8")  # noqa: ASYNC240  # A command line waits.


async def describe_schema(connection: Any) -> str:
    """The whole document. `connection` is asyncpg's, of any role. Raises `LookupError` for a missing table."""
    tenants = tenant_tables()
    registry = Finder().get_app_registry()
    every = [table for config in registry.app_configs.values() for table in config.table_classes]
    others = [table for table in every if table not in tenants]
    facts: dict[tuple[str, str], list[Fact]] = {}
    names = [table._meta.tablename for table in every]
    for row in await connection.fetch(_FACTS, names):
        fact = Fact(row["name"], row["definition"], json.loads(row["more"]))
        facts.setdefault((row["table_name"], row["kind"]), []).append(fact)
    missing = [name for name in names if (name, "column") not in facts]
    if missing:
        raise LookupError(f"no table {', '.join(missing)}")
    for group in facts.values():
        group.sort(key=lambda fact: fact.name)
    blocks = [
        _INTRODUCTION,
        _diagram(every, facts),
        "## Tenant tables\n",
        *(_describe(table, facts) for table in tenants),
        _PLATFORM,
        *(_describe(table, facts) for table in others),
        _documents(every),
    ]
    return "\n".join(blocks)


def _diagram(tables: Iterable[type[Table]], facts: Facts) -> str:
    lines = ["```mermaid", "erDiagram"]
    for table in tables:
        name = table._meta.tablename
        columns = {fact.name: fact for fact in facts[name, "column"]}
        for reference in facts.get((name, "reference"), []):
            own = _own_columns(reference)
            parent = "|o" if any(columns[column].more["nullable"] for column in own) else "||"
            lines.append(f'    {reference.more["target"]} {parent}--o{{ {name} : "{", ".join(own)}"')
    for table in tables:
        name = table._meta.tablename
        keys = _key_letters(facts, name)
        types = {fact.name: _short_type(fact.definition).replace(" ", "_") for fact in facts[name, "column"]}
        lines.append(f"    {name} {{")
        names = [column._meta.db_column_name for column in table._meta.columns]
        lines += [f"        {types[column]} {column} {', '.join(keys.get(column, []))}".rstrip() for column in names]
        lines.append("    }")
    return "\n".join([*lines, "```", ""])


def _key_letters(facts: Facts, table: str) -> dict[str, list[str]]:
    letters: dict[str, list[str]] = {}
    for key in facts.get((table, "key"), []):
        if len(key.more["columns"]) == 1:
            letters.setdefault(key.more["columns"][0], []).append("PK" if key.more["primary"] else "UK")
    for reference in facts.get((table, "reference"), []):
        for column in _own_columns(reference):
            letters.setdefault(column, []).append("FK")
    return letters


def _own_columns(reference: Fact) -> list[str]:
    """The columns that say which row is meant; `tenant_id` beside them only keeps it at home."""
    columns: list[str] = reference.more["columns"]
    return [column for column in columns if column != "tenant_id"] or columns


def _describe(table: type[Table], facts: Facts) -> str:
    name = table._meta.tablename
    docstring = " ".join((inspect.getdoc(table) or "").split("\n\n")[0].split())
    lines = [f"### {name}", "", f"{table._meta.help_text or ''} {docstring}".strip(), ""]
    lines += _grid(("Column", "Type", "Null", "Default", "Meaning"), _column_rows(table, facts))
    references = facts.get((name, "reference"), [])
    lines += _grid(
        ("Key", "Definition"),
        [(_code(key.name), _code(key.definition)) for key in [*facts.get((name, "key"), []), *references]],
    )
    lines += _grid(
        ("Index", "Definition"),
        [
            (
                _code(index.name),
                ("unique " if index.more["unique"] else "") + _code(_after(index.definition, " USING ")),
            )
            for index in facts.get((name, "index"), [])
        ],
    )
    checks = [(_code(check.name), _code(_condition(check.definition))) for check in facts.get((name, "check"), [])]
    lines += _grid(("Check", "Condition"), checks)
    policies = [
        (
            _code(policy.name),
            policy.definition,
            ", ".join(map(_code, policy.more["roles"])) or "everyone",
            "" if policy.more["permissive"] else "restrictive",
        )
        for policy in facts.get((name, "policy"), [])
    ]
    lines += _grid(("Policy", "For", "Role", "Kind"), policies)
    lines += _grid(("Trigger", "When", "Function"), map(_trigger_row, facts.get((name, "trigger"), [])))
    return "\n".join(lines)


def _column_rows(table: type[Table], facts: Facts) -> Iterator[tuple[str, ...]]:
    name = table._meta.tablename
    catalog = {fact.name: fact for fact in facts[name, "column"]}
    targets = {
        column: reference.more["target"]
        for reference in facts.get((name, "reference"), [])
        for column in _own_columns(reference)
    }
    for column in table._meta.columns:
        fact = catalog[column._meta.db_column_name]
        default = fact.more["default"]
        yield (
            _code(fact.name),
            _short_type(fact.definition),
            "yes" if fact.more["nullable"] else "",
            _code(_without_casts(default)) if default else "",
            _meaning(column, targets.get(fact.name)),
        )
        del catalog[fact.name]
    # What Piccolo has no type for, only the database has.
    for fact in catalog.values():
        default = "generated" if fact.more["generated"] else fact.more["default"] or ""
        nullable = "yes" if fact.more["nullable"] else ""
        yield _code(fact.name), _short_type(fact.definition), nullable, default, fact.more["comment"] or ""


def _meaning(column: Column, target: str | None) -> str:
    said = column._meta.help_text or _SAID_BY_ALL.get(column._meta.name)
    sentences = [said] if said else []
    if target:
        sentences.append(f"References `{target}`.")
    if column._meta.choices:
        values = [choice["value"] for choice in (column._meta.get_choices_dict() or {}).values()]
        sentences.append(f"One of {', '.join(f'`{value}`' for value in values)}.")
    return " ".join(sentences)


def _trigger_row(trigger: Fact) -> tuple[str, ...]:
    moment = _after(trigger.definition, f"TRIGGER {trigger.name} ").partition(" ON ")[0]
    return _code(trigger.name), moment, _code(_after(trigger.definition, "EXECUTE FUNCTION "))


def _documents(tables: Iterable[type[Table]]) -> str:
    """A column without a typed document holds any object."""
    known = known_documents()
    lines = [
        "## JSON documents",
        "",
        "The database holds each to be an object. What is named here is right wherever it is there; more may be there.",
        "",
    ]
    for table in tables:
        for column in table._meta.columns:
            if not isinstance(column, JSON | JSONB):
                continue
            name = f"{table._meta.tablename}.{column._meta.name}"
            document = known.get(name)
            lines += [f"### {name}", ""]
            if document is None:
                lines += ["Any object.", ""]
            else:
                lines += [" ".join((inspect.getdoc(document) or "").split()), ""]
                fields = [
                    (_code(field), kind, "yes" if required else "", meaning)
                    for field, kind, required, meaning in document_fields(document)
                ]
                lines += _grid(("Field", "Type", "Required", "Meaning"), fields)
    return "\n".join(lines).rstrip() + "\n"


def _grid(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table and a blank line; nothing for no rows."""
    body = [_line(row) for row in rows]
    return [_line(heads), _line(("---",) * len(heads)), *body, ""] if body else []


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2]


def _short_type(name: str) -> str:
    for long, short in _SHORT_TYPES.items():
        name = name.replace(long, short)
    return name


def _without_casts(expression: str) -> str:
    return re.sub(r"::(?:text|character varying|regclass)(?:\[\])?", "", expression)


def _condition(definition: str) -> str:
    """PostgreSQL's spelling of a check, which a dump and restore alters, as a person writes it."""
    text = re.sub(r"(?<!\w)\((\w+|'[^']*')\)", r"\1", _without_casts(definition).removeprefix("CHECK "))
    closed_set = re.fullmatch(r"\(+(\w+) = ANY \(+ARRAY\[(.*)\]\)+", text)
    if closed_set:
        return f"{closed_set[1]} IN ({closed_set[2]})"
    while _is_wrapped(text):
        text = text[1:-1]
    return text


def _is_wrapped(text: str) -> bool:
    """Whether the first parenthesis is closed by the last character."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return place > 0 and place == len(text) - 1
    return False
