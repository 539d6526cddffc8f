"""A figure: its caption, its picture with a title and a description for a screen reader, its table."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from api.pictures.bars import bars_drawn, bars_height, clipped, swatch
from api.pictures.lines import HEIGHT, line_mark, panel_drawn
from api.pictures.markup import element
from api.pictures.tables import table_of
from tenancy.pictures import BarChart, Figure, LineChart

_SAME = "The table below has the same numbers."


def figure_of(figure: Figure, key: str) -> Element:
    """`key` is the figure's own on its page."""
    caption = element("figcaption", element("h2", figure.title), element("p", figure.about))
    if isinstance(figure, LineChart):
        drawn, kind = _panels(figure, key), "figure wide"
    else:
        drawn, kind = _bars(figure, key), "figure"
    if not drawn:
        return element("figure", caption, element("p", "There are none.", class_="none"), id=key, class_=kind)
    table = element("div", table_of(figure), role="region", tabindex="0", aria_label=figure.title, class_="scroll")
    numbers = element("details", element("summary", "The numbers"), table, open="open")
    return element("figure", caption, *drawn, numbers, id=key, class_=kind)


def _bars(chart: BarChart, key: str) -> list[Element]:
    if not chart.bars:
        return []
    names = [
        (element("svg", *swatch(chart.palette, place), width=12, height=12, aria_hidden="true"), name)
        for place, name in enumerate(chart.series)
    ]
    picture = _picture(key, chart.title, f"{chart.about} {_SAME}", bars_height(chart), bars_drawn(chart))
    return [*([_legend(names)] if len(names) > 1 else []), picture]


def _panels(chart: LineChart, key: str) -> list[Element]:
    if not chart.panels:
        return []
    names = [(_stroke(place), name) for place, name in enumerate(chart.series)]
    panels = [
        element(
            "div",
            element("h3", clipped(panel.label), aria_hidden="true"),
            _picture(
                f"{key}-{place}",
                f"{chart.title}: {panel.label}",
                f"{' and '.join(chart.series)} in {chart.unit.value}. {_SAME}",
                HEIGHT,
                panel_drawn(chart, panel),
            ),
            class_="panel",
        )
        for place, panel in enumerate(chart.panels)
    ]
    return [_legend(names), element("div", *panels, class_="panels")]


def _picture(key: str, title: str, about: str, height: int, drawn: Sequence[Element]) -> Element:
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", about, id=f"{key}-about"),
        *drawn,
        role="img",
        aria_labelledby=f"{key}-title {key}-about",
        width="100%",
        height=height,
    )


def _legend(names: Sequence[tuple[Element, str]]) -> Element:
    return element("ul", *(element("li", sign, " ", name) for sign, name in names), class_="legend")


def _stroke(series: int) -> Element:
    line = element("line", x1=0, x2=28, y1=6, y2=6, class_=f"stroke line-{series}")
    return element("svg", line, line_mark(series, "14", 6), width=28, height=12, aria_hidden="true")
