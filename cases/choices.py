"""The closed sets of the domain: what a column may say. The database has a CHECK of each."""

from enum import Enum


class SourceType(str, Enum):
    """Where an ingestion came from."""

    email = "email"
    pdf = "pdf"


class IngestionStatus(str, Enum):
    """How far an ingestion is."""

    pending = "pending"
    processing = "processing"
    completed = "completed"
    failed = "failed"


class CaseStatus(str, Enum):
    """What the payer said so far."""

    pending = "pending"
    approved = "approved"
    denied = "denied"
    more_info_needed = "more_info_needed"


class TaskStatus(str, Enum):
    """How far a task is."""

    pending = "pending"
    in_progress = "in_progress"
    completed = "completed"
    cancelled = "cancelled"


class Priority(str, Enum):
    """How soon somebody must look."""

    low = "low"
    normal = "normal"
    high = "high"
    urgent = "urgent"


class CodeType(str, Enum):
    """The procedure code systems of the seed."""

    CPT = "CPT"
    HCPCS = "HCPCS"


class FollowUp(str, Enum):
    """What a case is to the denied one before it."""

    resubmission = "resubmission"
    appeal = "appeal"


class RequirementKind(str, Enum):
    """What a payer's rules ask for."""

    requirement = "requirement"
    document = "document"
