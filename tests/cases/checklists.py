"""What the tests of checklists make and look at: cases, codes and rulesets over HTTP, tasks as they are stored."""

from typing import Any
from uuid import UUID

import asyncpg
import httpx

from tenancy.tables import Role
from tests.clinics import Clinic

Clinics = tuple[Clinic, Clinic]
PAYER = "Aetna"
REQUIREMENTS = ["Six weeks of conservative treatment", "Imaging within the last year"]
DOCUMENTATION = ["Clinical notes", "Treatment history"]
RULES = {"requirements": REQUIREMENTS, "documentation": DOCUMENTATION}
LISTED = [*(("requirement", text) for text in REQUIREMENTS), *(("document", text) for text in DOCUMENTATION)]
# What nobody could write any more, or nobody could write yet: no trigger is called.
UNHELD = "SET session_replication_role = {}"

TASKS = """
SELECT t.*, c.tenant_id AS tenant_of_case, c.priority AS priority_of_case FROM tasks t JOIN cases c ON c.id = t.case_id
 WHERE t.case_id = $1 AND t.requirement IS NOT NULL ORDER BY t.requirement_kind DESC, t.requirement
"""


class Asking:
    """A clinic's admin, who makes what a test needs, and looks at what came of it."""

    def __init__(self, client: httpx.AsyncClient, clinic: Clinic, superuser: asyncpg.Connection) -> None:
        self.client = client
        self.clinic = clinic
        self.superuser = superuser

    async def send(self, method: str, path: str, json: Any = None, status: int = 200, role: Role = Role.admin) -> Any:
        """The answer's body; fails unless it has that status."""
        answer = await self.client.request(method, f"/api/{path}", json=json, headers=self.clinic.headers(role))
        assert answer.status_code == status, (method, path, answer.text)
        return answer.json() if answer.content else None

    async def case(self, *codes: str, payer: str = PAYER, **columns: Any) -> str:
        """The id of a new case with these codes."""
        case: str = (await self.send("POST", "cases/", self.clinic.body("cases", payer=payer, **columns), 201))["id"]
        if codes:
            await self.send("POST", "case_codes/", [self.code(case, code) for code in codes], 201)
        return case

    def code(self, case: str, code: str) -> dict[str, Any]:
        """The body of a new code."""
        return self.clinic.body("case_codes", case_id=case, code=code, code_type="CPT" if code.isdigit() else "HCPCS")

    async def ruleset(self, procedure: str, rules: Any = RULES, payer: str = PAYER, **columns: Any) -> str:
        """The id of a new ruleset."""
        body = {"payer": payer, "procedure": procedure, "rules_json": rules, **columns}
        ruleset: str = (await self.send("POST", "rulesets/", body, 201))["id"]
        return ruleset

    async def checklist(self, case: str, role: Role = Role.admin) -> Any:
        """The case, evaluated."""
        return await self.send("POST", f"cases/{case}/checklist/", role=role)

    async def states(self, case: str) -> dict[str, str]:
        """The state of each item of the case, by its text."""
        return {item["text"]: item["state"] for item in (await self.checklist(case))["items"]}

    async def tasks(self, case: str | UUID) -> list[asyncpg.Record]:
        """What rulesets ever asked of the case, requirements first."""
        rows: list[asyncpg.Record] = await self.superuser.fetch(TASKS, case)
        return rows

    async def asked(self, case: str | UUID) -> list[tuple[str, str]]:
        """Kind and text of those, sorted."""
        return sorted((task["requirement_kind"], task["requirement"]) for task in await self.tasks(case))

    async def unheld(self, statement: str, *values: Any) -> None:
        """Writes what no rule holds."""
        await self.superuser.execute(UNHELD.format("replica"))
        await self.superuser.execute(statement, *values)
        await self.superuser.execute(UNHELD.format("origin"))
