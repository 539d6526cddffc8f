"""Bars from left to right, each under its label. Lengths are percentages, so that text keeps its size on any screen."""

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from api.pictures.markup import Attributes, element
from api.pictures.numbers import worded
from tenancy.pictures import Bar, BarChart, Palette, Unit

ROW, THICK, TOP = 44, 18, 18
WIDEST = 84.0
LONGEST_LABEL = 44
# How much of the width a digit takes, on the narrowest screen.
_DIGIT = 2.6


def bars_drawn(chart: BarChart) -> list[Element]:
    """What goes into the chart's `svg`."""
    highest = 1.0 if chart.unit is Unit.share else max((_total(bar) for bar in chart.bars), default=0) or 1.0
    rows = [list(_row(chart, bar, place * ROW, WIDEST / highest)) for place, bar in enumerate(chart.bars)]
    return [drawn for row in rows for drawn in row]


def bars_height(chart: BarChart) -> int:
    return len(chart.bars) * ROW


def shade(palette: Palette, place: int) -> str:
    """The class that colours a series."""
    return f"{palette.value}-{place if palette is not Palette.one else 0}"


def clipped(label: str, longest: int = LONGEST_LABEL) -> str:
    """As much of it as fits above a bar."""
    return label if len(label) <= longest else f"{label[: longest - 1]}…"


def swatch(palette: Palette, place: int) -> Sequence[Element]:
    """A piece of a bar, for the legend."""
    return _piece(shade(palette, place), "0", "100%", 0, 12)


def _row(chart: BarChart, bar: Bar, top: float, scale: float) -> Iterator[Element]:
    yield element("text", clipped(bar.label), x=0, y=top + 12, class_="label")
    if chart.unit is Unit.share:  # How far it is to all of them.
        yield element("rect", x=0, y=top + TOP, width=f"{WIDEST}%", height=THICK, rx=2, class_="track")
    left = 0.0
    for place, value in enumerate(bar.values):
        width = (value or 0) * scale
        if not width:
            continue
        name = shade(chart.palette, place if bar.kind is None else bar.kind)
        yield from _piece(name, f"{left:.3f}%", f"{width:.3f}%", top + TOP, THICK)
        told = worded(value, chart.unit)
        if len(chart.series) > 1 and width > _DIGIT * len(told) + 1:
            centre = f"{left + width / 2:.3f}%"
            yield element("text", told, x=centre, y=top + TOP + 13, text_anchor="middle", class_=f"inside on-{name}")
        left += width
    total = worded(_total(bar), chart.unit)
    end = WIDEST if chart.unit is Unit.share else left
    yield element("text", total, x=f"{end:.3f}%", y=top + TOP + 14, dx=6, class_="value")


def _piece(name: str, left: str, width: str, top: float, height: float) -> list[Element]:
    """Coloured, and where the style says so hatched: kinds differ on paper without colours too."""
    place: Attributes = {"x": left, "y": top, "width": width, "height": height, "rx": 2}
    return [element("rect", class_=f"piece {name}", **place), element("rect", class_=f"hatch over-{name}", **place)]


def _total(bar: Bar) -> float:
    return sum(value or 0 for value in bar.values)
