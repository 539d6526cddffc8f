"""The JSON document of the trail."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict


class Changes(TypedDict):
    """Written by the audit trigger. A column that stayed as it was is in neither part."""

    before: Annotated[dict[str, Any], Field(description="The changed columns as they were; empty for a new row.")]
    after: Annotated[dict[str, Any], Field(description="The changed columns as they are; empty for a deleted row.")]


DOCUMENTS: dict[str, type] = {"audit_logs.changes": Changes}
