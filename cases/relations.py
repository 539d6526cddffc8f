"""Typed rows of a case or a task with everything around it.

To be awaited inside a bound transaction, a request's or `async with tenant(…)`: what another
tenant has is not there. The number of queries does not depend on the number of rows.
"""

from datetime import date, datetime
from typing import Any, TypedDict, cast
from uuid import UUID

from cases.tables import Case, CaseCode, Ingestion, Task
from tenancy.relations import TenantRow, UserRow, row_by_id
from tenancy.tables import Tenant, User

Document = dict[str, Any]


class IngestionRow(TypedDict):
    """A row of `ingestions`."""

    id: UUID
    tenant_id: UUID
    source_type: str
    source_metadata: Document
    storage_path: str | None
    status: str
    error_message: str | None
    created_at: datetime
    updated_at: datetime


class CaseRow(TypedDict):
    """A row of `cases`."""

    id: UUID
    tenant_id: UUID
    ingestion_id: UUID | None
    created_by: UUID
    member_id_hash: str
    payer: str
    status: str
    priority: str
    diagnosis_codes: list[str]
    confidence_json: Document
    extracted_data: Document
    metadata_json: Document | None
    unknown_codes: list[str] | None
    previous_case_id: UUID | None
    follow_up: str | None
    submitted_at: datetime | None
    decision_due_at: datetime | None
    due_ruleset_id: UUID | None
    due_ruleset_version: int | None
    extended_until: datetime | None
    extension_reason: str | None
    paused_at: datetime | None
    paused_seconds: int
    decided_at: datetime | None
    decided_by: UUID | None
    denial_reason: str | None
    authorization_number: str | None
    valid_from: date | None
    valid_until: date | None
    approved_units: int | None
    created_at: datetime
    updated_at: datetime


class CaseCodeRow(TypedDict):
    """A row of `case_codes`."""

    id: UUID
    tenant_id: UUID
    case_id: UUID
    code_type: str
    code: str
    description: str | None
    confidence: float | None
    is_known: bool | None
    created_at: datetime


class TaskRow(TypedDict):
    """A row of `tasks`."""

    id: UUID
    tenant_id: UUID
    case_id: UUID
    assigned_to: UUID | None
    title: str
    description: str | None
    status: str
    priority: str
    due_date: datetime | None
    completed_at: datetime | None
    ruleset_id: UUID | None
    ruleset_version: int | None
    requirement_kind: str | None
    requirement: str | None
    created_at: datetime
    updated_at: datetime


class CaseWithRelations(CaseRow):
    """A case with its tenant, its origin, who opened it, and its codes and tasks, oldest first."""

    tenant: TenantRow
    ingestion: IngestionRow | None
    creator: UserRow
    codes: list[CaseCodeRow]
    tasks: list[TaskRow]


class TaskWithRelations(TaskRow):
    """A task with its case and who is to do it."""

    case: CaseRow
    assignee: UserRow | None


async def case_with_relations(case_id: UUID) -> CaseWithRelations | None:
    """None when the caller's transaction sees no such case."""
    case = await row_by_id(Case, case_id)
    if case is None:
        return None
    related = {
        "tenant": await row_by_id(Tenant, case["tenant_id"]),
        "ingestion": await row_by_id(Ingestion, case["ingestion_id"]),
        "creator": await row_by_id(User, case["created_by"]),
        "codes": await _children(CaseCode, case_id),
        "tasks": await _children(Task, case_id),
    }
    return cast("CaseWithRelations", {**case, **related})


async def task_with_relations(task_id: UUID) -> TaskWithRelations | None:
    """None when the caller's transaction sees no such task."""
    task = await row_by_id(Task, task_id)
    if task is None:
        return None
    related = {
        "case": await row_by_id(Case, task["case_id"]),
        "assignee": await row_by_id(User, task["assigned_to"]),
    }
    return cast("TaskWithRelations", {**task, **related})


async def _children(table: type[CaseCode] | type[Task], case_id: UUID) -> list[dict[str, Any]]:
    return await table.select().where(table.case_id == case_id).order_by(table.created_at, table.id)
