"""A tap between a client and PostgreSQL's Unix socket, which counts what the server answers.

One `ReadyForQuery` ends each round trip, one `CommandComplete` each statement, whatever client asks:
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
_HEADER = struct.Struct("!cI")


@dataclass
class Tap:
    """`directory` takes the place of the server's in a URL."""

    directory: Path
    round_trips: int = 0
    statements: int = 0

    def reset(self) -> None:
        """Counts from here."""
        self.round_trips = self.statements = 0

    async def count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes the server's messages on, each as it comes."""
        try:
            while True:
                kind, length = _HEADER.unpack(head := await reader.readexactly(_HEADER.size))
                self.round_trips += kind == b"Z"
                self.statements += kind == b"C"
                writer.write(head + await reader.readexactly(length - 4))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def tap(socket_dir: Path) -> AsyncIterator[Tap]:
    """A socket of its own, in front of the server's."""
    with tempfile.TemporaryDirectory(prefix="tap-") as name:
        tapped = Tap(Path(name))
        passing: set[asyncio.Task[None]] = set()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_unix_connection(str(socket_dir / SOCKET))
            for work in (_pass_on(reader, server_writer), tapped.count(server_reader, writer)):
                task = asyncio.create_task(work)
                passing.add(task)
                task.add_done_callback(passing.discard)

        server = await asyncio.start_unix_server(connect, str(tapped.directory / SOCKET))
        try:
            yield tapped
        finally:
            server.close()
            for task in passing:
                task.cancel()
