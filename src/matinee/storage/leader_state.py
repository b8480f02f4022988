"""Whether the leader is away, as far as this process knows. Set by the watch over the servers; asked before a write begins.

It lets a write fail at once instead of after a time-out, and pages say that the catalogue is read-only. On SQLite nobody
sets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_OWN_WRITES_S = 5.0  # so long a process goes to the copies rather than show what was before its own write
_FRESH_S = 0.2  # so long after a write it is looked for more often than usual

# Until when the write of this thread is waited for, by the monotonic clock; None is as long as a write may take.
due_s: ContextVar[float | None] = ContextVar("due_s", default=None)


@contextmanager
def due(at_s: float) -> Iterator[None]:
    """Let what is written meanwhile be given up at a moment, because somebody has waited for it before it began."""
    token = due_s.set(at_s)
    try:
        yield
    finally:
        due_s.reset(token)


class LeaderState:
    """Why the leader cannot be written to, and who waits for it."""

    def __init__(self) -> None:
        self.away: str | None = None
        self._written, self._written_s = 0, 0.0
        self._waiting: set[Callable[[], None]] = set()
        self.when_written: Callable[[], object] = lambda: None  # called in the thread of the write

    def lost(self, reason: str) -> None:
        """Note that the leader is away, and end the wait of the writes that are on their way to it."""
        self.away = reason
        for end_wait in list(self._waiting):
            end_wait()

    def found(self) -> None:
        """Note that the leader can be written to."""
        self.away = None

    def wrote(self, position: int) -> None:
        """Note a position that this process has written itself."""
        self._written, self._written_s = max(self._written, position), time.monotonic()
        self.when_written()

    def awaits(self, position: int) -> bool:
        """Return whether this process has written something after a position, only a moment ago."""
        return position < self._written and time.monotonic() - self._written_s < _FRESH_S

    def forget_writes(self) -> None:
        """Note that the catalogue is another one, or lacks what was written."""
        self._written = 0

    @property
    def written(self) -> int:
        """Return the newest position that this process has written itself, 0 when that is long ago.

        A copy that has not caught up by then may never do: the leader that committed it may be lost.
        """
        return self._written if time.monotonic() - self._written_s < _OWN_WRITES_S else 0

    def waits(self, end_wait: Callable[[], None]) -> None:
        """Note a write that is on its way, and how its wait is ended."""
        self._waiting.add(end_wait)

    def waits_no_longer(self, end_wait: Callable[[], None]) -> None:
        """Note that a write has its answer."""
        self._waiting.discard(end_wait)


leader = LeaderState()
