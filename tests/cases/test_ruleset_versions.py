"""The versions of a ruleset: counted by the database, chosen by nobody, and each explainable later."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from tenancy.scoping import platform, tenant
from tenancy.tables import Role
from tests.cases.checklists import REQUIREMENTS, RULES, Asking, Clinics
from tests.conftest import Running
from tests.operators import fill_form, operator

pytestmark = pytest.mark.filterwarnings("ignore:If running sessions in production")

NEW_RULES = {"requirements": [REQUIREMENTS[0], "Twelve weeks of physical therapy"]}


@pytest_asyncio.fixture
async def north(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> Asking:
    """North's admin."""
    return Asking(client, clinics[0], superuser)


async def version(north: Asking, ruleset: str) -> int:
    """What is stored."""
    found: int = await north.superuser.fetchval("SELECT version FROM rulesets WHERE id = $1", ruleset)
    return found


async def test_what_was_evaluated_stays_explainable(north: Asking) -> None:
    """Evaluated, edited and evaluated again, an item names the version that asks now, its task the one that asked
    first, and the history of the ruleset has the words of each."""
    ruleset = await north.ruleset("72148")
    case = await north.case("72148")
    before = await north.checklist(case)
    assert [(item["text"], item["ruleset_version"]) for item in before["items"][:2]] == [(t, 1) for t in REQUIREMENTS]
    await north.send("PATCH", f"rulesets/{ruleset}/", {"rules_json": NEW_RULES})
    after = await north.checklist(case)
    assert [(item["text"], item["ruleset_version"]) for item in after["items"]] == [
        (text, 2) for text in NEW_RULES["requirements"]
    ]
    assert after["items"][0]["task_id"] == before["items"][0]["task_id"]
    asked = {task["requirement"]: task["ruleset_version"] for task in await north.tasks(case)}
    assert asked == {
        **dict.fromkeys(RULES["requirements"] + RULES["documentation"], 1),
        NEW_RULES["requirements"][1]: 2,
    }
    for role in Role:
        entries = (await north.send("GET", f"rulesets/{ruleset}/history/", role=role))["rows"]
        explained = {entry["row"]["version"]: entry["row"]["rules_json"] for entry in entries}
        assert explained == {1: RULES, 2: NEW_RULES}
    (answer,) = (await north.send("GET", f"tasks/?id={before['items'][3]['task_id']}"))["rows"]
    assert answer["requirement"] in explained[answer["ruleset_version"]]["documentation"]


async def test_what_counts(running: Running, north: Asking) -> None:
    """A change of payer, procedure, rules or of whether they apply counts, once, in each way; what leaves them as they
    are does not, and a restored version is a new one."""
    ruleset = await north.ruleset("72148")
    path, expected = f"rulesets/{ruleset}/", 1
    changes: list[tuple[dict[str, Any], int]] = [
        ({"payer": "Cigna"}, 1),
        ({"payer": "Cigna"}, 0),
        ({"procedure": "73721"}, 1),
        ({"rules_json": NEW_RULES}, 1),
        ({"rules_json": dict(reversed(NEW_RULES.items()))}, 0),
        ({"is_active": False}, 1),
        ({"is_active": True, "payer": "Humana"}, 1),
        ({}, 0),
    ]
    for change, counted in changes:
        answer, expected = await north.send("PATCH", path, change), expected + counted
        assert answer["version"] == expected == await version(north, ruleset), change
    await north.send("POST", f"{path}restore/", {"version": 1})
    assert await version(north, ruleset) == expected + 1
    assert (await north.send("PATCH", path, {"version": expected + 1}))["version"] == expected + 1
    for chosen in (1, expected + 2, None):
        await north.send("PATCH", path, {"version": chosen}, 422)
    body = {"payer": "Aetna", "procedure": "72148", "rules_json": RULES}
    await north.send("POST", "rulesets/", body | {"version": 3}, 422)
    expected += 1
    for role in (Role.admin, None):
        async with operator(running.url, role) as browser:
            admins = f"/api/tables/rulesets/{ruleset}/"
            assert (await browser.patch(admins, json={"version": 99})).status_code == 200
            assert await version(north, ruleset) == expected
            changed = await browser.patch(admins, json={"version": 99, "procedure": f"of {role}"})
            assert changed.json()["version"] == expected + 1
            expected += 1
            form = await fill_form(browser, "rulesets", body)
            form |= {"version": 99} | ({"tenant_id": str(north.clinic.id)} if role is None else {})
            created = await browser.post("/api/tables/rulesets/", json=form)
            assert created.status_code == 201, created.text
            assert await version(north, str(created.json()[0]["id"])) == 1


async def test_nobody_chooses_in_sql(north: Asking) -> None:
    """As a tenant, as the platform or as the superuser nobody sets the number of a ruleset that is there, nor the first
    two that of a new one; and the attempt alone is no change."""
    ruleset = UUID(await north.ruleset("72148"))
    stored = await north.superuser.fetchrow("SELECT * FROM rulesets WHERE id = $1", ruleset)
    insert = """INSERT INTO rulesets (id, tenant_id, payer, procedure, rules_json, version)
                VALUES (gen_random_uuid(), $1, 'Aetna', '72148', '{}', 5) RETURNING version"""
    scopes: list[Callable[[], Any]] = [partial(tenant, "north"), platform]
    for scope in scopes:
        async with scope() as bound:
            await bound.fetch("UPDATE rulesets SET version = 5 WHERE id = $1", ruleset)
            assert [row["version"] for row in await bound.fetch(insert, north.clinic.id)] == [1]
    await north.superuser.execute("UPDATE rulesets SET version = 5 WHERE id = $1", ruleset)
    assert await north.superuser.fetchrow("SELECT * FROM rulesets WHERE id = $1", ruleset) == stored
    assert await north.superuser.fetchval(insert, north.clinic.id) == 5
    await north.send("PATCH", f"rulesets/{ruleset}/", {"procedure": "73721"})
    before = await north.send("GET", f"rulesets/{ruleset}/")
    await north.send("DELETE", f"rulesets/{ruleset}/", status=204)
    assert await north.send("POST", f"rulesets/{ruleset}/restore/") == before
    assert before["version"] == 2
