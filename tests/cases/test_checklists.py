"""Checklists: what a payer's rulesets ask for becomes tasks of a case, once, and an evaluation says how far it is."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest_asyncio

from tenancy.scoping import tenant
from tenancy.tables import Role
from tests.api.problems import assert_problem
from tests.audit.differences import exactly_recorded
from tests.audit.looks import Log
from tests.audit.restoring import stored
from tests.cases.checklists import DOCUMENTATION, LISTED, PAYER, REQUIREMENTS, RULES, Asking, Clinics
from tests.conftest import Running

MATCHING = {
    "72148": ["72148 alone", "both"],
    " 72148 ": ["72148 alone", "both"],
    "j1885": ["both"],
    "7214*": ["72148 alone", "both"],
    "7*8": ["72148 alone", "both"],
    "*1*8*": ["72148 alone", "both"],
    "**": ["72148 alone", "both"],
    "J*": ["both"],
    "*": ["72148 alone", "both", "none"],
    **{name: [] for name in ("7214", "721480", "72_48", "7214_", "7214%", "%", "_____", "72\\148", "\\*", "7214\\*")},
}


@pytest_asyncio.fixture
async def north(client: httpx.AsyncClient, clinics: Clinics, superuser: asyncpg.Connection) -> Asking:
    """North's admin."""
    return Asking(client, clinics[0], superuser)


async def test_matching(north: Asking) -> None:
    """A ruleset matches by payer, whatever its case, and by a code, a pattern in which a star alone is special, or a
    star, which takes cases without codes too; one of another payer or that is switched off matches nothing."""
    cases = {"72148 alone": await north.case("72148"), "both": await north.case("J1885", "72148")}
    cases |= {"none": await north.case(), "of another": await north.case("72148", payer="Aetna of Texas")}
    for procedure in MATCHING:
        await north.ruleset(procedure, {"requirements": [f"by {procedure!r}"]}, payer="aETNA")
    for procedure in ("72148", "*"):
        await north.ruleset(procedure, {"requirements": ["of nobody"]}, is_active=False)
        await north.ruleset(procedure, {"requirements": ["of nobody"]}, payer="A%")
    for name, case in cases.items():
        expected = sorted(f"by {procedure!r}" for procedure, matched in MATCHING.items() if name in matched)
        # The changes of the rulesets asked for them, not the evaluation.
        assert sorted(text for _, text in await north.asked(case)) == expected, name
        assert [item["text"] for item in (await north.checklist(case))["items"]] == [
            f"by {procedure!r}" for procedure, matched in MATCHING.items() if name in matched
        ]


async def test_tasks(north: Asking) -> None:
    """A task says which ruleset asks for what, in which version, and has the priority of its case; its title is as long
    as titles may be. A text that is twice in a list, or has blanks around it, is one item; what is no text is none."""
    long = "Long " * 100
    rules = {"requirements": [f" {long}\n", "Twice", "Twice ", "Twice"], "documentation": ["Twice"]}
    ruleset = await north.ruleset("72148", rules)
    case = await north.case("72148", priority="urgent")
    tasks = await north.tasks(case)
    assert [(task["requirement_kind"], task["requirement"]) for task in tasks] == [
        *(("requirement", long.strip()), ("requirement", "Twice"), ("document", "Twice")),
    ]
    for task in tasks:
        assert (str(task["ruleset_id"]), task["ruleset_version"], task["status"]) == (ruleset, 1, "pending")
        assert (task["title"], task["priority"]) == (task["requirement"][:255], "urgent")
        assert (task["assigned_to"], task["due_date"], task["completed_at"], task["description"]) == (None,) * 4
        assert task["tenant_id"] == north.clinic.id
    (answer,) = [await north.checklist(case)]
    assert answer == {
        "items": [
            {
                "text": task["requirement"],
                "kind": task["requirement_kind"],
                "state": "not_met",
                "task_id": str(task["id"]),
                "ruleset_id": ruleset,
                "ruleset_version": 1,
            }
            for task in tasks
        ],
        "complete": False,
    }
    for malformed in (
        *({}, {"requirements": None}, {"requirements": {"Text": 1}}, {"requirements": "Text", "documentation": 1}),
        {"requirements": [1, None, ["Text"], {"a": "Text"}, "", " \n\t"], "documentation": [True]},
    ):
        document = json.dumps(malformed)
        await north.unheld("UPDATE rulesets SET rules_json = $1 WHERE id = $2", document, ruleset)
        assert await north.checklist(case) == {"items": [], "complete": True}, malformed
        await north.send("POST", "case_codes/", north.code(case, "72148"), 201)
    assert len(await north.tasks(case)) == 3


