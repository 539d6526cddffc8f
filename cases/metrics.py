"""What a tenant's cases amount to: how many, how old, how soon decided and how, and why denied.

The numbers are one statement's, of one moment. A day and a month are those of each tenant's own time zone.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from cases.choices import CaseStatus
from tenancy.actions import Action, Answer, Call, Told
from tenancy.permissions import Operation
from tenancy.scoping import database
from tenancy.transaction import BoundTransaction

NAMED_PAYERS = 100
_STATEMENT = (Path(__file__).parent / "sql" / "metrics.sql").read_text(encoding="utf-8")

Payer = Annotated[str | None, Field(description="Null: all payers beyond those with the most cases, together.")]
Count = Annotated[int, Field(ge=0)]


class Period(BaseModel, extra="forbid"):
    """Which cases are meant. What stands open is told as it is now, whatever the days."""

    first: date | None = Field(
        None, alias="from", strict=True, description="First day: of the decision for what is decided, else of creation."
    )
    until: date | None = Field(None, strict=True, description="Last day, itself included.")
    payer: str | None = Field(
        None, min_length=1, max_length=255, pattern="^[^\x00]*$", description="Cases of this payer only."
    )

    @field_validator("until")
    @classmethod
    def is_no_earlier(cls, until: date | None, info: ValidationInfo) -> date | None:
        """Raises `ValueError` when the last day comes before the first."""
        first = info.data.get("first")
        if first is not None and until is not None and until < first:
            raise ValueError("lies before the first day")
        return until


class CasesOfStatus(BaseModel):
    """Cases created in the period that are in a status now."""

    status: CaseStatus
    cases: Count


class CasesOfPayer(BaseModel):
    """Cases created in the period."""

    payer: Payer
    cases: Count


class CasesOfPayerAndStatus(CasesOfPayer):
    """Cases of one payer, in one status."""

    status: CaseStatus


class AgeOfCases(BaseModel):
    """Open cases by how long ago they were submitted, or else created: `from_days` or more, under `until_days`."""

    from_days: int
    until_days: int | None
    cases: Count


class AgeOfCasesOfPayer(AgeOfCases):
    """Open cases of one payer."""

    payer: Payer


class HoursToDecision(BaseModel):
    """From submission to decision, of cases that were decided in the period and say when they were submitted.

    Both percentiles are interpolated between the two nearest, as PostgreSQL's percentile_cont does.
    """

    cases: Count
    median_hours: float | None
    p90_hours: float | None


class HoursToDecisionOfPayer(HoursToDecision):
    """Of one payer."""

    payer: Payer


class HoursToDecisionOfMonth(HoursToDecision):
    """Of one month of the decision, in the tenant's time zone."""

    month: str = Field(pattern=r"^\d+-\d\d$")


class HoursToDecisionOfPayerAndMonth(HoursToDecisionOfMonth):
    """Of one payer and month."""

    payer: Payer


class TimeToDecision(BaseModel):
    """Overall, and by payer and month of the decision."""

    overall: HoursToDecision
    by_payer: list[HoursToDecisionOfPayer]
    by_month: list[HoursToDecisionOfMonth]
    by_payer_and_month: list[HoursToDecisionOfPayerAndMonth]


class ShareInTime(BaseModel):
    """Of the `cases` decided in the period that had a time to be decided by: those decided no later."""

    cases: Count
    in_time: Count
    share: float | None = Field(ge=0, le=1)


class ShareInTimeOfPayer(ShareInTime):
    """Of one payer."""

    payer: Payer


class DecidedInTime(BaseModel):
    """Overall, and by payer."""

    overall: ShareInTime
    by_payer: list[ShareInTimeOfPayer]


class DenialReason(BaseModel):
    """Denials that give one reason, however it is capitalised; told as it is spelled most often."""

    reason: str
    cases: Count


class DenialReasons(BaseModel):
    """The 20 most frequent reasons of the denials of the period, how many give any other, and how many none."""

    reasons: list[DenialReason]
    other: Count
    not_given: Count


class Metrics(BaseModel):
    """What the cases amount to. `open` and `overdue` are of now, `total` is of cases created in the period."""

    generated_at: datetime
    time_zone: str | None = Field(description="Whose days and months these are.")
    total: Count
    open: Count
    overdue: Count
    by_status: list[CasesOfStatus]
    by_payer: list[CasesOfPayer]
    by_payer_and_status: list[CasesOfPayerAndStatus]
    ageing: list[AgeOfCases]
    ageing_by_payer: list[AgeOfCasesOfPayer]
    time_to_decision: TimeToDecision
    decided_in_time: DecidedInTime
    denial_reasons: DenialReasons


async def read_metrics(
    tenants: Sequence[UUID], asked: Mapping[str, Any], named_payers: int = NAMED_PAYERS
) -> dict[str, Any]:
    """The members of `Metrics`, of the tenants that the bound transaction may see.

    `asked` holds what is given of a `Period`. Raises `asyncpg.PostgresError`.
    """
    transaction = database().current_transaction.get()
    assert isinstance(transaction, BoundTransaction), "outside of a bound request"
    period = (asked.get("first"), asked.get("until"), asked.get("payer"))
    (row,) = await transaction.fetch(_STATEMENT, list(tenants), *period, named_payers)
    return Metrics.model_validate_json(row["document"]).model_dump()


async def _metrics(call: Call) -> Answer:
    return Told(await read_metrics([call.tenant_id], call.data))


METRICS = Action(
    name="metrics",
    summary="What the cases amount to: how many, how old, how soon decided, why denied",
    run=_metrics,
    needs=(("cases", Operation.read),),
    kind=Told,
    place="api",
    method="GET",
    input=Period,
    answer=Metrics,
)
