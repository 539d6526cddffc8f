"""The tasks of checklists are made whoever writes, at the same time too; and nobody claims that a ruleset asks for what
it does not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tenancy.scoping import platform, tenant
from tenancy.tables import Role
from tests.audit.differences import exactly_recorded
from tests.cases.checklists import LISTED, PAYER, REQUIREMENTS, RULES, TASKS, Asking, Clinics
from tests.cluster import TestDatabase
from tests.conftest import Running
from tests.operators import fill_form, operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

Write = Callable[[str, dict[str, Any]], Awaitable[str]]
"""Creates a row of a table; its id."""

COLUMNS = {
    "cases": "member_id_hash, payer, status, diagnosis_codes, confidence_json, extracted_data",
    "case_codes": "case_id, code_type, code",
    "rulesets": "payer, procedure, rules_json",
}
BIND = """
SELECT set_config('app.tenant_id', $1, false), set_config('app.user_id', $2, false),
       set_config('app.user_role', 'admin', false), set_config('role', 'fastlane_tenant', false)
"""
EVERY = {"requirements": ["Of every case"]}
CLAIMS: dict[str, Any] = {
    "ruleset_id": None,
    "ruleset_version": 7,
    "requirement_kind": "document",
    "requirement": "Forged",
}


@pytest_asyncio.fixture
async def north(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> Asking:
    """North's admin."""
    return Asking(client, clinics[0], superuser)


@asynccontextmanager
async def writer(way: str, running: Running, north: Asking) -> AsyncIterator[Write]:
    """Whoever creates rows that way."""

    async def over_http(table: str, body: dict[str, Any]) -> str:
        answer = await north.send("POST", f"{table}/", [body] if way == "bulk" else body, 201)
        created: str = answer["rows"][0]["id"] if way == "bulk" else answer["id"]
        return created

    async def in_sql(table: str, body: dict[str, Any]) -> str:
        bound = {"tenant": tenant("north", "admin@north.com"), "platform": platform(), "superuser": platform()}[way]
        of_user = {"created_by": str(north.clinic.users[Role.admin])} if table == "cases" else {}
        row = json.dumps(body | {"id": str(uuid4()), "tenant_id": str(north.clinic.id)} | of_user)
        names = ", ".join(("id", "tenant_id", COLUMNS[table], *of_user))
        insert = (
            f"INSERT INTO {table} ({names}) SELECT {names} FROM jsonb_populate_record(NULL::{table}, $1) RETURNING id"
        )
        if way == "superuser":
            return str(await north.superuser.fetchval(insert, row))
        async with bound as transaction:
            return str((await transaction.fetch(insert, row))[0]["id"])

    if way in ("single", "bulk"):
        yield over_http
    elif way not in ("admin", "platform admin"):
        yield in_sql
    else:
        async with operator(running.url, Role.admin if way == "admin" else None) as browser:

            async def in_the_admin(table: str, body: dict[str, Any]) -> str:
                form = await fill_form(browser, table, body)
                if way == "platform admin":
                    form |= {"tenant_id": str(north.clinic.id)}
                    form |= {"created_by": str(north.clinic.users[Role.admin])} if table == "cases" else {}
                created = await browser.post(f"/api/tables/{table}/", json=form)
                assert created.status_code == 201, created.text
                return str(created.json()[0]["id"])

            yield in_the_admin


