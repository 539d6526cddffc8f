"""The load: so many keep-alive connections, each with one request on its way at any time.

A request is bytes that were made beforehand, and a response is parsed by httptools, so that
the load costs a few microseconds a request and not more for one contender than for another.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httptools


@dataclass
class Outcome:
    """What came back. `latencies` are seconds, in the order of arrival; `seconds` is how long it took."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds that `share` of the requests stayed below."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Client(asyncio.Protocol):
    """One connection. Sends the next request as soon as the last one is answered, until `stop`.

    With an `interval`, in seconds, a request is due that long after the one before, and its latency counts from
    when it was due: what a late answer does to the next request is part of it.
    """

    def __init__(self, requests: Iterator[bytes], outcome: Outcome, interval: float, delay: float) -> None:
        self._requests = requests
        self._outcome = outcome
        self._interval = interval
        self._due = time.perf_counter() + delay
        self._parser = httptools.HttpResponseParser(self)
        self._is_stopping = False
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._outcome.latencies.append(time.perf_counter() - self._sent_at)
        status = self._parser.get_status_code()
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        if self._is_stopping:
            self._transport.close()
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            if self._is_stopping and error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error or ConnectionError("the server closed a connection"))

    def stop(self) -> None:
        """After the answer that is on its way."""
        self._is_stopping = True

    def _next(self) -> None:
        if not self._interval:
            self._due = time.perf_counter()
            self._send()
            return
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, self._due - time.perf_counter()), self._send)

    def _send(self) -> None:
        request = None if self._is_stopping else next(self._requests, None)
        if request is None:
            self._is_stopping = True
            self._transport.close()
            return
        self._sent_at = self._due
        self._due += self._interval
        self._transport.write(request)


async def run_load(  # noqa: PLR0913  # A load is what it says.
    port: int,
    requests: Iterable[bytes],
    *,
    connections: int,
    seconds: float | None = None,
    count: int | None = None,
    rate: float | None = None,
) -> Outcome:
    """Sends requests until `seconds` are over or `count` are sent, `rate` a second at most. Raises `OSError`."""
    outcome = Outcome()
    source = iter(requests) if count is None else itertools.islice(requests, count)
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    interval = connections / rate if rate else 0.0
    made = await asyncio.gather(
        *(
            loop.create_connection(
                partial(_Client, source, outcome, interval, number * interval / connections), "127.0.0.1", port
            )
            for number in range(connections)
        )
    )
    clients = [client for _, client in made]
    if seconds is not None:
        await asyncio.wait([client.finished for client in clients], timeout=seconds)
        for client in clients:
            client.stop()
    await asyncio.gather(*(client.finished for client in clients))
    outcome.seconds = time.perf_counter() - began
    return outcome
