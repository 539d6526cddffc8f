"""The JSON documents of the domain, as the code that writes and reads them agrees on them.

The database holds each to be an object and no more: a reader that needs a field asks whether
it is there.
"""

from typing import Annotated, NotRequired, TypedDict

Email = TypedDict(
    "Email",
    {
        "from": Annotated[str, "The sender's address."],
        "subject": str,
        "received_at": Annotated[str, "RFC 3339."],
    },
)


class Pdf(TypedDict):
    """A file that was uploaded."""

    filename: str
    pages: int
    size_bytes: int


class SourceMetadata(TypedDict, total=False):
    """Where the document came from: `email` or `pdf`, as `source_type` says."""

    email: Email
    pdf: Pdf


class ConfidenceScores(TypedDict):
    """How sure the extraction is."""

    overall: Annotated[float, "0.0 to 1.0."]
    fields: Annotated[dict[str, float], "By field name, 0.0 to 1.0."]


class ExtractedData(TypedDict, total=False):
    """What was read from the email or PDF. More fields may follow; none may identify a patient."""

    source: Annotated[str, "`email` or `pdf`."]
    extracted_at: Annotated[str, "RFC 3339."]


class RulesDocument(TypedDict):
    """What the payer asks for."""

    requirements: list[str]
    documentation: list[str]
    typical_turnaround: str
    notes: NotRequired[str]


CaseEvent = TypedDict(
    "CaseEvent",
    {
        "status": Annotated[str, "`case_created`."],
        "priority": Annotated[str, "`case_created`."],
        "payer": Annotated[str, "`case_created`."],
        "from": Annotated[str, "`case_status_changed`: the status before; `case_extended`: the due time before."],
        "to": Annotated[str, "`case_status_changed`: the status after; `case_extended`: the due time after."],
    },
    total=False,
)
CaseEvent.__doc__ = "Depends on `event_type`."


DOCUMENTS: dict[str, type] = {
    "ingestions.source_metadata": SourceMetadata,
    "cases.confidence_json": ConfidenceScores,
    "cases.extracted_data": ExtractedData,
    "rulesets.rules_json": RulesDocument,
    "events.metadata": CaseEvent,
}
