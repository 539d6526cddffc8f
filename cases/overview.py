"""The page of pictures: which of the metrics are drawn, and what is said about each."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from cases.choices import CaseStatus
from cases.metrics import Period, read_metrics
from tenancy.permissions import Operation
from tenancy.pictures import (
    Bar,
    BarChart,
    Fact,
    Figure,
    LineChart,
    Palette,
    Panel,
    PicturePage,
    Pictures,
    Point,
    Unit,
)

DRAWN_PAYERS = 8
LONGEST_LABEL = 300
ALL = "All payers"
_STATUSES = {
    CaseStatus.pending: "Pending",
    CaseStatus.more_info_needed: "More information needed",
    CaseStatus.approved: "Approved",
    CaseStatus.denied: "Denied",
}
Document = Mapping[str, Any]


async def _draw(tenants: Sequence[UUID], asked: Mapping[str, Any]) -> Pictures:
    return pictures_of(await read_metrics(tenants, asked, DRAWN_PAYERS))


def pictures_of(told: Document) -> Pictures:
    """The pictures of what `read_metrics` tells."""
    overall, in_time = told["time_to_decision"]["overall"], told["decided_in_time"]["overall"]
    facts = [
        Fact("Cases", told["total"], Unit.cases),
        Fact("Open now", told["open"], Unit.cases),
        Fact("Overdue now", told["overdue"], Unit.cases),
        Fact("Median time to decision", overall["median_hours"], Unit.hours),
        Fact("Decided in time", in_time["share"], Unit.share),
    ]
    zone = f"in the time zone {told['time_zone']}" if told["time_zone"] else "in each clinic's own time zone"
    moment = f"{told['generated_at']:%d %B %Y, %H:%M} UTC"
    figures: list[Figure] = [
        _by_status(told),
        _in_time(told["decided_in_time"]),
        _by_payer(told),
        _ageing(told),
        _times(told["time_to_decision"]),
        _denials(told["denial_reasons"]),
    ]
    return Pictures(facts, figures, f"As of {moment}. Days and months are {zone}.")


def _by_status(told: Document) -> BarChart:
    bars = [Bar(_STATUSES[row["status"]], [row["cases"]], kind=place) for place, row in enumerate(told["by_status"])]
    return BarChart(
        "Cases by status",
        "Cases created in the period, by the status that they have now.",
        "Status",
        ["Cases"],
        bars if told["total"] else [],
        palette=Palette.kinds,
    )


def _by_payer(told: Document) -> BarChart:
    return BarChart(
        "Cases by payer",
        "Cases created in the period, by payer and by the status that they have now.",
        "Payer",
        list(_STATUSES.values()),
        [
            Bar(_payer(row["payer"]), _spread(told["by_payer_and_status"], row["payer"], "status", _STATUSES))
            for row in told["by_payer"]
        ],
        palette=Palette.kinds,
    )


def _ageing(told: Document) -> BarChart:
    starts = [age["from_days"] for age in told["ageing"]]
    payers = list(dict.fromkeys(row["payer"] for row in told["ageing_by_payer"]))
    bars = [Bar(ALL, [age["cases"] for age in told["ageing"]])] if told["open"] else []
    return BarChart(
        "Age of the open cases",
        "Cases that wait for a decision now, by the days since they were submitted, or else created.",
        "Payer",
        [_age(age) for age in told["ageing"]],
        [*bars, *(Bar(_payer(p), _spread(told["ageing_by_payer"], p, "from_days", starts)) for p in payers)],
        palette=Palette.order,
    )


def _in_time(in_time: Document) -> BarChart:
    shares = [(ALL, in_time["overall"]), *((_payer(row["payer"]), row) for row in in_time["by_payer"])]
    return BarChart(
        "Decided in time",
        "Of the cases decided in the period that had to be decided by some time, the share that was.",
        "Payer",
        ["Share in time"],
        [Bar(label, [row["share"]], [row["in_time"], row["cases"]]) for label, row in shares if row["cases"]],
        unit=Unit.share,
        more=["In time", "Decided"],
    )


def _denials(denials: Document) -> BarChart:
    reasons = [(row["reason"], row["cases"]) for row in denials["reasons"]]
    reasons += [("Any other reason", denials["other"]), ("No reason given", denials["not_given"])]
    return BarChart(
        "Reasons of denials",
        "Cases denied in the period, by the reason that the payer gave.",
        "Reason",
        ["Denials"],
        [Bar(_clipped(reason), [cases]) for reason, cases in reasons if cases],
    )


def _times(times: Document) -> LineChart:
    months = [row["month"] for row in times["by_month"]]
    payers = list(dict.fromkeys(row["payer"] for row in times["by_payer_and_month"]))
    panels = [Panel(ALL, _points(times["by_month"]))] if months else []
    panels += [
        Panel(_payer(payer), _points(row for row in times["by_payer_and_month"] if row["payer"] == payer))
        for payer in payers
    ]
    return LineChart(
        "Time to decision",
        "Hours from submission to decision, by payer and month of the decision: half of the cases were decided within "
        "the median, nine of ten within the 90th percentile.",
        ("Payer", "Month"),
        ["Median", "90th percentile"],
        _all_months(months),
        panels,
    )


def _points(rows: Iterable[Document]) -> list[Point]:
    return [Point(_month(row["month"]), [row["median_hours"], row["p90_hours"]], row["cases"]) for row in rows]


def _all_months(months: Sequence[str]) -> list[str]:
    """From the first to the last, those without a decision too."""
    if not months:
        return []
    first, last = (int(month[:-3]) * 12 + int(month[-2:]) - 1 for month in (months[0], months[-1]))
    return [_month(f"{number // 12:04}-{number % 12 + 1:02}") for number in range(first, last + 1)]


def _month(month: str) -> str:
    year, _, number = month.partition("-")
    return f"{date(2000, int(number), 1):%b} {year}"


def _spread(rows: Iterable[Document], payer: str | None, key: str, places: Iterable[Any]) -> list[int]:
    found = {row[key]: row["cases"] for row in rows if row["payer"] == payer}
    return [found.get(place, 0) for place in places]


def _payer(payer: str | None) -> str:
    return "All other payers" if payer is None else _clipped(payer) or "(no name)"


def _age(age: Document) -> str:
    if age["until_days"] is None:
        return f"{age['from_days']} days and more"
    return f"{age['from_days']} to {age['until_days']} days" if age["from_days"] else "Under 1 day"


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


OVERVIEW = PicturePage(title="Overview", input=Period, needs=(("cases", Operation.read),), draw=_draw)
