"""The prior-authorization domain: ingestions, cases with their codes and tasks, rulesets."""

from typing import Any, ClassVar

from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    Boolean,
    Date,
    DoublePrecision,
    ForeignKey,
    Integer,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.columns.base import OnDelete
from piccolo.columns.readable import Readable
from piccolo.columns.reference import LazyTableReference

from cases.choices import (
    CaseStatus,
    CodeType,
    FollowUp,
    IngestionStatus,
    Priority,
    RequirementKind,
    SourceType,
    TaskStatus,
)
from cases.codes import DiagnosisCode, ProcedureCode
from tenancy.derivations import Derivation
from tenancy.tables import Tenant, TenantTable, User

MEMBER_ID = Derivation(
    source="member_id",
    target="member_id_hash",
    longest=100,
    help_text="The member's identifier, in place of member_id_hash: hashed under a key of the tenant, and forgotten.",
    pattern="^([0-9a-fA-F]{64}|hash_[A-Za-z0-9_-]{1,200})$",
)


class Ingestion(TenantTable, tablename="ingestions", help_text="An email or PDF on its way to a case."):
    """Tracks one document from its arrival to the data extracted from it."""

    triggers: ClassVar[dict[str, str]] = {
        "ingestions.b_values": "cases.values_of_ingestion_1 BEFORE INSERT UPDATE OF",
        "ingestions.e_open_ingestion": "cases.guard_ingestion_1 BEFORE INSERT WHEN",
        "ingestions.e_guard_ingestion": "cases.guard_ingestion_1 BEFORE UPDATE WHEN",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    source_type = Varchar(length=50, choices=SourceType, required=True)
    source_metadata = JSONB(required=True, help_text="Email or PDF metadata.")
    storage_path = Text(null=True, default=None, help_text="R2 path of the stored file.")
    status = Varchar(length=50, choices=IngestionStatus, default=IngestionStatus.pending, index=True)
    error_message = Text(null=True, default=None, help_text="Why it failed.")
    created_at = Timestamptz(index=True)
    updated_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s · %s · %s", columns=[cls.source_type, cls.status, cls.created_at])


class Case(TenantTable, tablename="cases", help_text="A request for prior authorization."):
    """One request to one payer. Holds a keyed hash of the member's identifier, never the identifier."""

    server_columns: ClassVar[tuple[str, ...]] = (
        *("created_by", "previous_case_id", "follow_up", "unknown_codes"),
        *("decision_due_at", "due_ruleset_id", "due_ruleset_version", "paused_at", "paused_seconds"),
        *("decided_at", "decided_by"),
    )
    # Of the server, from what a client wrote: a redaction reaches them.
    copied_columns: ClassVar[tuple[str, ...]] = ("unknown_codes",)
    kept_columns: ClassVar[tuple[str, ...]] = ("submitted_at",)
    user_column: ClassVar[str] = "created_by"
    derivations: ClassVar[tuple[Derivation, ...]] = (MEMBER_ID,)
    relation_names: ClassVar[dict[str, tuple[str, str]]] = {
        "created_by": ("creator", "created_cases"),
        "decided_by": ("decider", "decided_cases"),
        "previous_case_id": ("previous_case", "follow_ups"),
        "due_ruleset_id": ("due_ruleset", "due_cases"),
    }
    value_types: ClassVar[dict[str, Any]] = {"diagnosis_codes": DiagnosisCode}
    search_function: ClassVar[str] = "cases.search_cases_1"
    triggers: ClassVar[dict[str, str]] = {
        "cases.b_values": "cases.values_of_case_1 BEFORE INSERT UPDATE OF",
        "cases.c_search": "cases.search_of_case_1 BEFORE INSERT UPDATE OF",
        "cases.c_keep_decided_at": "cases.keep_decided_at_1 BEFORE UPDATE OF WHEN",
        "cases.e_open_case": "cases.open_case_1 BEFORE INSERT WHEN",
        "cases.e_restore_case": "cases.restore_case_1 BEFORE INSERT WHEN",
        "cases.e_guard_case": "cases.guard_case_2 BEFORE UPDATE WHEN",
        "cases.f_clock_start": "cases.start_clock_1 BEFORE INSERT WHEN",
        "cases.f_clock": "cases.keep_clock_1 BEFORE UPDATE OF WHEN",
        "cases.z_checklist_insert": "cases.ask_of_new_cases_1 AFTER INSERT WHEN",
        "cases.z_checklist_payer": "cases.ask_of_payer_1 AFTER UPDATE OF WHEN",
        "users.e_keep_creator": "cases.keep_creator_1 BEFORE DELETE",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    ingestion_id = ForeignKey(Ingestion, null=True, default=None, on_delete=OnDelete.set_null)
    created_by = ForeignKey(User, null=False, default=None, on_delete=OnDelete.cascade)
    member_id_hash = Varchar(length=255, required=True, index=True, help_text="Hashed member ID (no PHI).")
    payer = Varchar(length=255, required=True, index=True, help_text="Name of the insurer that is asked.")
    status = Varchar(length=50, choices=CaseStatus, default=CaseStatus.pending, index=True)
    priority = Varchar(length=50, choices=Priority, default=Priority.normal, index=True)
    diagnosis_codes = Array(Varchar(length=20), default=list, help_text="ICD-10 diagnosis codes.")
    confidence_json = JSONB(required=True, help_text="LLM confidence scores.")
    extracted_data = JSONB(required=True, help_text="Raw data extracted from PDF or email.")
    metadata_json = JSONB(null=True, default=None, help_text="Additional metadata.")
    unknown_codes = Array(
        Varchar(length=20), null=True, default=None, help_text="Diagnosis codes that the tenant's list does not have."
    )
    previous_case_id: ForeignKey[Any] = ForeignKey(
        "self", null=True, default=None, on_delete=OnDelete.set_null, help_text="The denied case that this one follows."
    )
    follow_up = Varchar(length=20, choices=FollowUp, null=True, default=None, help_text="What it is to the one before.")
    submitted_at = Timestamptz(null=True, default=None, help_text="When the payer got it; the clock starts here.")
    decision_due_at = Timestamptz(null=True, default=None, help_text="When the payer must have decided.")
    due_ruleset_id: ForeignKey[Any] = ForeignKey(
        LazyTableReference("Ruleset", module_path=__name__),
        null=True,
        default=None,
        on_delete=OnDelete.set_null,
        help_text="The ruleset that sets the time; empty: the law.",
    )
    due_ruleset_version = Integer(null=True, default=None, help_text="Which version of it.")
    extended_until = Timestamptz(null=True, default=None, help_text="Until when the time to decide was extended.")
    extension_reason = Text(null=True, default=None, help_text="Why it was extended.")
    paused_at = Timestamptz(null=True, default=None, help_text="Since when the clock stands still.")
    paused_seconds = Integer(default=0, help_text="How long it stood still before.")
    decided_at = Timestamptz(null=True, default=None, help_text="When it was approved or denied.")
    decided_by = ForeignKey(
        User, null=True, default=None, on_delete=OnDelete.set_null, help_text="Who recorded the decision."
    )
    denial_reason = Text(null=True, default=None, help_text="Why the payer said no.")
    authorization_number = Varchar(length=100, null=True, default=None, help_text="The payer's number of the approval.")
    valid_from = Date(null=True, default=None, help_text="First day of the approval.")
    valid_until = Date(null=True, default=None, help_text="Last day of the approval.")
    approved_units = Integer(null=True, default=None, help_text="How many units were approved.")
    created_at = Timestamptz(index=True)
    updated_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s · %s · %s", columns=[cls.payer, cls.priority, cls.status])


class CaseCode(TenantTable, tablename="case_codes", help_text="A CPT or HCPCS code of a case."):
    """A procedure that the case asks for; its tenant follows from the case."""

    server_columns: ClassVar[tuple[str, ...]] = ("is_known",)
    relation_names: ClassVar[dict[str, tuple[str, str]]] = {"case_id": ("case", "codes")}
    value_types: ClassVar[dict[str, Any]] = {"code": ProcedureCode}
    triggers: ClassVar[dict[str, str]] = {
        "case_codes.a_follow_case": "cases.follow_case_1 BEFORE INSERT",
        "case_codes.b_values": "cases.values_of_code_1 BEFORE INSERT UPDATE OF",
        "case_codes.g_clock_insert": "cases.clock_codes_1 AFTER INSERT WHEN",
        "case_codes.g_clock_update": "cases.clock_codes_1 AFTER UPDATE",
        "case_codes.g_clock_delete": "cases.clock_codes_1 AFTER DELETE",
        "case_codes.z_checklist_insert": "cases.ask_of_codes_1 AFTER INSERT WHEN",
        "case_codes.z_checklist_update": "cases.ask_of_codes_1 AFTER UPDATE",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    case_id = ForeignKey(Case, null=False, default=None, required=True, on_delete=OnDelete.cascade, index=True)
    code_type = Varchar(length=50, choices=CodeType, required=True)
    code = Varchar(length=20, required=True, help_text="The procedure code, such as 72148.")
    description = Text(null=True, default=None, help_text="What the code stands for.")
    confidence = DoublePrecision(null=True, default=None, help_text="LLM confidence score.")
    is_known = Boolean(
        null=True, default=None, help_text="Whether the tenant's list has the code; empty without a list."
    )
    created_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s %s", columns=[cls.code_type, cls.code])


class Task(TenantTable, tablename="tasks", help_text="An action item of a case."):
    """Something a person must do for a case, or what a ruleset asks for; its tenant follows from the case."""

    server_columns: ClassVar[tuple[str, ...]] = (
        *("completed_at", "ruleset_id", "ruleset_version", "requirement_kind", "requirement"),
    )
    copied_columns: ClassVar[tuple[str, ...]] = ("requirement",)
    relation_names: ClassVar[dict[str, tuple[str, str]]] = {"assigned_to": ("assignee", "assigned_tasks")}
    search_function: ClassVar[str] = "cases.search_tasks_1"
    triggers: ClassVar[dict[str, str]] = {
        "tasks.a_follow_case": "cases.follow_case_1 BEFORE INSERT",
        "tasks.c_complete_new_task": "cases.complete_task_1 BEFORE INSERT WHEN",
        "tasks.c_complete_task": "cases.complete_task_1 BEFORE UPDATE WHEN",
        "tasks.c_search": "cases.search_of_task_1 BEFORE INSERT UPDATE OF",
        "tasks.e_requirement_true": "cases.keep_requirement_1 BEFORE INSERT WHEN",
        "tasks.e_requirement_kept": "cases.keep_requirement_1 BEFORE UPDATE OF WHEN",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    case_id = ForeignKey(Case, null=False, default=None, required=True, on_delete=OnDelete.cascade, index=True)
    assigned_to = ForeignKey(User, null=True, default=None, on_delete=OnDelete.set_null, index=True)
    title = Varchar(length=255, required=True, help_text="What is to be done.")
    description = Text(null=True, default=None, help_text="How it is to be done.")
    status = Varchar(length=50, choices=TaskStatus, default=TaskStatus.pending, index=True)
    priority = Varchar(length=50, choices=Priority, default=Priority.normal)
    due_date = Timestamptz(null=True, default=None, index=True, help_text="When it has to be done.")
    completed_at = Timestamptz(null=True, default=None, help_text="When it was done.")
    ruleset_id: ForeignKey[Any] = ForeignKey(
        LazyTableReference("Ruleset", module_path=__name__),
        null=True,
        default=None,
        on_delete=OnDelete.set_null,
        help_text="The ruleset that asks for it.",
    )
    ruleset_version = Integer(null=True, default=None, help_text="The version of it that asked first.")
    requirement_kind = Varchar(
        length=20, choices=RequirementKind, null=True, default=None, help_text="What the ruleset asks for."
    )
    requirement = Text(null=True, default=None, help_text="In the ruleset's own words.")
    created_at = Timestamptz()
    updated_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s", columns=[cls.title])


class Ruleset(TenantTable, tablename="rulesets", help_text="What a payer wants for a procedure."):
    """Rules of one payer for one procedure."""

    server_columns: ClassVar[tuple[str, ...]] = ("version",)
    search_function: ClassVar[str] = "cases.search_rulesets_1"
    triggers: ClassVar[dict[str, str]] = {
        "rulesets.b_values": "cases.values_of_ruleset_1 BEFORE INSERT UPDATE OF",
        "rulesets.c_search": "cases.search_of_ruleset_1 BEFORE INSERT UPDATE OF",
        "rulesets.c_version_first": "cases.count_version_1 BEFORE INSERT WHEN",
        "rulesets.c_version_next": "cases.count_version_1 BEFORE UPDATE OF",
        "rulesets.z_checklist_insert": "cases.ask_of_rulesets_1 AFTER INSERT WHEN",
        "rulesets.z_checklist_update": "cases.ask_of_rulesets_1 AFTER UPDATE",
    }

    id = UUID(primary_key=True)
    tenant_id = ForeignKey(Tenant, null=False, default=None, on_delete=OnDelete.cascade, index=True)
    payer = Varchar(length=255, required=True, index=True, help_text="Name of the insurer whose rules these are.")
    procedure = Varchar(length=255, required=True, index=True, help_text="Name or code of the procedure.")
    rules_json = JSONB(required=True, help_text="Structured rules data.")
    is_active = Boolean(default=True, index=True, help_text="Off: kept, and not applied.")
    version = Integer(default=1, help_text="Counts the changes of what it asks for; its history has the earlier ones.")
    created_at = Timestamptz()
    updated_at = Timestamptz()

    @classmethod
    def get_readable(cls) -> Readable:
        return Readable(template="%s · %s", columns=[cls.payer, cls.procedure])
