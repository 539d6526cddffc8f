"""Copies of one sealed database, each to be tampered with by somebody whom nothing confines."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

import piccolo_conf
from cases.tables import Ruleset
from tenancy.context import DatabaseRole, Scope
from tenancy.databases import Databases
from tenancy.engine import FastlaneEngine
from tenancy.scoping import tenant
from tests import cluster
from tests.audit.sealing import seal
from tests.cluster import TestDatabase


async def write(slug: str, rows: int = 1) -> None:
    """Puts something on the trail of a tenant."""
    async with tenant(slug, f"admin@{slug}.com"):
        for number in range(rows):
            await Ruleset(payer="Aetna", procedure=f"{number:05}", rules_json="{}").save()


async def look(engine: FastlaneEngine, tenant_id: Any) -> None:
    """Puts a look into the log of a tenant."""
    access = {"actor": "nobody", "access": "list", "method": "GET", "path": "/", "status": 200}
    async with engine.transaction(allow_nested=False, scope=Scope(DatabaseRole.service, actor="test")) as transaction:
        looks = json.dumps([{**access, "tenant_id": str(tenant_id)}])
        await transaction.fetch("SELECT audit.record_looks_1(NULL, $1)", looks)


async def seal_three(engine: FastlaneEngine, tenant_id: Any) -> None:
    """Three checkpoints, and rows of both tenants that are not sealed yet."""
    for _ in range(3):
        await write("north", 2)
        await write("south")
        await look(engine, tenant_id)
        await seal(engine)
    await write("north")
    await write("south")


@asynccontextmanager
async def copied(database: TestDatabase, tmp_path: Path, **settings: Any) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the superuser to a copy, triggers off. The engine serves the copy, with files of its own."""
    copy = await cluster.create_database(database.name)
    files = tmp_path / copy.name
    shutil.copytree(tmp_path, files, ignore=shutil.ignore_patterns("test_*"))
    piccolo_conf.DB.databases = Databases(copy.settings(files, **settings))
    connection = await asyncpg.connect(copy.superuser)
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()
        await cluster.drop_database(copy)
