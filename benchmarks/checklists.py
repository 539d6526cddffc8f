"""How long a thousand checklists take: at first, when tasks are made, and after that; over HTTP and in SQL alone."""

import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from benchmarks import cluster as clusters
from benchmarks.cluster import SQL, Cluster
from benchmarks.contenders import Running, ours, serving
from benchmarks.identity import IdentityProvider
from benchmarks.load import run_load
from benchmarks.rounds import CONNECTIONS
from benchmarks.workloads import Sample, draw_sample
from tenancy.context import DatabaseRole, Scope
from tenancy.tables import Role
from tenancy.transaction import begin_statement

EVALUATIONS = 1_000
LIMIT_SECONDS = 2.0
TIMEOUT_MS = 15_000
# As the service's own connections plan.
PLANNING = {"plan_cache_mode": "force_generic_plan", "jit": "off", "random_page_cost": "1.1"}


async def measured(cluster: Cluster, directory: Path, provider: IdentityProvider) -> AsyncIterator[str]:
    """A line for each thing, with what it is to be."""
    await clusters.refresh(cluster, ["ours"])
    superuser = cluster.superuser("ours")
    await _load_rulesets(superuser)
    sample = await draw_sample(superuser, provider.token)
    async with serving([ours(provider.jwks_url)], cluster, directory) as (running,):
        before = await _count_tasks(superuser)
        for turn in ("the first time", "the second time"):
            seconds = await _over_http(running, sample)
            made = await _count_tasks(superuser) - before
            yield (
                f"{EVALUATIONS:,} evaluations over {CONNECTIONS} connections, {turn}: {seconds:.2f} s "
                f"(< {LIMIT_SECONDS:.0f}); tasks made so far: {made:,}"
            )
    yield f"{EVALUATIONS:,} calls of the function alone: {await _in_sql(superuser, sample):.2f} s"


async def _load_rulesets(url: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})
    await connection.execute((SQL / "checklist_rulesets.sql").read_text(encoding="utf-8"))
    await connection.execute("ANALYZE rulesets")
    await connection.close()


async def _count_tasks(url: str) -> int:
    connection = await asyncpg.connect(url)
    count: int = await connection.fetchval("SELECT count(*) FROM tasks WHERE ruleset_id IS NOT NULL")
    await connection.close()
    return count


async def _over_http(running: Running, sample: Sample) -> float:
    """Seconds, of as many different cases as there are in the sample. Raises `RuntimeError` unless all succeed."""
    requests = [clinic.head("POST", f"/api/cases/{case}/checklist/", b"{}") for case, clinic in sample.cases]
    outcome = await run_load(
        running.port, itertools.cycle(requests[:EVALUATIONS]), connections=CONNECTIONS, count=EVALUATIONS
    )
    if outcome.statuses.keys() != {200}:
        raise RuntimeError(f"evaluations are answered {outcome.statuses}")
    return outcome.seconds


async def _in_sql(url: str, sample: Sample) -> float:
    """Seconds of one connection, each call in a transaction that is bound to the tenant."""
    connection = await asyncpg.connect(url, server_settings=PLANNING)
    began = time.perf_counter()
    for case, clinic in itertools.islice(itertools.cycle(sample.cases), EVALUATIONS):
        scope = Scope(DatabaseRole.tenant, "benchmark", clinic.tenant_id, clinic.user_id, Role.admin)
        await connection.execute(begin_statement(scope, TIMEOUT_MS))
        await connection.fetchval("SELECT cases.checklist_1($1)", case)
        await connection.execute("COMMIT")
    seconds = time.perf_counter() - began
    await connection.close()
    return seconds
