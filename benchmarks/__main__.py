"""`python -m benchmarks` measures ours against the floor and the peers, `… quick` against the floor alone,
`… growth` what grows with the number of cases, requests and workers, and `… checklists` a thousand evaluations."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvloop

from benchmarks import checklists, growth
from benchmarks import cluster as clusters
from benchmarks.answers import compare
from benchmarks.cluster import Cluster
from benchmarks.contenders import ROOT, Contender, floor, ours, ours_without_views, serving, trail_variants
from benchmarks.identity import IdentityProvider
from benchmarks.load import run_load
from benchmarks.peers_installed import peers
from benchmarks.progress import Progress
from benchmarks.report import DOCUMENT, PICTURE, document, missed, picture, quick_lines
from benchmarks.rounds import Results, measure
from benchmarks.wire import tap
from benchmarks.workloads import WORKLOADS, Sample, draw_sample, requests_of
from tenancy.embedded import EmbeddedDatabase

DIRECTORY = ROOT / ".data" / "bench"
QUICK_ROUNDS, QUICK_SECONDS = 6, 0.6
FULL_ROUNDS, FULL_SECONDS = 5, 1.2
COUNTED_REQUESTS = 40


def main() -> None:
    """Loads the data the first time, which takes a minute or two, and measures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("mode", choices=("full", "quick", "growth", "checklists"), nargs="?", default="full")
    mode = parser.parse_args().mode
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    cluster = clusters.start(DIRECTORY / "cluster")
    if mode == "growth":
        uvloop.run(_growth(cluster))
        return
    asyncio.run(clusters.load(cluster, DIRECTORY / "cluster"))
    run = {"quick": _quick, "full": _full, "checklists": _checklists}[mode]
    uvloop.run(run(cluster))


async def _quick(cluster: Cluster) -> None:
    async with _provider() as provider:
        contenders = [ours(provider.jwks_url), floor()]
        results = await _measure(contenders, cluster, provider, rounds=QUICK_ROUNDS, seconds=QUICK_SECONDS)
    print("\n".join(quick_lines(results)))


async def _full(cluster: Cluster) -> None:
    async with _provider() as provider:
        contenders = [ours(provider.jwks_url), floor(), ours_without_views(provider.jwks_url), *peers(DIRECTORY)]
        wire = await _count(contenders, cluster, provider)
        results = await _measure(contenders, cluster, provider, rounds=FULL_ROUNDS, seconds=FULL_SECONDS)
        trail = await _measure(
            trail_variants(provider.jwks_url), cluster, provider, rounds=2 * FULL_ROUNDS, seconds=FULL_SECONDS
        )
    page = document(contenders, results, trail, wire, FULL_ROUNDS, FULL_SECONDS)
    (ROOT / DOCUMENT).write_text(page, encoding="utf-8")
    (ROOT / PICTURE).write_text(picture(contenders, results), encoding="utf-8")
    print(page)
    print("\n".join(missed(results)) or "Every ratio is what it is to be.")


async def _growth(cluster: Cluster) -> None:
    async with _provider() as provider:
        async for line in growth.measured(cluster, DIRECTORY, provider):
            print(line, flush=True)


async def _checklists(cluster: Cluster) -> None:
    async with _provider() as provider:
        async for line in checklists.measured(cluster, DIRECTORY, provider):
            print(line, flush=True)


@asynccontextmanager
async def _provider() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider()
    async with provider.serve():
        yield provider


async def _measure(
    contenders: Sequence[Contender], cluster: Cluster, provider: IdentityProvider, *, rounds: int, seconds: float
) -> Results:
    await clusters.refresh(cluster, sorted({contender.database for contender in contenders}))
    sample = await draw_sample(cluster.superuser("ours"), provider.token)
    async with serving(contenders, cluster, DIRECTORY) as runnings:
        await asyncio.to_thread(compare, runnings[1], [runnings[0], *runnings[2:]], sample)
        turns = rounds * len(WORKLOADS) * len(runnings)
        with Progress(f"Measuring {len(runnings)} contenders", turns) as progress:
            return await measure(
                runnings, tuple(WORKLOADS), sample, cluster, rounds=rounds, seconds=seconds, done=progress.add
            )


async def _count(
    contenders: Sequence[Contender], cluster: Cluster, provider: IdentityProvider
) -> dict[tuple[str, str], tuple[float, float]]:
    """Round trips and statements a request, counted on the wire when everything is warm."""
    await clusters.refresh(cluster)
    sample = await draw_sample(cluster.superuser("ours"), provider.token)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    async with (
        tap(cluster.socket_dir) as tapped,
        serving(contenders, Cluster(EmbeddedDatabase(tapped.directory)), DIRECTORY) as runnings,
    ):
        for running in runnings:
            for workload in running.contender.workloads:
                source = requests_of(workload, Sample(sample.clinics[:1], sample.cases[:1]), running.contender.dialect)
                for _ in range(2):  # The first time connections, plans and identities are made.
                    tapped.reset()
                    await run_load(running.port, source, connections=1, count=COUNTED_REQUESTS)
                found[running.contender.name, workload] = (
                    tapped.round_trips / COUNTED_REQUESTS,
                    tapped.statements / COUNTED_REQUESTS,
                )
    return found


if __name__ == "__main__":
    main()