@pytest.mark.parametrize(
    "way", ["single", "bulk", "admin", "platform admin", "tenant", "platform", "superuser"], ids=lambda way: way
)
async def test_each_way_in(running: Running, north: Asking, clinics: Clinics, way: str) -> None:
    """A new case, a new code and a new ruleset make the tasks, each of the case's own tenant and with an entry on the
    trail, whoever writes them; and so do a payer, a code and a ruleset that are changed. Another tenant's ruleset asks
    for nothing."""
    south = Asking(north.client, clinics[1], north.superuser)
    for procedure in ("*", "72148"):
        await south.ruleset(procedure, {"requirements": ["Of south alone"]})
    await north.ruleset("*", EVERY)
    async with exactly_recorded(north.superuser) as entries, writer(way, running, north) as write:
        case = await write("cases", north.clinic.body("cases", payer=PAYER))
        assert await north.asked(case) == [("requirement", "Of every case")]
        ruleset = await write("rulesets", {"payer": PAYER.upper(), "procedure": "72148", "rules_json": RULES})
        await write("case_codes", north.code(case, "72148"))
        assert await north.asked(case) == sorted([*LISTED, ("requirement", "Of every case")])
        await write("rulesets", {"payer": PAYER, "procedure": "7*", "rules_json": {"documentation": ["Added"]}})
        assert ("document", "Added") in await north.asked(case)
    rows = await north.tasks(case)
    assert sum(entry[:2] == ("create", "task") for entry in entries) == len(rows) == 6
    assert {row["tenant_id"] for row in rows} == {north.clinic.id}

    bound = {"tenant": tenant("north"), "platform": platform()}.get(way)
    if bound is not None:
        other = await north.case("73721", payer="Humana")
        async with exactly_recorded(north.superuser) as entries, bound as transaction:
            await transaction.fetch("UPDATE cases SET payer = $1 WHERE id = $2", PAYER, UUID(other))
            await transaction.fetch("UPDATE case_codes SET code = '72148' WHERE case_id = $1", UUID(other))
            added = json.dumps({"requirements": [*REQUIREMENTS, "New"]})
            await transaction.fetch("UPDATE rulesets SET rules_json = $1 WHERE id = $2", added, UUID(ruleset))
        news = [("requirement", "Of every case"), ("document", "Added"), ("requirement", "New")]
        assert await north.asked(other) == sorted([*LISTED, *news])
        assert sum(entry[:2] == ("create", "task") for entry in entries) == 8


async def test_changes_over_http(north: Asking) -> None:
    """A payer, a code or a ruleset that is changed over HTTP makes the tasks too, one by one and many at once."""
    await north.ruleset("*", EVERY)
    await north.ruleset("72148")
    ruleset = await north.ruleset("72148", {"requirements": ["Later"]}, is_active=False)
    cases = [await north.case("73721", payer="Humana") for _ in range(3)]
    await north.send("PATCH", f"cases/{cases[0]}/", {"payer": PAYER})
    await north.send("PATCH", f"cases/?id__in={','.join(cases[1:])}", {"payer": PAYER})
    assert [await north.asked(case) for case in cases] == [[("requirement", "Of every case")]] * 3
    codes = [(await north.send("GET", f"case_codes/?case_id={case}"))["rows"][0] for case in cases]
    await north.send("PUT", f"case_codes/{codes[0]['id']}/", north.code(cases[0], "72148"))
    ids = ",".join(code["id"] for code in codes[1:])
    await north.send("PATCH", f"case_codes/?id__in={ids}", {"code": "72148"})
    await north.send("PATCH", f"rulesets/{ruleset}/", {"is_active": True})
    news = [("requirement", "Of every case"), ("requirement", "Later")]
    assert [await north.asked(case) for case in cases] == [sorted([*LISTED, *news])] * 3
    moved = await north.case()
    await north.send("PATCH", f"case_codes/{codes[0]['id']}/", {"case_id": moved})
    assert await north.asked(moved) == await north.asked(cases[0])


