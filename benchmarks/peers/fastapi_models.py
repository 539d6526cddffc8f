"""The tables of the FastAPI peer for SQLAlchemy, and what it takes and gives for Pydantic.

The tables are as they are in the database, whose defaults fill in what has one; `search` is left out.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, FetchedValue, ForeignKey, String
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

PAGE_SIZE = 20

Document = dict[str, Any]
Status = Literal["pending", "approved", "denied", "more_info_needed"]
Priority = Literal["low", "normal", "high", "urgent"]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Code = Annotated[str, Field(max_length=20)]

Key = Annotated[UUID, mapped_column(primary_key=True, server_default=FetchedValue())]
Moment = Annotated[datetime, mapped_column(server_default=FetchedValue())]
Counter = Annotated[int, mapped_column(server_default=FetchedValue())]
CaseKey = Annotated[UUID, mapped_column(ForeignKey("cases.id"))]


class Base(DeclarativeBase):
    """What the tables have in common."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class.
        datetime: DateTime(timezone=True),
        Document: JSONB(none_as_null=True),
        list[str]: ARRAY(String),
    }
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy reads it from the class.

    id: Mapped[Key]
    tenant_id: Mapped[UUID]


class Case(Base):
    """A request for prior authorization."""

    __tablename__ = "cases"

    ingestion_id: Mapped[UUID | None]
    created_by: Mapped[UUID]
    member_id_hash: Mapped[str]
    payer: Mapped[str]
    status: Mapped[str]
    priority: Mapped[str]
    diagnosis_codes: Mapped[list[str]]
    confidence_json: Mapped[Document]
    extracted_data: Mapped[Document]
    metadata_json: Mapped[Document | None]
    unknown_codes: Mapped[list[str] | None]
    previous_case_id: Mapped[UUID | None]
    follow_up: Mapped[str | None]
    submitted_at: Mapped[datetime | None]
    decision_due_at: Mapped[datetime | None]
    due_ruleset_id: Mapped[UUID | None]
    due_ruleset_version: Mapped[int | None]
    extended_until: Mapped[datetime | None]
    extension_reason: Mapped[str | None]
    paused_at: Mapped[datetime | None]
    paused_seconds: Mapped[Counter]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[UUID | None]
    denial_reason: Mapped[str | None]
    authorization_number: Mapped[str | None]
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    approved_units: Mapped[int | None]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]

    codes: Mapped[list["CaseCode"]] = relationship(order_by="CaseCode.created_at.desc(), CaseCode.id")
    tasks: Mapped[list["Task"]] = relationship(order_by="Task.created_at.desc(), Task.id")


class CaseCode(Base):
    """A procedure that the case asks for."""

    __tablename__ = "case_codes"

    case_id: Mapped[CaseKey]
    code_type: Mapped[str]
    code: Mapped[str]
    description: Mapped[str | None]
    confidence: Mapped[float | None]
    is_known: Mapped[bool | None]
    created_at: Mapped[Moment]


class Task(Base):
    """Something a person must do for a case."""

    __tablename__ = "tasks"

    case_id: Mapped[CaseKey]
    assigned_to: Mapped[UUID | None]
    title: Mapped[str]
    description: Mapped[str | None]
    status: Mapped[str]
    priority: Mapped[str]
    due_date: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    ruleset_id: Mapped[UUID | None]
    ruleset_version: Mapped[int | None]
    requirement_kind: Mapped[str | None]
    requirement: Mapped[str | None]
    created_at: Mapped[Moment]
    updated_at: Mapped[Moment]


class AuditLog(Base):
    """Who did what to which row."""

    __tablename__ = "audit_logs"

    user_id: Mapped[UUID]
    action: Mapped[str]
    entity_type: Mapped[str]
    entity_id: Mapped[UUID]
    changes: Mapped[Document]
    ip_address: Mapped[str]
    user_agent: Mapped[str]
    actor: Mapped[str]


class Row(BaseModel):
    """An answer that is read from the attributes of a row."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    tenant_id: UUID


class CaseRead(Row):
    """A case."""

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


class CodeRead(Row):
    """A code of a case."""

    case_id: UUID
    code_type: str
    code: str
    description: str | None
    confidence: float | None
    is_known: bool | None
    created_at: datetime


class TaskRead(Row):
    """A task of a case."""

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


class CaseDetail(CaseRead):
    """A case with what belongs to it."""

    codes: list[CodeRead]
    tasks: list[TaskRead]


class Cases(BaseModel):
    """Some cases."""

    rows: list[CaseRead]


class CasePage(Cases):
    """Some cases, and how many there are."""

    total: int
    page: int
    page_size: int
    total_pages: int


class CaseCreate(BaseModel):
    """What a client says of a new case."""

    model_config = ConfigDict(extra="forbid")

    member_id_hash: Name
    payer: Name
    priority: Priority = "normal"
    diagnosis_codes: list[Code] = []
    confidence_json: Document
    extracted_data: Document


class CaseUpdate(BaseModel):
    """What a client may change."""

    model_config = ConfigDict(extra="forbid")

    status: Status


class Caller(BaseModel):
    """Who asks, as the headers tell."""

    x_tenant_id: UUID
    x_user_id: UUID
    user_agent: str = ""
