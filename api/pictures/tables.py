"""The table under a picture: its numbers, for whoever cannot see it, copies from it or wants the last digit."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from api.pictures.markup import element
from api.pictures.numbers import worded
from tenancy.pictures import BarChart, Figure, LineChart, Number, Unit


def table_of(figure: Figure) -> Element:
    """A table with a caption, whose heads say what they are the heads of."""
    return _of_bars(figure) if isinstance(figure, BarChart) else _of_lines(figure)


def _of_bars(chart: BarChart) -> Element:
    has_total = len(chart.series) > 1
    heads = [chart.heading, *chart.series, *(["Total"] if has_total else []), *chart.more]
    rows = [
        element(
            "tr",
            element("th", bar.label, scope="row"),
            *(_cell(value, chart.unit) for value in bar.values),
            *([_cell(sum(value or 0 for value in bar.values), chart.unit)] if has_total else []),
            *(_cell(value, Unit.cases) for value in bar.more),
        )
        for bar in chart.bars
    ]
    return _table(chart.title, heads, [element("tbody", *rows)])


def _of_lines(chart: LineChart) -> Element:
    heads = [*chart.headings, "Cases", *chart.series]
    bodies = []
    for panel in chart.panels:
        subject = element("th", panel.label, scope="rowgroup", rowspan=len(panel.points))
        rows = [
            element(
                "tr",
                subject if place == 0 else None,
                element("th", point.label, scope="row"),
                _cell(point.cases, Unit.cases),
                *(_cell(value, chart.unit) for value in point.values),
            )
            for place, point in enumerate(panel.points)
        ]
        bodies.append(element("tbody", *rows))
    return _table(chart.title, heads, bodies)


def _table(caption: str, heads: Sequence[str], bodies: Sequence[Element]) -> Element:
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in heads)))
    return element("table", element("caption", caption), head, *bodies)


def _cell(number: Number, unit: Unit) -> Element:
    """With the whole number for programs beside the one for people."""
    if number is None:
        return element("td", worded(None, unit))
    return element("td", element("data", worded(number, unit), value=repr(number)))
