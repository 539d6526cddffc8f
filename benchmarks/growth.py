"""What must not grow: time with the number of cases and of pages, memory with the number of requests.

And what must: the rate with the number of workers. `make bench-growth`; loading 2,000,000 cases takes minutes, once.
"""

import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import chain, cycle
from pathlib import Path
from urllib.parse import quote

import httpx

from benchmarks import cluster as clusters
from benchmarks.cluster import Cluster
from benchmarks.contenders import Contender, Running, ours, serving
from benchmarks.identity import IdentityProvider
from benchmarks.load import Outcome, run_load
from benchmarks.progress import Progress
from benchmarks.rounds import CONNECTIONS
from benchmarks.workloads import Dialect, Sample, draw_sample, requests_of

SMALL, LARGE = 20_000, 2_000_000
READS = ("W1", "W2", "W6")
ROUNDS, SECONDS = 7, 1.0
LATE_PAGE = 5_000
TIMED = 100
REQUESTS = 1_000_000
PARTS = 10
MEGABYTE = 1024 * 1024


async def measured(cluster: Cluster, directory: Path, provider: IdentityProvider) -> AsyncIterator[str]:
    """A line for each thing, with what it is to be."""
    for cases, name in ((SMALL, "small"), (LARGE, "large")):
        await clusters.load(cluster, directory / "cluster", cases, name)
    service = ours(provider.jwks_url)
    for part in (_sizes, _workers, _memory):
        async for line in part(cluster, directory, provider, service):
            yield line


async def _sizes(
    cluster: Cluster, directory: Path, provider: IdentityProvider, service: Contender
) -> AsyncIterator[str]:
    """The reads on few and on many cases, in turns; and a late page beside the first."""
    names = ("small", "large")
    samples = [await draw_sample(cluster.superuser(name), provider.token) for name in names]
    contenders = [replace(service, name=name, database=name) for name in names]
    async with serving(contenders, cluster, directory) as runnings:
        for workload in READS:
            rates: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(ROUNDS):
                for name, running, sample in zip(names, runnings, samples, strict=True):
                    requests = requests_of(workload, sample, Dialect())
                    await run_load(running.port, requests, connections=CONNECTIONS, seconds=0.2)
                    outcome = await run_load(running.port, requests, connections=CONNECTIONS, seconds=SECONDS)
                    rates[name].append(outcome.rate)
            small, large = (statistics.median(rates[name]) for name in names)
            yield f"{workload} at {LARGE:,} cases costs {small / large:.2f} times what it costs at {SMALL:,} (≤ 1.3)"
        yield await _pages(runnings[1], samples[1])


async def _pages(running: Running, sample: Sample) -> str:
    """Of the largest tenant: the cursor is followed page by page, as a client would."""
    headers = {"Authorization": f"Bearer {sample.clinics[0].token}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", headers=headers) as client:
        cursor = ""
        with Progress(f"Going to page {LATE_PAGE:,}", LATE_PAGE) as progress:
            for _ in range(LATE_PAGE - 1):
                answer = await client.get(f"/api/cases/?__cursor={quote(cursor)}")
                cursor = answer.raise_for_status().json()["next_cursor"]
                progress.add(1)
    clinic = sample.clinics[0]
    times = []
    for asked in (cursor, ""):
        request = clinic.head("GET", f"/api/cases/?__cursor={quote(asked)}")
        outcome = await run_load(running.port, cycle([request]), connections=1, count=TIMED)
        times.append(statistics.median(outcome.latencies))
    return f"page {LATE_PAGE:,} takes {times[0] / times[1]:.2f} times what the first page takes (≤ 2)"


async def _workers(
    cluster: Cluster, directory: Path, provider: IdentityProvider, service: Contender
) -> AsyncIterator[str]:
    """One worker and two; with two, the latencies at half of the rate that they reach."""
    sample = await draw_sample(cluster.superuser("small"), provider.token)
    contenders = [replace(service, name="one-worker", database="small"), _with_two_workers(service)]
    async with serving(contenders, cluster, directory) as runnings:
        for workload in READS:
            requests = requests_of(workload, sample, Dialect())
            found: list[list[Outcome]] = [[], []]
            for _ in range(ROUNDS):
                for running, outcomes in zip(runnings, found, strict=True):
                    await run_load(running.port, requests, connections=CONNECTIONS, seconds=0.2)
                    outcomes.append(await run_load(running.port, requests, connections=CONNECTIONS, seconds=SECONDS))
            one, two = (statistics.median(outcome.rate for outcome in outcomes) for outcomes in found)
            calm = await run_load(
                runnings[1].port, requests, connections=CONNECTIONS, seconds=5 * SECONDS, rate=two / 2
            )
            share = calm.quantile(0.99) / calm.quantile(0.5)
            yield (
                f"{workload} with 2 workers: {two:,.0f}/s, {two / one:.2f} times one; at half of it p50 "
                f"{calm.quantile(0.5) * 1000:.2f} ms, p99 {share:.1f} times that (< 5)"
            )


def _with_two_workers(service: Contender) -> Contender:
    environment = {**service.environment, "WORKERS": "2"}
    return replace(service, name="two-workers", database="small", environment=environment)


async def _memory(
    cluster: Cluster, directory: Path, provider: IdentityProvider, service: Contender
) -> AsyncIterator[str]:
    """What one worker holds while a million requests of all kinds go through it."""
    sample = await draw_sample(cluster.superuser("small"), provider.token)
    kinds: Sequence[str] = ("W1", "W2", "W6", "W3", "W5", "W4")
    requests = chain.from_iterable(zip(*(requests_of(kind, sample, Dialect()) for kind in kinds), strict=True))
    sizes = []
    async with serving([replace(service, database="small")], cluster, directory) as (running,):
        with Progress(f"Sending {REQUESTS:,} requests", REQUESTS) as progress:
            for _ in range(PARTS):
                await run_load(running.port, requests, connections=CONNECTIONS, count=REQUESTS // PARTS)
                sizes.append(sum(process.memory_info().rss for process in running.tree()) // MEGABYTE)
                progress.add(REQUESTS // PARTS)
    shown = " ".join(str(size) for size in sizes)
    yield f"memory after each tenth of {REQUESTS:,} requests, MB: {shown} (< 250, and flat)"