async def test_once(north: Asking) -> None:
    """However often and by however many at once a case is evaluated, and gets codes meanwhile, each item is one task,
    and nobody is told of a conflict."""
    case = await north.case()
    for procedure in ("72148", "7214*", "73721"):
        await north.ruleset(procedure)
    await asyncio.gather(
        *(north.checklist(case) for _ in range(10)),
        *(north.send("POST", "case_codes/", north.code(case, code), 201) for code in ("72148", "73721") * 5),
        *(north.checklist(case) for _ in range(10)),
    )
    assert await north.asked(case) == sorted(LISTED * 3)
    await north.unheld("DELETE FROM tasks WHERE case_id = $1", case)
    answers = await asyncio.gather(*(north.checklist(case) for _ in range(20)))
    assert await north.asked(case) == sorted(LISTED * 3)
    assert all(answer == answers[0] for answer in answers)
    async with exactly_recorded(north.superuser) as entries:
        assert await north.checklist(case) == answers[0]
    assert entries == []


async def test_states(north: Asking) -> None:
    """An item is met when its task is completed, waived when it is cancelled, and not met before; a list without one
    that is not met is complete. What is done or cancelled is not asked for again, and what is deleted is."""
    case = await north.case("72148")
    await north.ruleset("72148")
    ids = {task["requirement"]: task["id"] for task in await north.tasks(case)}
    statuses = dict(
        zip(REQUIREMENTS + DOCUMENTATION, ("completed", "cancelled", "in_progress", "pending"), strict=True)
    )
    states = dict(zip(statuses, ("met", "waived", "not_met", "not_met"), strict=True))
    for text, status in statuses.items():
        await north.send("PATCH", f"tasks/{ids[text]}/", {"status": status})
    assert await north.states(case) == states
    assert len(await north.tasks(case)) == 4
    for text in DOCUMENTATION:
        assert (await north.checklist(case))["complete"] is False
        await north.send("PATCH", f"tasks/{ids[text]}/", {"status": "completed"})
    assert (await north.checklist(case))["complete"] is True
    for text in REQUIREMENTS:
        await north.send("DELETE", f"tasks/{ids[text]}/", status=204)
    answer = await north.checklist(case)
    assert [item["state"] for item in answer["items"]] == ["not_met", "not_met", "met", "met"]
    assert {item["task_id"] for item in answer["items"]}.isdisjoint({str(ids[text]) for text in REQUIREMENTS})
    assert len(await north.tasks(case)) == 4


async def test_what_no_longer_applies(north: Asking) -> None:
    """When the code or the text is gone, or the ruleset switched off, the task stays and is no item; when the ruleset
    is deleted, its task keeps the words and the version."""
    case = await north.case("72148")
    ruleset = await north.ruleset("72148")
    text = {"requirements": REQUIREMENTS[:1], "documentation": []}
    await north.send("PATCH", f"rulesets/{ruleset}/", {"rules_json": text})
    assert list(await north.states(case)) == REQUIREMENTS[:1]
    (code,) = (await north.send("GET", f"case_codes/?case_id={case}"))["rows"]
    await north.send("DELETE", f"case_codes/{code['id']}/", status=204)
    assert await north.states(case) == {}
    await north.send("POST", "case_codes/", north.code(case, "72148"), 201)
    await north.send("PATCH", f"rulesets/{ruleset}/", {"is_active": False})
    assert await north.states(case) == {}
    before = await north.tasks(case)
    assert (len(before), {task["ruleset_version"] for task in before}) == (4, {1})
    async with exactly_recorded(north.superuser) as entries:
        await north.send("DELETE", f"rulesets/{ruleset}/", status=204)
    assert sorted(entry[:2] for entry in entries) == [("delete", "ruleset"), *[("update", "task")] * 4]
    names = ("id", "requirement", "requirement_kind", "ruleset_version", "status")
    after = await north.tasks(case)
    assert [[task[name] for name in names] for task in after] == [[task[name] for name in names] for task in before]
    assert {task["ruleset_id"] for task in after} == {None}
    await north.ruleset("72148")
    assert len(await north.tasks(case)) == 8


async def test_decided(north: Asking) -> None:
    """A decided case is evaluated and gets no more tasks, whoever would make them: what was not asked for has none."""
    case = await north.case("72148")
    await north.ruleset("72148", {"requirements": REQUIREMENTS[:1]})
    await north.unheld("UPDATE cases SET status = 'denied' WHERE id = $1", case)
    await north.ruleset("*", {"requirements": REQUIREMENTS[1:]})
    opened = await north.case()
    codes = [north.code(row, "73721") for row in (opened, case)]
    await north.ruleset("73721", {"requirements": ["Of the added code"]})
    await north.send("POST", "case_codes/", codes, 201)
    assert len(await north.tasks(opened)) == 2
    items = (await north.checklist(case))["items"]
    (task,) = await north.tasks(case)
    assert [(item["text"], item["task_id"], item["state"]) for item in items] == [
        (REQUIREMENTS[0], str(task["id"]), "not_met"),
        (REQUIREMENTS[1], None, "not_met"),
        ("Of the added code", None, "not_met"),
    ]


