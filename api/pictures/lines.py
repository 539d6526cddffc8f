"""Lines over time, a small picture for each subject, all to one scale. Each series has a stroke and mark of its own."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from api.pictures.markup import Attributes, element
from api.pictures.numbers import ticks
from tenancy.pictures import LineChart, Panel, Point

HEIGHT = 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 13.0, 97.0, 12.0, 136.0
_MARK = 3.5


def panel_drawn(chart: LineChart, panel: Panel) -> list[Element]:
    """What goes into the panel's `svg`."""
    scale = ticks(_highest(chart))
    return [*_grid(scale), *_axis(chart.axis), *_lines(chart, panel, scale[-1])]


def line_mark(series: int, x: str, y: float) -> Element:
    """The mark of a series: a dot, then a square."""
    if series == 0:
        return element("circle", cx=x, cy=y, r=_MARK, class_="mark line-0")
    place: Attributes = {"x": x, "y": y - _MARK, "width": 2 * _MARK, "height": 2 * _MARK}
    return element("rect", transform=f"translate({-_MARK},0)", class_=f"mark line-{series}", **place)


def _highest(chart: LineChart) -> float:
    found = [value for panel in chart.panels for point in panel.points for value in point.values if value is not None]
    return max(found, default=0)


def _grid(scale: Sequence[float]) -> Iterator[Element]:
    for tick in scale:
        y = _height_of(tick, scale[-1])
        yield element("line", x1=f"{_LEFT}%", x2=f"{_RIGHT}%", y1=y, y2=y, class_="grid")
        yield element("text", f"{tick:,g}", x=f"{_LEFT - 1.5}%", y=y + 4, text_anchor="end", class_="tick")


def _axis(axis: Sequence[str]) -> Iterator[Element]:
    """The first place and the last have a label; there is no room for more."""
    yield element("text", axis[0], x=f"{_LEFT}%", y=HEIGHT - 6, class_="tick")
    if len(axis) > 1:
        yield element("text", axis[-1], x=f"{_RIGHT}%", y=HEIGHT - 6, text_anchor="end", class_="tick")


def _lines(chart: LineChart, panel: Panel, highest: float) -> Iterator[Element]:
    points: Mapping[str, Point] = {point.label: point for point in panel.points}
    for series in reversed(range(len(chart.series))):  # The first lies on top.
        places = [
            None if value is None else (_place(number, len(chart.axis)), _height_of(value, highest))
            for number, label in enumerate(chart.axis)
            for value in [points[label].values[series] if label in points else None]
        ]
        for before, after in pairwise(places):
            if before and after:
                ends: Attributes = {"x1": before[0], "y1": before[1], "x2": after[0], "y2": after[1]}
                yield element("line", class_=f"stroke line-{series}", **ends)
        yield from (line_mark(series, *place) for place in places if place)


def _place(number: int, count: int) -> str:
    inset = 1.5
    width = _RIGHT - _LEFT - 2 * inset
    return f"{_LEFT + inset + width * (number / (count - 1) if count > 1 else 0.5):.3f}%"


def _height_of(value: float, highest: float) -> float:
    """What is below zero lies on the lowest line: nothing here takes less than no time."""
    return round(_BOTTOM - (_BOTTOM - _TOP) * max(value, 0) / highest, 2)
