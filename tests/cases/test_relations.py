"""Typed rows with their relations: complete, and the caller's tenant's only."""

import uuid
from typing import Any, get_type_hints

import pytest
from piccolo.columns import JSON, JSONB
from piccolo.table import Table

from cases.relations import (
    CaseCodeRow,
    CaseRow,
    IngestionRow,
    TaskRow,
    case_with_relations,
    task_with_relations,
)
from cases.tables import Case, CaseCode, Ingestion, Task
from tenancy.engine import FastlaneEngine
from tenancy.relations import TenantRow, UserRow, row_by_id, user_with_tenant
from tenancy.scoping import platform, tenant
from tenancy.tables import Role, Tenant, User
from tests.clinics import Clinic

ROWS: list[tuple[type[Table], Any]] = [
    (Tenant, TenantRow),
    (User, UserRow),
    (Ingestion, IngestionRow),
    (Case, CaseRow),
    (CaseCode, CaseCodeRow),
    (Task, TaskRow),
]


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_typed_row_has_the_columns_of_its_table(table: type[Table], row: Any) -> None:
    """Names and nullability are those of the table."""
    hints = get_type_hints(row)
    columns = {column._meta.name: column._meta.null for column in table._meta.columns}
    assert {name: type(None) in getattr(hint, "__args__", ()) for name, hint in hints.items()} == columns


async def test_case_comes_with_everything_around_it(clinics: tuple[Clinic, Clinic]) -> None:
    """Tenant, ingestion, creator, codes and tasks; JSON as dicts."""
    clinic, _ = clinics
    async with tenant(clinic.slug):
        case = await case_with_relations(clinic.rows["cases"])
    assert case is not None
    assert case["confidence_json"] == {"overall": 1}
    assert case["extracted_data"] == {}
    assert case["metadata_json"] is None
    assert case["tenant"]["slug"] == clinic.slug
    assert case["ingestion"] is not None
    assert case["ingestion"]["id"] == clinic.rows["ingestions"]
    assert case["ingestion"]["source_metadata"] == {}
    assert case["creator"]["id"] == clinic.users[Role.admin]
    assert [code["id"] for code in case["codes"]] == [clinic.rows["case_codes"]]
    assert [task["id"] for task in case["tasks"]] == [clinic.rows["tasks"]]


async def test_case_without_ingestion_and_children(clinics: tuple[Clinic, Clinic]) -> None:
    """What is not there is None or empty."""
    clinic, _ = clinics
    async with tenant(clinic.slug, f"admin@{clinic.slug}.com"):
        bare = Case(member_id_hash="hash_bare", payer="Aetna", confidence_json="{}", extracted_data="{}")
        await bare.save()
        case = await case_with_relations(bare.id)
    assert case is not None
    assert case["ingestion"] is None
    assert case["codes"] == []
    assert case["tasks"] == []


async def test_codes_come_oldest_first(clinics: tuple[Clinic, Clinic]) -> None:
    """Whatever was written last is last."""
    clinic, _ = clinics
    async with tenant(clinic.slug):
        later = CaseCode(case_id=clinic.rows["cases"], code_type="CPT", code="72148")
        await later.save()
    async with tenant(clinic.slug):
        case = await case_with_relations(clinic.rows["cases"])
    assert case is not None
    assert [code["id"] for code in case["codes"]] == [clinic.rows["case_codes"], later.id]


async def test_task_comes_with_case_and_assignee(clinics: tuple[Clinic, Clinic]) -> None:
    """The assignee is None when nobody is to do it."""
    clinic, _ = clinics
    async with tenant(clinic.slug):
        task = await task_with_relations(clinic.rows["tasks"])
        await Task.update({Task.assigned_to: None}).where(Task.id == clinic.rows["tasks"])
        unassigned = await task_with_relations(clinic.rows["tasks"])
    assert task is not None
    assert task["case"]["id"] == clinic.rows["cases"]
    assert task["case"]["confidence_json"] == {"overall": 1}
    assert task["assignee"] is not None
    assert task["assignee"]["id"] == clinic.rows["users"]
    assert unassigned is not None
    assert unassigned["assignee"] is None


async def test_user_comes_with_tenant(clinics: tuple[Clinic, Clinic]) -> None:
    """A user and the tenant, in one row."""
    clinic, _ = clinics
    async with tenant(clinic.slug):
        user = await user_with_tenant(clinic.users[Role.staff])
    assert user is not None
    assert user["role"] == "staff"
    assert user["tenant"]["id"] == clinic.id


async def test_rows_of_another_tenant_are_not_there(clinics: tuple[Clinic, Clinic]) -> None:
    """Another tenant's row is the same as none."""
    north, south = clinics
    async with tenant(north.slug):
        assert await case_with_relations(south.rows["cases"]) is None
        assert await task_with_relations(south.rows["tasks"]) is None
        assert await user_with_tenant(south.users[Role.admin]) is None
        assert await case_with_relations(uuid.uuid4()) is None


async def test_platform_sees_both_tenants(clinics: tuple[Clinic, Clinic]) -> None:
    """An operator of the platform gets each case with its own relations."""
    async with platform():
        cases = [await case_with_relations(clinic.rows["cases"]) for clinic in clinics]
    assert [case and case["tenant"]["slug"] for case in cases] == [clinic.slug for clinic in clinics]


async def test_no_id_is_no_row(engine: FastlaneEngine) -> None:
    """A reference that is NULL asks the database nothing."""
    assert await row_by_id(Case, None) is None


def test_every_json_column_is_typed_as_a_document() -> None:
    """A JSON column is a dict, never a string that holds JSON."""
    for table, row in ROWS:
        hints = get_type_hints(row)
        for column in table._meta.columns:
            if isinstance(column, JSON | JSONB):
                assert "dict" in str(hints[column._meta.name])
