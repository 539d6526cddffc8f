"""A bar on stderr, for what takes longer than a moment."""

import sys
import time
from types import TracebackType

WIDTH = 40


class Progress:
    """Used as a context manager; `add` says how much more is done."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._began = time.monotonic()

    def __enter__(self) -> "Progress":
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        print(file=sys.stderr)

    def add(self, amount: int) -> None:
        self._done += amount
        self._show()

    def _show(self) -> None:
        if not sys.stderr.isatty() and 0 < self._done < self._total:
            return  # A log is no place for a bar that moves.
        filled = WIDTH * self._done // self._total
        seconds = time.monotonic() - self._began
        bar = "█" * filled + "·" * (WIDTH - filled)
        end = f"{100 * self._done // self._total:3d} %  {seconds:4.0f} s"
        print(f"\r{self._title} {bar} {end}", end="", file=sys.stderr, flush=True)