async def test_owner(north: Asking, owner: asyncpg.Connection) -> None:
    """The owner of the tables, whom row-level security binds, writes nothing and so makes nothing."""
    case = await north.case()
    await north.ruleset("72148")
    for statement in (
        "INSERT INTO case_codes (id, tenant_id, case_id, code_type, code) VALUES ($1, $2, $3, 'CPT', '72148')",
        """INSERT INTO tasks (id, tenant_id, case_id, title, requirement) VALUES ($1, $2, $3, 'A task', 'Forged')""",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await owner.execute(statement, uuid4(), north.clinic.id, case)
    assert await north.asked(case) == []


async def test_at_the_same_time(north: Asking, database: TestDatabase) -> None:
    """Of two transactions that do not see each other, one waits for the other where one of them brings a code or a
    payer and the other a ruleset or a code; whoever comes first, the tasks are made of both, and nobody is refused."""
    one, two = [await asyncpg.connect(database.superuser) for _ in range(2)]
    for connection in (one, two):
        await connection.execute(BIND, str(north.clinic.id), str(north.clinic.users[Role.admin]))
    case, changed = await north.case(), await north.case("72148", payer="Humana")
    ruleset = await north.ruleset("72148", {"requirements": REQUIREMENTS[:1]})
    insert_code = f"""INSERT INTO case_codes (id, tenant_id, case_id, code_type, code)
        VALUES (gen_random_uuid(), '{north.clinic.id}', '{case}', 'CPT', '72148')"""
    change_ruleset = f"""UPDATE rulesets SET rules_json = '{json.dumps(RULES)}' WHERE id = '{ruleset}'"""
    change_payer = f"UPDATE cases SET payer = '{PAYER}' WHERE id = '{changed}'"
    insert_for_changed = insert_code.replace(case, changed).replace("72148", "73721")
    delete_ruleset = f"DELETE FROM rulesets WHERE id = '{ruleset}'"
    insert_task = f"""INSERT INTO tasks
        (id, tenant_id, case_id, title, ruleset_id, ruleset_version, requirement_kind, requirement)
        SELECT gen_random_uuid(), tenant_id, '{case}', 'By hand', id, version, 'requirement', '{REQUIREMENTS[0]}'
          FROM rulesets WHERE id = '{ruleset}'"""
    switch_off = f"UPDATE rulesets SET is_active = false WHERE id = '{ruleset}'"

    async def race(first: str, second: str) -> dict[str, int]:
        """How many tasks both cases have, when `second` begins before `first` is committed."""
        await _as_at_first(north, case, changed)
        begun = one.transaction()
        await begun.start()
        await one.execute(first)
        waiting = asyncio.create_task(two.execute(second))
        await _waits(north.superuser, two, waiting)
        await begun.commit()
        await waiting
        return {name: len(await one.fetch(TASKS, UUID(row))) for name, row in (("case", case), ("changed", changed))}

    assert await race(insert_code, change_ruleset) == {"case": 4, "changed": 0}
    assert await race(change_ruleset, insert_code) == {"case": 4, "changed": 0}
    assert await race(change_payer, change_ruleset) == {"case": 0, "changed": 4}
    assert await race(change_ruleset, change_payer) == {"case": 0, "changed": 4}
    for first in (insert_code, insert_task):
        assert await race(first, insert_code) == {"case": 1, "changed": 0}
    await north.ruleset("73721", {"requirements": ["Of the other code"]})
    assert await race(change_payer, insert_for_changed) == {"case": 0, "changed": 2}
    assert await race(insert_for_changed, change_payer) == {"case": 0, "changed": 2}
    await race(switch_off, insert_code)
    await north.unheld("UPDATE rulesets SET is_active = true")
    await race(insert_code, switch_off)
    await north.unheld("UPDATE rulesets SET is_active = true")
    assert await race(delete_ruleset, insert_code) == {"case": 0, "changed": 0}
    for connection in (one, two):
        await connection.close()


async def _as_at_first(north: Asking, case: str, changed: str) -> None:
    """One case without codes, one of another payer, no tasks, and rulesets that ask for one thing each."""
    await north.unheld("DELETE FROM tasks WHERE requirement IS NOT NULL")
    await north.unheld("DELETE FROM case_codes WHERE case_id = $1", case)
    await north.unheld("DELETE FROM case_codes WHERE code = '73721'")
    await north.unheld("UPDATE rulesets SET rules_json = $1", json.dumps({"requirements": REQUIREMENTS[:1]}))
    await north.unheld("UPDATE cases SET payer = 'Humana' WHERE id = $1", changed)


async def _waits(superuser: asyncpg.Connection, connection: asyncpg.Connection, waiting: asyncio.Task[Any]) -> None:
    """Returns when the connection's statement waits for a lock, or is over."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
    while not waiting.done() and not await superuser.fetchval(query, connection.get_server_pid()):
        pass


async def test_nobody_claims_for_a_ruleset(running: Running, north: Asking) -> None:
    """Over HTTP and in the admin nobody makes a task say that a ruleset asks for it, or changes what a task says of
    that; what else is in such a task is anybody's to change."""
    ruleset = await north.ruleset("72148")
    case = await north.case("72148")
    task = (await north.tasks(case))[0]
    for name, value in CLAIMS.items():
        await north.send("PATCH", f"tasks/{task['id']}/", {name: value}, 422)
        own = value if value is not None else ruleset
        await north.send("POST", "tasks/", north.clinic.body("tasks", case_id=case, **{name: own}), 422)
    for role in (Role.admin, None):
        async with operator(running.url, role) as browser:
            path = f"/api/tables/tasks/{task['id']}/"
            for name, value in CLAIMS.items():
                assert (await browser.patch(path, json={name: value})).status_code == 422, name
            assert (await browser.patch(path, json={"title": "Shorter"})).status_code == 200
            form = await fill_form(browser, "tasks", north.clinic.body("tasks", case_id=case, requirement="Forged"))
            assert (await browser.post("/api/tables/tasks/", json=form)).status_code == 422
    names = [name for name, _ in task.items() if name not in ("title", "search", "updated_at")]
    assert [(await north.tasks(case))[0][name] for name in names] == [task[name] for name in names]
    assert len(await north.tasks(case)) == 4


async def test_nobody_claims_in_sql(north: Asking) -> None:
    """As a tenant or as the platform nobody inserts a task that says of a ruleset what it does not ask for now, or
    changes what a task says; and what it does ask for is a task once."""
    ruleset = await north.ruleset("72148")
    case = await north.case("72148")
    task = (await north.tasks(case))[0]
    text, version = task["requirement"], 1
    forged = [
        (ruleset, version, "requirement", "Forged"),
        (ruleset, version, "document", text),
        (ruleset, version + 1, "requirement", text),
        (str(uuid4()), version, "requirement", text),
        (None, None, None, "Forged"),
        (None, version, None, None),
        (ruleset, None, None, None),
    ]
    insert = """
        INSERT INTO tasks (id, tenant_id, case_id, title, ruleset_id, ruleset_version, requirement_kind, requirement)
        VALUES (gen_random_uuid(), $1, $2, 'A task', $3, $4, $5, $6)"""
    scopes: list[Callable[[], Any]] = [partial(tenant, "north"), platform]
    for scope in scopes:
        for values in forged:
            with pytest.raises(asyncpg.PostgresError) as refused:
                async with scope() as bound:
                    await bound.fetch(insert, north.clinic.id, UUID(case), *values)
            assert refused.value.sqlstate == "FL422", values
        for name, value in CLAIMS.items():
            with pytest.raises(asyncpg.PostgresError) as refused:
                async with scope() as bound:
                    await bound.fetch(f"UPDATE tasks SET {name} = $1 WHERE id = $2", value, task["id"])
            assert (refused.value.sqlstate, refused.value.column_name) == ("FL422", name)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with scope() as bound:
                await bound.fetch(insert, north.clinic.id, UUID(case), ruleset, 1, "requirement", text)
    assert await north.tasks(case) == [task, *(await north.tasks(case))[1:]]
    assert len(await north.tasks(case)) == 4
