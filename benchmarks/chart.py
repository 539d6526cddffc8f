"""Bars as SVG, in groups, readable without colors: each bar has its value, each group its title."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, BAR, GAP, LEFT = 860, 15, 26, 270
COLORS = ("#0b6e4f", "#6c757d", "#3a5a98", "#7a93c4", "#b5651d", "#c9a227", "#8c4a6f", "#a9a9a9")


def bars(title: str, series: Sequence[str], groups: Mapping[str, Sequence[float | None]]) -> str:
    """A picture of `groups`, each with a value or None for each of the `series`."""
    most = max(value for values in groups.values() for value in values if value is not None)
    parts: list[str] = []
    y = 40
    for name, values in groups.items():
        parts.append(f'<text x="8" y="{y + 11}" font-weight="bold">{escape(name)}</text>')
        y += BAR + 4
        for label, color, value in zip(series, COLORS, values, strict=False):
            if value is None:
                continue
            length = (WIDTH - LEFT - 70) * value / most
            parts += [
                f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>',
                f'<rect x="{LEFT}" y="{y + 1}" width="{length:.1f}" height="{BAR - 3}" fill="{color}"/>',
                f'<text x="{LEFT + length + 6:.1f}" y="{y + 11}">{value:,.0f}</text>',
            ]
            y += BAR
        y += GAP - BAR
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}">',
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
            f'<text x="8" y="20" font-size="15">{escape(title)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )
