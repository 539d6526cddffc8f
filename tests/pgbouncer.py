"""A real PgBouncer in transaction mode in front of the test cluster."""

import asyncio
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster import TestDatabase

_CONFIG = """
[databases]
{database} = host={socket_dir} dbname={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
ignore_startup_parameters =
pidfile = {directory}/pgbouncer.pid
"""


@asynccontextmanager
async def pgbouncer(database: TestDatabase, directory: Path, pool_size: int) -> AsyncIterator[str]:
    """The URL of the app's role through a pooler of `pool_size` server connections.

    `auth_type = any` logs in to the server as one user for all clients: name it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "pgbouncer.ini"
    text = _CONFIG.format(
        database=database.name, socket_dir=database.socket_dir, port=port, pool_size=pool_size, directory=directory
    )
    config.write_text(text.replace(f"dbname={database.name}", f"dbname={database.name} user=fastlane_app"))
    process = await asyncio.create_subprocess_exec(*_command(config, directory), stderr=asyncio.subprocess.DEVNULL)
    try:
        await _listening(port, process)
        yield f"postgresql://fastlane_app@127.0.0.1:{port}/{database.name}?pgbouncer=true&connection_limit=10"
    finally:
        process.terminate()
        await process.wait()


def _command(config: Path, directory: Path) -> list[str]:
    """PgBouncer refuses to run as root; it then runs as the user of the embedded server."""
    binary = shutil.which("pgbouncer") or "pgbouncer"
    if os.geteuid() != 0:
        return [binary, str(config)]
    user = pwd.getpwnam("embedded_postgres")
    for path in (directory, config):
        os.chown(path, user.pw_uid, user.pw_gid)
    for parent in directory.parents:
        parent.chmod(parent.stat().st_mode | 0o111)
    return [binary, "-u", "embedded_postgres", str(config)]


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(10):
        while True:
            assert process.returncode is None, "PgBouncer ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
