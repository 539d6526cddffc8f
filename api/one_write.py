"""One write for what a turn of the event loop produces: a response's head and body in one packet, log lines in one go.

uvicorn writes the head of a response and its body apart, and uvloop passes each on at once: two system
calls and two packets, of which the client's first read finds a half.
"""

import asyncio
from typing import Any, BinaryIO

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.streams import ENDLESS, STOPPING


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a `JoiningTransport`. For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]

    def shutdown(self) -> None:
        """The server stops: what would go on for ever ends, at once where its client does not even read."""
        if STOPPING in self.app_state:
            self.app_state[STOPPING].set()
        if self.cycle is not None and ENDLESS in self.cycle.scope["state"] and self.flow.write_paused:
            self.transport.abort()
        super().shutdown()


class JoiningTransport:
    """A transport that joins what it is given in one turn of the event loop. All else is the inner one's."""

    __slots__ = ("_loop", "_pending", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        """After what is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending and not self._transport.is_closing():
            self._transport.write(b"".join(pending))


class JoiningFile:
    """A binary file for a log: lines written in one turn of the event loop leave together; without a loop, at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending: list[bytes] = []

    def write(self, line: bytes) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self._pending.append(line)
        if loop is None:
            self._leave()
        elif len(self._pending) == 1:
            loop.call_soon(self._leave)

    def flush(self) -> None:
        """Nothing: who logs a line asks for it each time."""

    def _leave(self) -> None:
        pending, self._pending = self._pending, []
        self._file.write(b"".join(pending))
        self._file.flush()
