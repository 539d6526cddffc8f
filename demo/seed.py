"""Loads the demo clinics through the same tables and the same boundary as everybody.

Idempotent: what is there stays as it is.
"""

import json
import secrets
import uuid
from datetime import UTC, datetime
from typing import Any

from cases.choices import TaskStatus
from cases.tables import Case, CaseCode, Ingestion, Ruleset, Task
from demo import data
from tenancy.commands import add_operator
from tenancy.operators import Operator
from tenancy.scoping import platform, tenant
from tenancy.tables import Tenant, User


async def load_demo(password: str | None = None) -> str | None:
    """Loads what is missing. Returns the operators' password when it was generated here."""
    for slug, name in data.CLINICS.items():
        await _create_clinic(slug, name)
        async with tenant(slug, f"admin@{slug}.com") as transaction:
            if not await Case.exists():
                assert transaction.scope is not None
                await _fill_clinic(slug, transaction.scope.user_id)
    return await _create_operators(password)


async def _create_clinic(slug: str, name: str) -> None:
    async with platform():
        if await Tenant.exists().where(Tenant.slug == slug):
            return
        clinic = Tenant(slug=slug, name=name)
        await clinic.save()
        for role, person in data.PEOPLE.items():
            # Stable subjects, so that a token outlives a reset of the database.
            subject = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{role}.{slug}.demo.invalid"))
            await User(tenant_id=clinic.id, email=f"{role}@{slug}.com", name=person, role=role, auth_id=subject).save()


async def _fill_clinic(slug: str, admin: uuid.UUID | None) -> None:
    ingestions = [Ingestion(**_stored(row)) for row in data.ingestions()]
    await Ingestion.insert(*ingestions)
    await Ruleset.insert(*(Ruleset(**_stored(row)) for row in data.rulesets()))
    if slug == "test-clinic":
        await _load_seed_case(admin)
    for number, row in enumerate(data.cases(), 1):
        outcome = row.pop("outcome")
        case = Case(**_stored(row), ingestion_id=ingestions[number % len(ingestions)].id)
        await Case.insert(case)
        await CaseCode.insert(CaseCode(case_id=case.id, **data.code_of(number)))
        await Task.insert(Task(case_id=case.id, assigned_to=admin if number % 2 else None, **data.task_of(number)))
        if outcome.get("status") == "approved":
            await _complete_checklist(case.id)
        if outcome:
            await Case.update(outcome).where(Case.id == case.id)


async def _complete_checklist(case_id: uuid.UUID) -> None:
    """What the rulesets asked for when the code was added is there when the payer approves."""
    asked = (Task.case_id == case_id) & Task.ruleset_id.is_not_null()
    await Task.update({Task.status: TaskStatus.completed}).where(asked)


async def _load_seed_case(admin: uuid.UUID | None) -> None:
    extracted = {"source": "email", "extracted_at": datetime.now(UTC).isoformat()}
    case = Case(**_stored({**data.SEED_CASE, "extracted_data": extracted}))
    await Case.insert(case)
    await Task.insert(Task(case_id=case.id, assigned_to=admin, **data.SEED_TASK))


def _stored(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


async def _create_operators(password: str | None) -> str | None:
    """The platform's operator and one of each clinic. A given password is set, if it is another."""
    names = {"platform": ""} | {f"{slug}-admin": slug for slug in data.CLINICS}
    chosen = password or secrets.token_urlsafe(12)
    created = False
    for username, slug in names.items():
        created |= await add_operator(username, chosen, slug, f"admin@{slug}.com" if slug else "")
    if password is not None and not created:
        await _set_password(list(names), password)
    return chosen if created and password is None else None


async def _set_password(usernames: list[str], password: str) -> None:
    async with platform():
        if await Operator.login(usernames[0], password) is None:
            hashed = Operator.hash_password(password)
            await Operator.update({Operator.password: hashed}).where(Operator.username.is_in(usernames))


async def is_wanted() -> bool:
    """Whether the database is empty, or has the demo already and may lack a part of it."""
    async with platform():
        slugs = await Tenant.select(Tenant.slug).output(as_list=True)
    return not slugs or "test-clinic" in slugs
