"""The demo data, loaded through the same boundary as everything."""

import json
from typing import Any

import asyncpg
import pytest

from cases.choices import CaseStatus
from cases.tables import Case
from demo.seed import is_wanted, load_demo
from tenancy.commands import add_operator
from tenancy.engine import FastlaneEngine
from tenancy.operators import Operator
from tenancy.scoping import platform, tenant
from tenancy.tables import Tenant

TABLES = ("tenants", "users", "ingestions", "cases", "case_codes", "tasks", "rulesets", "events", "operators")


async def test_seed_rows_are_there(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """`test-clinic` holds the seed's own user, case and task."""
    await load_demo("demo-password")
    row = await superuser.fetchrow(
        """
        SELECT u.email, u.name, u.role, t.slug, t.name AS tenant, c.payer, c.status, c.priority, c.diagnosis_codes,
               c.confidence_json, c.extracted_data, k.title, k.description, k.status AS task,
               k.assigned_to = u.id AS own
          FROM cases c JOIN users u ON u.id = c.created_by JOIN tenants t ON t.id = c.tenant_id
          JOIN tasks k ON k.case_id = c.id
         WHERE c.member_id_hash = 'hash_test_member_001'
        """
    )
    assert (row["slug"], row["tenant"]) == ("test-clinic", "Test Clinic")
    assert (row["email"], row["name"], row["role"]) == ("admin@test-clinic.com", "Admin User", "admin")
    assert (row["payer"], row["status"], row["priority"]) == ("Blue Cross Blue Shield", "pending", "normal")
    assert row["diagnosis_codes"] == ["M79.3", "M25.561"]
    fields = {"member_id": 0.95, "payer": 0.98, "diagnosis": 0.89}
    assert json.loads(row["confidence_json"]) == {"overall": 0.92, "fields": fields}
    assert set(json.loads(row["extracted_data"])) == {"source", "extracted_at"}
    assert (row["title"], row["task"], row["own"]) == ("Review prior auth request", "pending", True)
    assert row["description"].startswith("Review the extracted data")


@pytest.mark.parametrize("slug", ["test-clinic", "lakeside-imaging"])
async def test_each_clinic_fills_its_screens(engine: FastlaneEngine, superuser: asyncpg.Connection, slug: str) -> None:
    """Users of each role, and cases in every status, with codes, tasks, ingestions and rulesets."""
    await load_demo("demo-password")
    clinic = await superuser.fetchval("SELECT id FROM tenants WHERE slug = $1", slug)
    emails = await superuser.fetch("SELECT email FROM users WHERE tenant_id = $1 AND auth_id IS NOT NULL", clinic)
    assert {row["email"] for row in emails} == {f"{role}@{slug}.com" for role in ("admin", "clinician", "staff")}
    statuses = await superuser.fetch("SELECT DISTINCT status FROM cases WHERE tenant_id = $1", clinic)
    assert {row["status"] for row in statuses} == {status.value for status in CaseStatus}
    for table in ("ingestions", "case_codes", "tasks", "rulesets", "events", "audit_logs"):
        assert await superuser.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", clinic) >= 5, table


async def test_checklists_are_there(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """Each clinic has open cases whose payer asks for something, and approved ones that had all of it."""
    await load_demo("demo-password")
    rows = await superuser.fetch(
        """
        SELECT t.slug, c.status, array_agg(DISTINCT k.status::text) AS tasks FROM cases c
          JOIN tenants t ON t.id = c.tenant_id JOIN tasks k ON k.case_id = c.id AND k.ruleset_id IS NOT NULL
         GROUP BY t.slug, c.status
        """
    )
    found = {(row["slug"], row["status"]): row["tasks"] for row in rows}
    for slug in ("test-clinic", "lakeside-imaging"):
        assert found[slug, "pending"] == ["pending"]
        assert found[slug, "approved"] == ["completed"]


async def test_loading_twice_changes_nothing(engine: FastlaneEngine, superuser: asyncpg.Connection) -> None:
    """A second load finds everything there, whatever was edited meanwhile."""
    generated = await load_demo()
    assert generated is not None
    async with tenant("test-clinic"):
        await Case.update({Case.payer: "Edited"}).where(Case.member_id_hash == "hash_test_member_001")
    before = await _counts(superuser)
    assert await load_demo() is None
    assert await _counts(superuser) == before
    assert await superuser.fetchval("SELECT count(*) FROM cases WHERE payer = 'Edited'") == 1


async def test_demo_operators_log_in(engine: FastlaneEngine) -> None:
    """The generated password works for all three, and a given one replaces it."""
    generated = await load_demo()
    assert generated is not None
    for password in (generated, "another-password"):
        await load_demo(password)
        async with platform():
            for username in ("platform", "test-clinic-admin", "lakeside-imaging-admin"):
                assert await Operator.login(username, password) is not None
                assert await Operator.login(username, "wrong-password") is None


async def test_other_databases_get_no_demo(engine: FastlaneEngine) -> None:
    """Somebody's own tenants are not mixed with the demo's."""
    assert await is_wanted()
    async with platform():
        await Tenant(slug="somebodys-own", name="Somebody's own").save()
    assert not await is_wanted()


async def test_an_operator_acts_as_a_user_of_the_tenant(engine: FastlaneEngine) -> None:
    """No operator is made for a tenant without a user that the trail could name."""
    await load_demo("demo-password")
    with pytest.raises(LookupError):
        await add_operator("extra", "long-enough", "test-clinic", "nobody@test-clinic.com")
    assert await add_operator("extra", "long-enough", "test-clinic", "staff@test-clinic.com")
    assert not await add_operator("extra", "long-enough", "test-clinic", "staff@test-clinic.com")


async def _counts(superuser: asyncpg.Connection) -> dict[str, Any]:
    return {table: await superuser.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
