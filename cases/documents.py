"""The JSON documents of the domain: what is named here is right wherever it is there, whoever writes it.

A key may be missing, since an extraction may be partial; further keys are kept, except in structures that are wholly
ours. The API reads a body by these types, and `cases/sql/values_1.sql` holds the same for everybody.
"""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from cases.codes import BLANKS
from tenancy.rules import Change, RuleViolation

MOST_FAULTS = 100
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME_AND_ZONE = re.compile(
    r"[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_OPEN = ConfigDict(strict=True, extra="allow")
_CLOSED = ConfigDict(strict=True, extra="forbid")


def _is_day(text: str) -> bool:
    try:
        return bool(_DAY.fullmatch(text) and date.fromisoformat(text))
    except ValueError:
        return False


def _day(text: str) -> str:
    """A day of the calendar. Raises `ValueError`."""
    if not _is_day(text):
        raise ValueError("must be a day, written as 2026-12-31")
    return text


def _moment(text: str) -> str:
    """A time with its zone. Raises `ValueError`."""
    if not (_is_day(text[:10]) and _TIME_AND_ZONE.fullmatch(text[10:])):
        raise ValueError("must be a time with its zone as in RFC 3339")
    return text


def _demand(text: str) -> str:
    """What a ruleset asks for, in words. Raises `ValueError`."""
    if not 1 <= len(text.strip(BLANKS)) <= 2000:
        raise ValueError("must be a text of 1 to 2,000 characters, outer blanks aside")
    return text


def _one_unit(term: dict[str, int]) -> dict[str, int]:
    if len(term) != 1:
        raise ValueError("must have either hours or business_days")
    return term


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _few_faults(scores: Any) -> Any:
    """The faults of a small document are named one by one; a million of them would be, too."""
    if isinstance(scores, dict) and len(scores) > MOST_FAULTS and not all(map(_is_score, scores.values())):
        raise ValueError("must hold numbers from 0 to 1 only")
    return scores


def _few_keys(structure: Any) -> Any:
    if isinstance(structure, dict) and len(structure) > MOST_FAULTS:
        raise ValueError("holds keys that are not known here")
    return structure


_Moment = Annotated[str, AfterValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
_Day = Annotated[str, AfterValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
_Demand = Annotated[
    str, AfterValidator(_demand), WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"[^ \t\r\n]"})
]
_Demands = Annotated[list[_Demand], Field(max_length=200)]
_Score = Annotated[float, Field(ge=0, le=1)]
_Size = Annotated[int, Field(ge=0)]
_Sender = TypedDict("_Sender", {"from": Annotated[str, Field(description="The sender's address.")]}, total=False)


@with_config(_OPEN)
class Email(_Sender, total=False):
    """A message that came in."""

    subject: str
    received_at: Annotated[_Moment, Field(description="RFC 3339.")]


@with_config(_OPEN)
class Pdf(TypedDict, total=False):
    """A file that was uploaded."""

    filename: str
    pages: _Size
    size_bytes: _Size


@with_config(_OPEN)
class SourceMetadata(TypedDict, total=False):
    """Where the document came from: `email` or `pdf`, as `source_type` says, and never both."""

    email: Email
    pdf: Pdf


@with_config(_OPEN)
class ConfidenceScores(TypedDict, total=False):
    """How sure the extraction is."""

    overall: _Score
    fields: Annotated[dict[str, _Score], BeforeValidator(_few_faults), Field(description="By field name.")]


@with_config(_OPEN)
class ExtractedData(TypedDict, total=False):
    """What was read from the email or PDF. More fields may follow; none may identify a patient."""

    source: Annotated[str, Field(description="`email` or `pdf`.")]
    extracted_at: Annotated[str, Field(description="RFC 3339.")]


@with_config(_CLOSED)
class Term(TypedDict, total=False):
    """How long the payer may take."""

    hours: Annotated[int, Field(ge=1, le=8784)]
    business_days: Annotated[int, Field(ge=1, le=366)]


_Term = Annotated[
    Term,
    BeforeValidator(_few_keys),
    AfterValidator(_one_unit),
    Field(json_schema_extra={"minProperties": 1, "maxProperties": 1}),
]


@with_config(_CLOSED)
class Clock(TypedDict, total=False):
    """When the payer must have decided."""

    standard: Annotated[_Term, Field(description="Without it, the law's.")]
    urgent: Annotated[_Term, Field(description="Of urgent cases.")]
    holidays: Annotated[list[_Day], Field(max_length=500, description="No business days, beside weekends.")]
    pause_for_information: Annotated[bool, Field(description="Whether asking for more stops the clock.")]


@with_config(_OPEN)
class RulesDocument(TypedDict, total=False):
    """What the payer asks for, and how long it may take."""

    requirements: _Demands
    documentation: _Demands
    typical_turnaround: str
    notes: str
    clock: Annotated[Clock, BeforeValidator(_few_keys)]


_Change = TypedDict(
    "_Change",
    {
        "from": Annotated[
            str, Field(description="`case_status_changed`: the status before; `case_extended`: the due time before.")
        ],
        "to": Annotated[
            str, Field(description="`case_status_changed`: the status after; `case_extended`: the due time after.")
        ],
    },
    total=False,
)


@with_config(_OPEN)
class CaseEvent(_Change, total=False):
    """Depends on `event_type`."""

    status: Annotated[str, Field(description="`case_created`.")]
    priority: Annotated[str, Field(description="`case_created`.")]
    payer: Annotated[str, Field(description="`case_created`.")]


DOCUMENTS: dict[str, type] = {
    "ingestions.source_metadata": SourceMetadata,
    "cases.confidence_json": ConfidenceScores,
    "cases.extracted_data": ExtractedData,
    "rulesets.rules_json": RulesDocument,
    "events.metadata": CaseEvent,
}


def metadata_is_of_its_source(change: Change) -> None:
    """An email has no `pdf`, and a pdf no `email`: the one that is sent is to blame, or else the type."""
    if not {"source_type", "source_metadata"} & change.values.keys():
        return
    stored = {} if change.stored is None else change.stored
    sent = "source_metadata" in change.values
    metadata = change.values["source_metadata"] if sent else stored.get("source_metadata")
    source = change.values["source_type"] if "source_type" in change.values else stored.get("source_type")
    other = {"email": "pdf", "pdf": "email"}.get(source) if isinstance(source, str) else None
    if other is not None and isinstance(metadata, dict) and other in metadata:
        field = f"source_metadata.{other}" if sent else "source_type"
        raise RuleViolation(field, "an email has no pdf, and a pdf no email")
