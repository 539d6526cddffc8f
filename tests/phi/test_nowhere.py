"""500 synthetic identifiers, sent every way there is: none is left in the database, in the logs, in answers or in
metrics."""

import json
import logging
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import cycle
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from piccolo.columns import JSON, JSONB, Array, Column, Text, Varchar
from piccolo.table import Table

from api.crud.models import writable_columns
from main import ACTIONS, TABLES
from phi.exemptions import EVERY_KIND, exempt_kinds
from tenancy.permissions import Operation, is_allowed
from tenancy.settings import Settings
from tenancy.tables import Role
from tests.clinics import Clinic
from tests.conftest import serve
from tests.operators import operator
from tests.phi.corpus import Identified, identified

# The stock login recommends HTTPS at each login; tests speak plain HTTP.
pytestmark = [pytest.mark.filterwarnings("ignore:If running sessions in production"), pytest.mark.timeout(300)]

Clinics = tuple[Clinic, Clinic]
Sent = AsyncIterator[httpx.Response]
RELATIONS = """
SELECT c.oid::regclass::text AS name FROM pg_class AS c
 WHERE c.relkind IN ('r', 'p', 'm')
   AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
SHORTEST = 7  # A shorter number is in a time or a digest by chance.
ROWS = 40
OF_THE_CLIENT = ("httpx", "httpcore.http11", "httpcore.connection")  # Which log what the test itself sends.
PATHS = ("/api/cases/{bare}/", "/api/{text}/{bare}/", "/admin/api/tables/{bare}/", "/{text}")
QUERIES = ("payer={bare}", "__search={text}", "{bare}=1", "__order={text}", "extracted_data.a={bare}", "__page={text}")
HEADERS = ("User-Agent", "Idempotency-Key", "X-Request-ID", "If-Match", "Prefer", "Content-Type", "X-Forwarded-For")


def written_places(*operations: Operation) -> list[tuple[str, str, Any]]:
    """Table, column and a wrapper for a text, for each text and document that an admin may write."""
    found: list[tuple[str, str, Any]] = []
    for table in (table for tables in TABLES.values() for table in tables):
        name = table._meta.tablename
        if all(is_allowed(Role.admin, name, operation) for operation in operations):
            found += [
                (name, column._meta.name, wrap) for column in writable_columns(table) for wrap in _wraps(table, column)
            ]
    return found


def _wraps(table: type[Table], column: Column) -> Iterable[Any]:
    """How a text gets into a column: as it is, in a list, deep in a document, and as a key of one."""
    name = table._meta.tablename
    if exempt_kinds(name, (column._meta.name,), "x") == EVERY_KIND or column._meta.choices:
        return ()
    match column:
        case JSON() | JSONB():
            return (lambda text: {"a": [{"b": text}]}), (lambda text: {"a": {text: 1}})
        case Array():
            return ((lambda text: [text]),)
        case Varchar() | Text():
            return () if exempt_kinds(name, (column._meta.name,), "x") else ((lambda text: text),)
    return ()


async def through_the_api(client: httpx.AsyncClient, north: Clinic, texts: Sequence[str]) -> Sent:
    """One at a time: POST, PUT and PATCH of each column in turn."""
    headers = north.headers()
    for text, (table, column, wrap) in zip(texts, cycle(written_places(Operation.create)), strict=False):
        yield await client.post(f"/api/{table}/", json=north.body(table) | {column: wrap(text)}, headers=headers)
    for text, (table, column, wrap) in zip(texts, cycle(written_places(Operation.update)), strict=False):
        path = f"/api/{table}/{north.rows[table]}/"
        yield await client.patch(path, json={column: wrap(text)}, headers=headers)
        yield await client.put(path, json=north.body(table) | {column: wrap(text)}, headers=headers)


async def in_bulk(client: httpx.AsyncClient, north: Clinic, texts: Sequence[str]) -> Sent:
    """Lists, CSV, merges and changes of what a filter finds."""
    headers = north.headers()
    for start in range(0, len(texts), ROWS):
        rows = [north.body("cases", extracted_data={"note": text}) for text in texts[start : start + ROWS]]
        yield await client.post("/api/cases/", json=rows, headers=headers)
        cells = [
            "a",
            json.dumps({"note": texts[start]}),
            *(json.dumps(text) for text in texts[start + 1 : start + ROWS]),
        ]
        csv = "\n".join('x,hash_x,{},"' + cell.replace('"', '""') + '"' for cell in cells)
        csv = f"payer,member_id_hash,confidence_json,extracted_data\n{csv}"
        yield await client.post("/api/cases/", content=csv.encode(), headers={**headers, "Content-Type": "text/csv"})
    for number, text in enumerate(texts):
        user = {"email": f"u{number}@example.com", "name": f"{text} 123-45-6789", "role": "staff"}
        yield await client.post("/api/users/", json=user, headers={**headers, "Prefer": "resolution=merge-duplicates"})
        yield await client.patch("/api/cases/?payer=Cigna", json={"metadata_json": {"note": text}}, headers=headers)


async def beside_the_body(client: httpx.AsyncClient, north: Clinic, items: Sequence[Identified]) -> Sent:
    """Paths, queries and headers in turn, whole sentences and bare identifiers; and names that no table knows."""
    headers = north.headers()
    turns = zip(cycle(PATHS), cycle(QUERIES), cycle(HEADERS), strict=False)
    for item, (path, query, name) in zip(items, turns, strict=False):
        # A surname alone is told from no other word.
        bare = quote(item.identifier if " " in item.identifier or item.kind != "name" else item.text, safe="")
        text = quote(item.text, safe="")
        yield await client.get(path.format(bare=bare, text=text), headers=headers)
        yield await client.get(f"/api/cases/?{query.format(bare=bare, text=text)}", headers=headers)
        value = item.text.replace('"', "'")
        sent = {**headers, name: f'"{value}"' if name in ("Idempotency-Key", "If-Match") else value}
        yield await client.post("/api/tasks/", json=north.body("tasks"), headers=sent)
        yield await client.post("/api/tasks/", json=north.body("tasks") | {item.text: 1}, headers=headers)


async def through_actions(client: httpx.AsyncClient, north: Clinic, texts: Sequence[str]) -> Sent:
    """Whatever an action takes, each of its fields."""
    for table, actions in ACTIONS.items():
        name = table._meta.tablename
        for action in (action for action in actions if action.method == "POST"):
            path = {"row": f"/{name}/{north.rows[name]}/", "table": f"/{name}/", "api": "/"}[action.place]
            names = [*(action.input.model_fields if action.input else ()), "note"]
            for text, field in zip(texts, cycle(names), strict=False):
                yield await client.post(f"/api{path}{action.name}/", json={field: text}, headers=north.headers())


async def through_the_admin(client: httpx.AsyncClient, north: Clinic, texts: Sequence[str]) -> Sent:
    """As its page sends it: documents as text."""
    for text, (table, column, wrap) in zip(texts, cycle(written_places(Operation.update)), strict=False):
        value = wrap(text)
        change = {column: json.dumps(value) if isinstance(value, dict) else value}
        yield await client.patch(f"/api/tables/{table}/{north.rows[table]}/", json=change)
    for text in texts[::5]:
        yield await client.post("/api/tables/tasks/", json=north.body("tasks", title=text[:255]))
        yield await client.get(f"/api/tables/cases/?payer={quote(text)}&__page={quote(text)}")


async def dump(superuser: asyncpg.Connection) -> str:
    """All rows of all tables, in all schemas."""
    names = [row["name"] for row in await superuser.fetch(RELATIONS)]
    rows = [row["row"] for name in names for row in await superuser.fetch(f"SELECT t::text AS row FROM {name} AS t")]
    return "\n".join(rows)


def left_in(place: str, everything: str, items: Iterable[Identified]) -> list[str]:
    """The identifiers that a place repeats, whole or without their signs."""
    compact = re.sub(r"[^A-Za-z0-9\n]", "", everything)
    left = []
    for item in items:
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(item.identifier)}(?![A-Za-z0-9])", everything):
            left.append(f"{place}: {item.identifier} of {item.text}")
        bare = re.sub(r"[^A-Za-z0-9]", "", item.identifier)
        if len(bare) > 10 and bare in compact:
            left.append(f"{place}: {bare} of {item.text}")
    return left


async def test_left_nowhere(
    settings: Settings,
    clinics: Clinics,
    superuser: asyncpg.Connection,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through the API, the admin, actions, paths, queries and headers; single, in bulk, as CSV and merged."""
    caplog.set_level(logging.DEBUG)
    for theirs in OF_THE_CLIENT:
        caplog.set_level(logging.WARNING, logger=theirs)
    items = list(identified())
    bodies: list[str] = []
    async for app in serve(settings):  # Here, so that it writes its log where it is captured.
        async with operator(app.url) as admin:
            async for answer in everything_sent(app.client, admin, clinics[0], items):
                assert answer.status_code < 500
                bodies.append(answer.text if answer.status_code >= 400 else "")
        metrics = (await app.client.get("/metrics")).text
    stored = await dump(superuser)
    assert "hash_north" in stored  # The dump is one.
    logged = "\n".join((*capsys.readouterr(), caplog.text))
    assert "milliseconds" in logged
    checked = [item for item in items if len(item.identifier) >= SHORTEST]
    places = {"database": stored, "logs": logged, "metrics": metrics, "answers": "\n".join(bodies)}
    left = [left for place, text in places.items() for left in left_in(place, text, checked)]
    assert not left, f"{len(left)}: {left[:20]}"


async def everything_sent(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, north: Clinic, items: Sequence[Identified]
) -> Sent:
    texts = [item.text for item in items]
    for answers in (
        through_the_api(client, north, texts),
        in_bulk(client, north, texts),
        beside_the_body(client, north, items),
        through_actions(client, north, texts),
        through_the_admin(admin, north, texts),
    ):
        async for answer in answers:
            yield answer