async def test_restored(north: Asking, superuser: asyncpg.Connection) -> None:
    """A deleted case comes back with the tasks of its checklist as they were, and none besides, though its rulesets ask
    for more by now; the next evaluation asks for that."""
    case = await north.case("72148")
    ruleset = await north.ruleset("72148")
    await north.send("PATCH", f"tasks/{(await north.tasks(case))[0]['id']}/", {"status": "completed"})
    before = await stored(superuser, north.clinic.id)
    await north.send("DELETE", f"cases/{case}/", status=204)
    await north.ruleset("*", {"requirements": ["Of every case"]})
    await north.send("PATCH", f"rulesets/{ruleset}/", {"rules_json": {**RULES, "documentation": ["Something else"]}})
    await north.send("POST", f"cases/{case}/restore/")
    after = await stored(superuser, north.clinic.id)
    for table in ("cases", "case_codes", "tasks"):
        assert after[table] == before[table], table
    assert len((await north.checklist(case))["items"]) == 4
    assert len(await north.tasks(case)) == 6


async def test_who_may_ask(running: Running, north: Asking, clinics: Clinics, superuser: asyncpg.Connection) -> None:
    """Every role evaluates, and leaves a look; another tenant's rules are not asked for, its case and one that is not
    there are the same 404."""
    south = Asking(north.client, clinics[1], superuser)
    for procedure in ("*", "72148"):
        await south.ruleset(procedure, {"requirements": ["Of south alone"]})
    case, log = await north.case("72148"), Log(superuser)
    await log.views()
    for role in Role:
        assert await north.checklist(case, role) == {"items": [], "complete": True}
    await north.ruleset("72148")
    await north.unheld("DELETE FROM tasks WHERE case_id = $1", case)
    assert (await north.checklist(case, Role.staff))["complete"] is False
    assert await north.asked(case) == sorted(LISTED)
    for missing in (await south.case("72148"), str(uuid4())):
        answer = await north.client.post(f"/api/cases/{missing}/checklist/", headers=north.clinic.headers())
        assert_problem(answer, 404)
    await north.send("POST", f"cases/{case}/checklist/", {}, 200)
    await north.send("POST", f"cases/{case}/checklist/", {"items": []}, 422)
    await north.send("GET", f"cases/{case}/checklist/", status=405)
    async with tenant("south") as bound:
        assert await bound.fetch("SELECT cases.checklist_1($1) AS checklist", case) == [(None,)]
    described = (await running.client.get("/openapi.json")).json()
    operation = described["paths"]["/api/cases/{row_id}/checklist/"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    reference = schema["properties"]["items"]["items"]["$ref"]
    item = described["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    state = described["components"]["schemas"][item["state"]["$ref"].rpartition("/")[2]]
    assert state["enum"] == ["met", "not_met", "waived"]
    assert item.keys() == {"text", "kind", "state", "task_id", "ruleset_id", "ruleset_version"}
    seen: list[Any] = [entry for entry in await log.viewed() if str(entry[1]) == case]
    assert seen[:4] == [("case", entry[1]) for entry in seen[:4]]
    assert len(seen) >= 4


async def test_limit(north: Asking, superuser: asyncpg.Connection) -> None:
    """A ruleset is asked of the open cases that match at once, if they are at most 1,000, and its tasks at most
    10,000; of the others when they are evaluated next, or their codes change."""
    insert = """
        INSERT INTO cases (id, tenant_id, created_by, member_id_hash, payer, status, diagnosis_codes, confidence_json,
                           extracted_data)
        SELECT gen_random_uuid(), $1, $2, 'hash_bulk', $3, 'pending', '{}', '{}', '{}' FROM generate_series(1, 1000)"""
    await north.unheld(insert, north.clinic.id, north.clinic.users[Role.admin], PAYER)
    rules = {"requirements": REQUIREMENTS[:1]}
    within = await north.ruleset("*", rules)
    count = "SELECT count(*), count(DISTINCT case_id) AS cases FROM tasks WHERE ruleset_id = $1"
    assert tuple(await superuser.fetchrow(count, within)) == (1000, 1000)
    case = await north.case()
    beyond = await north.ruleset("*", rules)
    assert tuple(await superuser.fetchrow(count, beyond)) == (0, 0)
    assert len((await north.checklist(case))["items"]) == 2
    other = await superuser.fetchval("SELECT id FROM cases WHERE member_id_hash = 'hash_bulk' LIMIT 1")
    await north.send("POST", "case_codes/", north.code(str(other), "72148"), 201)
    assert tuple(await superuser.fetchrow(count, beyond)) == (2, 2)
    await north.send("POST", "rulesets/", [{"payer": PAYER, "procedure": "72148", "rules_json": rules}] * 3, 201)
    assert len(await north.asked(other)) == 5
    large = {"requirements": [f"Requirement {number}" for number in range(6)]}
    body = {"payer": "Cigna", "procedure": "*", "rules_json": large, "is_active": False}
    rulesets = [row["id"] for row in (await north.send("POST", "rulesets/", [body] * 2, 201))["rows"]]
    cigna = "UPDATE cases SET payer = 'Cigna' WHERE id IN (SELECT id FROM cases WHERE tenant_id = $1 LIMIT 900)"
    await north.unheld(cigna, north.clinic.id)
    await north.send("PATCH", f"rulesets/?id__in={','.join(rulesets)}", {"is_active": True})
    made = [(await superuser.fetchrow(count, ruleset))["count"] for ruleset in rulesets]
    assert sum(made) == 10_000
    assert max(made) in (6 * 900, 6 * 901)
