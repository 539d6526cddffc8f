"""The measurement: contenders take turns, so that whatever else the machine does strikes all alike."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from benchmarks.cluster import Cluster
from benchmarks.contenders import Running
from benchmarks.load import run_load
from benchmarks.workloads import Sample, requests_of

CONNECTIONS = 16
WARM_UP_SECONDS = 0.2


@dataclass
class Series:
    """What one contender did in one workload, a value for each round. Times are in microseconds."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    database_cpu: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """The median of the requests a second."""
        return statistics.median(self.rates)


Results = dict[tuple[str, str], Series]
"""By contender's name and workload."""


async def measure(  # noqa: PLR0913  # A measurement is what it says.
    runnings: Sequence[Running],
    workloads: Sequence[str],
    sample: Sample,
    cluster: Cluster,
    *,
    rounds: int,
    seconds: float,
    done: Callable[[int], None],
) -> Results:
    """Runs the rounds. Raises `RuntimeError` when an answer is no success."""
    results: Results = {}
    sources: dict[tuple[str, str], Iterator[bytes]] = {}
    for _ in range(rounds):
        for workload in workloads:
            for running in runnings:
                if workload in running.contender.workloads:
                    key = (running.contender.name, workload)
                    source = sources.setdefault(key, requests_of(workload, sample, running.contender.dialect))
                    await _turn(running, cluster, source, seconds, results.setdefault(key, Series()))
                done(1)
    return results


async def _turn(running: Running, cluster: Cluster, source: Iterator[bytes], seconds: float, series: Series) -> None:
    await run_load(running.port, source, connections=CONNECTIONS, seconds=WARM_UP_SECONDS)
    before = _cpu(running.tree()), _cpu(_backends(cluster))
    outcome = await run_load(running.port, source, connections=CONNECTIONS, seconds=seconds)
    after = _cpu(running.tree()), _cpu(_backends(cluster))
    server, database = (_spent(*pair) for pair in zip(before, after, strict=True))
    if any(status >= 300 for status in outcome.statuses):
        raise RuntimeError(f"{running.contender.title} answers {outcome.statuses}")
    requests = len(outcome.latencies)
    series.rates.append(outcome.rate)
    series.p50.append(outcome.quantile(0.5) * 1e6)
    series.p99.append(outcome.quantile(0.99) * 1e6)
    series.server_cpu.append(server / requests * 1e6)
    series.database_cpu.append(database / requests * 1e6)


def _backends(cluster: Cluster) -> list[psutil.Process]:
    postmaster = cluster.process()
    return [postmaster, *postmaster.children()]


def _cpu(processes: Iterable[psutil.Process]) -> dict[int, float]:
    """Seconds of user and system time, by process."""
    found = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def _spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Of those that are still there: one that ended took its time along."""
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())
