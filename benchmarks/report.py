"""What the measurement says: lines for a terminal, a page with a picture for the documents."""

import os
import platform
import statistics
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from benchmarks.chart import bars
from benchmarks.cluster import CASES, CLINICS
from benchmarks.contenders import POOL_SIZE, VIEWED_WORKLOADS, WITHOUT_VIEWS, Contender
from benchmarks.rounds import CONNECTIONS, Results
from benchmarks.workloads import WORKLOADS

DOCUMENT = Path("docs/performance.md")
PICTURE = Path("docs/performance.svg")
# Of each pair the least that the ratio of medians is to be, as the project has set itself.
TARGETS: Mapping[str, Mapping[str, float]] = {
    "floor": {"W1": 1.0, "W2": 1.0, "W4": 0.85, "W5": 0.85, "W6": 1.0},
    "prisma-rls": {"W1": 3, "W2": 3, "W3": 3, "W4": 3, "W5": 3, "W6": 5},
    "prisma": {"W1": 1.3, "W2": 1.5, "W3": 1.3, "W4": 1.5, "W5": 2, "W6": 2},
    "stock": {"W1": 12, "W2": 10},
}
Wire = Mapping[tuple[str, str], tuple[float, float]]
"""By contender's name and workload: round trips and statements a request."""


def ratio(results: Results, workload: str, other: str) -> float | None:
    """Ours over the other's, of medians. Against a peer, who records no views, ours records none either."""
    is_peer = other not in ("floor", WITHOUT_VIEWS)
    name = WITHOUT_VIEWS if is_peer and workload in VIEWED_WORKLOADS else "ours"
    ours, others = results.get((name, workload)), results.get((other, workload))
    return ours.rate / others.rate if ours and others else None


def quick_lines(results: Results) -> list[str]:
    """A line a workload, which ends in the ratio to the floor."""
    return [
        f"{workload} {title:<28} ours {results['ours', workload].rate:6,.0f}/s  floor "
        f"{results['floor', workload].rate:6,.0f}/s  {ratio(results, workload, 'floor'):.2f}x"
        for workload, title in WORKLOADS.items()
    ]


def document(  # noqa: PLR0913, PLR0917  # All that is on the page.
    contenders: Sequence[Contender], results: Results, trail: Results, wire: Wire, rounds: int, seconds: float
) -> str:
    """The page, in Markdown."""
    return "\n".join(
        [
            "# Performance",
            "",
            "Written by `make bench`, which starts everything on one machine, checks that all answer the same, and",
            f"lets the contenders take turns: {rounds} rounds of {seconds:g} s for each workload, of which the medians",
            f"stand here. {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()},",
            f"PostgreSQL 18 with `shared_buffers=512MB`; {CLINICS} tenants, {CASES:,} cases, of which one tenant has",
            f"a fifth; {CONNECTIONS} connections over loopback, one server process, {POOL_SIZE} database connections.",
            "Load, server and database share the processors. A figure on another machine differs; ratios say more.",
            "",
            "Ours runs as in production: token, identity, rate limit, row-level security, audit rows by trigger,",
            "log line, metrics, headers. All use the same tables with the same indexes. Who has no triggers writes",
            "the trail by hand: the floor as ours has it, with the event, the others one row, PiccoloCRUD none.",
            "A look at a case and a list are a row too, ours and the floor's. Peers record no reads: in W1 and W6",
            "their ratios are to ours without views, in W2 and W3 to ours with its log of lists.",
            "Prisma runs with named prepared statements, and without preview features.",
            "",
            "![Requests a second](performance.svg)",
            "",
            *_table("Requests a second", contenders, lambda name, w: f"{results[name, w].rate:,.0f}", results),
            *_ratios(results, contenders),
            *_trail(trail),
            *_table("p50 / p99, milliseconds", contenders, lambda name, w: _latency(results, name, w), results),
            *_table(
                "Processor time a request, server / PostgreSQL, µs",
                contenders,
                lambda n, w: _cpu(results, n, w),
                results,
            ),
            *_table(
                "Round trips to PostgreSQL / statements a request",
                contenders,
                lambda name, w: "{:.1f} / {:.1f}".format(*wire[name, w]),
                wire,
            ),
        ]
    )


def picture(contenders: Sequence[Contender], results: Results) -> str:
    """The requests a second as SVG."""
    titles = [contender.title for contender in contenders]
    values = {
        f"{workload}  {title}": [
            results[contender.name, workload].rate if (contender.name, workload) in results else None
            for contender in contenders
        ]
        for workload, title in WORKLOADS.items()
    }
    return bars("Requests a second", titles, values)


def missed(results: Results) -> list[str]:
    """The targets that this run misses, a line each."""
    lines = []
    for other, targets in TARGETS.items():
        for workload, least in targets.items():
            found = ratio(results, workload, other)
            if found is not None and found < least:
                lines.append(f"{workload} is {found:.2f} times {other}, to be {least:g} at least")
    return lines


def _table(
    title: str,
    contenders: Sequence[Contender],
    cell: Callable[[str, str], str],
    known: Container[tuple[str, str]],
) -> list[str]:
    rows = [
        f"| {contender.title} | "
        + " | ".join(cell(contender.name, w) if (contender.name, w) in known else "–" for w in WORKLOADS)
        + " |"
        for contender in contenders
    ]
    return [f"## {title}", "", f"| | {' | '.join(WORKLOADS)} |", "| --- " * (len(WORKLOADS) + 1) + "|", *rows, ""]


def _ratios(results: Results, contenders: Sequence[Contender]) -> list[str]:
    rows = []
    for contender in contenders[1:]:
        cells = []
        for workload in WORKLOADS:
            found, target = ratio(results, workload, contender.name), TARGETS.get(contender.name, {}).get(workload)
            cells.append("–" if found is None else f"{found:.2f}" + (f" (≥ {target:g})" if target else ""))
        rows.append(f"| {contender.title} | {' | '.join(cells)} |")
    header = [f"| | {' | '.join(WORKLOADS)} |", "| --- " * (len(WORKLOADS) + 1) + "|"]
    return ["## Ours over the others (and what it is to be at least)", "", *header, *rows, ""]


def _trail(results: Results) -> list[str]:
    """By how much writes are slower with the trail and its events, and with sealing every five seconds."""
    lines = []
    for other, title, most in (("untracked", "The trail, and the events on it", 30), ("unsealed", "Sealing", 5)):
        costs = [f"{workload} {_cost(results, workload, other):.0f} %" for workload in ("W4", "W5")]
        lines.append(f"- {title}: {', '.join(costs)} (≤ {most} %)")
    return ["## What proof costs, in requests a second", "", *lines, ""]


def _cost(results: Results, workload: str, other: str) -> float:
    found = ratio(results, workload, other)
    assert found is not None
    return 100 * (1 - found)


def _latency(results: Results, name: str, workload: str) -> str:
    series = results[name, workload]
    return f"{statistics.median(series.p50) / 1000:.1f} / {statistics.median(series.p99) / 1000:.1f}"


def _cpu(results: Results, name: str, workload: str) -> str:
    series = results[name, workload]
    return f"{statistics.median(series.server_cpu):.0f} / {statistics.median(series.database_cpu):.0f}"
