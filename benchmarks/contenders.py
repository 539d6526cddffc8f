"""Who competes, and how each is started and stopped."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from benchmarks.cluster import Cluster
from benchmarks.workloads import WORKLOADS, Dialect
from tenancy.embedded import APP

ROOT = Path(__file__).parents[1]
POOL_SIZE = 10
START_SECONDS = 60
OPEN = "bench_open"
WITHOUT_VIEWS = "ours-without-views"
# Where a view is recorded: what they read is one case.
VIEWED_WORKLOADS = ("W1", "W6")


@dataclass(frozen=True)
class Contender:
    """A program that serves the workloads on the port that its environment names."""

    name: str
    title: str
    command: Sequence[str]
    database: str = "peers"
    role: str = APP
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = ROOT
    dialect: Dialect = field(default_factory=Dialect)
    workloads: Sequence[str] = tuple(WORKLOADS)

    def variables(self, cluster: Cluster, port: int) -> dict[str, str]:
        url = cluster.url(self.role, self.database)
        # Without what the caller's shell says of settings: they are the benchmark's.
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        return {**kept, "PORT": str(port), "POOL_SIZE": str(POOL_SIZE), "DATABASE_URL": url, **self.environment}


def ours(jwks_url: str, **settings: str) -> Contender:
    """The service as it runs in production: with a limit that nobody reaches, its log in a file."""
    return Contender(
        "ours",
        "Prior-Auth Fastlane",
        (sys.executable, "-m", "serve"),
        database="ours",
        environment={
            "ENVIRONMENT": "production",
            "AUTH_JWKS_URL": jwks_url,
            "MEMBER_ID_PEPPER": secrets.token_urlsafe(32),
            "POOL_MAX_SIZE": str(POOL_SIZE),
            "DATA_DIR": ".data/bench/service",
            "RATE_LIMIT": "1000000",
            "TENANT_RATE_LIMIT": "10000000",
            **settings,
        },
    )


def trail_variants(jwks_url: str) -> list[Contender]:
    """Ours, ours without the trail and its events, ours without sealing: what each of them costs a write."""
    whole = ours(jwks_url)
    unsealed = ours(jwks_url, AUDIT_SEAL_SECONDS="0")
    writes = ("W4", "W5")
    return [
        replace(whole, workloads=writes),
        replace(whole, name="untracked", title="without the trail", database="untracked", workloads=writes),
        replace(unsealed, name="unsealed", title="without sealing", workloads=writes),
    ]


def ours_without_views(jwks_url: str) -> Contender:
    """The service that records no views: for the comparison with peers, who record none."""
    served = ours(jwks_url, AUDIT_VIEWS="0")
    return replace(served, name=WITHOUT_VIEWS, title=f"{served.title}, AUDIT_VIEWS=0", workloads=VIEWED_WORKLOADS)


def floor() -> Contender:
    """The least that a careful handler does."""
    return Contender("floor", "Litestar route + asyncpg (the floor)", (sys.executable, "-m", "benchmarks.peers.floor"))


@dataclass
class Running:
    """A contender that serves."""

    contender: Contender
    port: int
    process: psutil.Process

    def tree(self) -> list[psutil.Process]:
        """The process and its workers."""
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def started(contender: Contender, cluster: Cluster, log: Path) -> Iterator[Running]:
    """Runs it until the block ends. Raises `RuntimeError` with the end of its log when it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603  # Commands of ours.
            contender.command,
            cwd=contender.directory,
            env=contender.variables(cluster, port),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        asyncio.run(_listening(port, process, log))
        yield Running(contender, port, psutil.Process(process.pid))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def serving(contenders: Sequence[Contender], cluster: Cluster, logs: Path) -> AsyncIterator[list[Running]]:
    """Starts them in a thread, so that the loop can serve what they ask of it meanwhile."""
    with ExitStack() as stack:

        def start() -> list[Running]:
            return [stack.enter_context(started(c, cluster, logs / f"{c.name}.log")) for c in contenders]

        yield await asyncio.get_running_loop().run_in_executor(None, start)


async def _listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"did not start; the end of {log} says why")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
