"""What waits for a payer's decision: the tenant's open cases, the most urgent first, with their open tasks counted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints, model_validator
from pydantic.json_schema import SkipJsonSchema

from tenancy.actions import Action, Call, Found
from tenancy.permissions import Operation
from tenancy.scoping import database
from tenancy.transaction import BoundTransaction

MAX_HOURS = 366 * 24
MAX_ROWS = 1000

_OPEN_CASES = (Path(__file__).parent / "sql" / "worklist.sql").read_text(encoding="utf-8")
_PLACE = "true -- and what was asked for"
# One statement for each set of parameters: a plan that is kept holds for all values, given or not.
_CONDITIONS = {
    "within_hours": "cases.decision_due_at <= now() + make_interval(secs => {}::double precision * 3600)",
    "assigned_to": (
        "EXISTS (SELECT FROM tasks WHERE tasks.tenant_id = cases.tenant_id AND tasks.case_id = cases.id"
        " AND tasks.assigned_to = {}::uuid AND tasks.status IN ('pending', 'in_progress'))"
    ),
    "payer": "lower(cases.payer) = lower({}::text)",
}


def _undefaulted(schema: dict[str, Any]) -> None:
    """Left out is not null: no schema says so of a default."""
    schema.pop("default", None)


class WorklistQuery(BaseModel, extra="forbid"):
    """Which of the open cases; a parameter that is empty, as in a form, is not given."""

    within_hours: Annotated[float, Field(gt=0, le=MAX_HOURS, allow_inf_nan=False)] | SkipJsonSchema[None] = Field(
        None,
        description="Due at most that many hours from now; what is overdue is too.",
        json_schema_extra=_undefaulted,
    )
    assigned_to: UUID | SkipJsonSchema[None] = Field(
        None,
        description="With an open task that is assigned to this user.",
        json_schema_extra=_undefaulted,
    )
    payer: (
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$")] | SkipJsonSchema[None]
    ) = Field(
        None,
        description="Of this payer, in upper or lower case.",
        json_schema_extra=_undefaulted,
    )
    page: int = Field(1, alias="__page", ge=1, lt=2**31, description="Counts from 1.")
    page_size: int = Field(MAX_ROWS, alias="__page_size", ge=1, le=MAX_ROWS, description="Rows of a page.")

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, dict) else values


class WorklistRow(BaseModel):
    """What the worklist tells of a case beyond its row."""

    is_overdue: bool = Field(description="Whether its time to decide is over; while the clock stands still it is not.")
    open_tasks: int = Field(description="How many of its tasks are pending or in progress.")


def statement_of(data: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The SQL of a page of the worklist, and its values."""
    size = data.get("page_size", MAX_ROWS)
    values = [size, (data.get("page", 1) - 1) * size]
    conditions = ["true"]
    for name, condition in _CONDITIONS.items():
        if data.get(name) is not None:
            values.append(data[name])
            conditions.append(condition.format(f"${len(values)}"))
    return _OPEN_CASES.replace(_PLACE, " AND ".join(conditions)), values


async def worklist(call: Call) -> Found:
    """A page of the open cases, as the query asks."""
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    sql, values = statement_of(call.data)
    rows = await transaction.fetch(sql, *values)
    more = [{"is_overdue": row["is_overdue"], "open_tasks": row["open_tasks"]} for row in rows]
    return Found([row["id"] for row in rows], more)


WORKLIST = Action(
    name="worklist",
    summary="The open cases by when they are due, overdue ones first, with their open tasks counted",
    run=worklist,
    needs=(("cases", Operation.read), ("tasks", Operation.read)),
    kind=Found,
    place="api",
    method="GET",
    input=WorklistQuery,
    answer=WorklistRow,
)
