"""The checklist of a case: what the payer's rulesets ask for, and how far each item is.

The database makes the tasks, whoever adds a code or changes a ruleset; an evaluation makes what is missing.
"""

import json
from enum import Enum
from uuid import UUID

from pydantic import BaseModel, Field

from cases.choices import RequirementKind
from tenancy.actions import Action, Call, RowMissing, Told
from tenancy.permissions import Operation
from tenancy.scoping import database
from tenancy.transaction import BoundTransaction


class ItemState(str, Enum):
    """How far an item is."""

    met = "met"
    not_met = "not_met"
    waived = "waived"


class ChecklistItem(BaseModel):
    """One thing that a ruleset asks for."""

    text: str = Field(description="In the ruleset's own words.")
    kind: RequirementKind
    state: ItemState = Field(description="Its task is completed: met; cancelled: waived; anything else: not_met.")
    task_id: UUID | None = Field(description="Null: the case was decided before a ruleset asked for it.")
    ruleset_id: UUID
    ruleset_version: int = Field(description="The ruleset's version now. Its history has what earlier ones said.")


class Checklist(BaseModel):
    """What the active rulesets that match the case ask for now."""

    items: list[ChecklistItem] = Field(description="By ruleset, the oldest first; requirements before documents.")
    complete: bool = Field(description="Whether no item is `not_met`.")


async def evaluate(call: Call) -> Told:
    """Raises `RowMissing`."""
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    rows = await transaction.run("SELECT cases.checklist_1($1) AS checklist", call.row_id)
    if rows[0]["checklist"] is None:
        raise RowMissing
    return Told(json.loads(rows[0]["checklist"]))


CHECKLIST = Action(
    name="checklist",
    summary="Evaluate the checklist of a case, and make the tasks that are missing",
    run=evaluate,
    needs=(("cases", Operation.read), ("tasks", Operation.create)),
    kind=Told,
    answer=Checklist,
)
