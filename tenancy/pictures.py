"""What a domain has drawn for people: pictures as data, and the page that shows them.

The API draws them, each with a table of the same numbers under it, and knows nothing of what they are about.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from tenancy.permissions import Operation

Number = float | None


class Unit(str, Enum):
    """What a number counts."""

    cases = "cases"
    hours = "hours"
    share = "share"


class Palette(str, Enum):
    """Whether the colours of a chart tell kinds apart, follow an order, or are one."""

    kinds = "kinds"
    order = "order"
    one = "one"


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that stands for itself."""

    label: str
    value: Number
    unit: Unit


@dataclass(frozen=True, slots=True)
class Bar:
    """A number for each series of its chart; `more` for each further column of the table. `kind` is the place of its
    colour where bars of one series are of different kinds."""

    label: str
    values: Sequence[Number]
    more: Sequence[Number] = ()
    kind: int | None = None


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars, each divided into the series. `heading` is what the bars are, `more` what the table has beside."""

    title: str
    about: str
    heading: str
    series: Sequence[str]
    bars: Sequence[Bar]
    unit: Unit = Unit.cases
    palette: Palette = Palette.one
    more: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A number for each series at one place of the axis, and of how many cases they are."""

    label: str
    values: Sequence[Number]
    cases: int


@dataclass(frozen=True, slots=True)
class Panel:
    """The lines of one subject."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over one axis, a panel for each subject, all to the same scale. `axis` are the places, in their order."""

    title: str
    about: str
    headings: tuple[str, str]
    series: Sequence[str]
    axis: Sequence[str]
    panels: Sequence[Panel]
    unit: Unit = Unit.hours


Figure = BarChart | LineChart


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a page shows. `remark` says what the numbers are of."""

    facts: Sequence[Fact]
    figures: Sequence[Figure]
    remark: str


@dataclass(frozen=True, slots=True)
class PicturePage:
    """A page of the admin: of the tenants that it is drawn for, and of what its form asks, the fields of `input`.

    `draw` runs inside the operator's bound transaction.
    """

    title: str
    input: type[BaseModel]
    needs: Sequence[tuple[str, Operation]]
    draw: Callable[[Sequence[UUID], Mapping[str, Any]], Awaitable[Pictures]]
