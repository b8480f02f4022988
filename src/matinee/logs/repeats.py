"""Limit lines that repeat: beyond a number within ten seconds they are counted, and one line says how many there were.

Called by the pipeline for each event, from any thread. Invariants: a bounded number of kinds of lines is held; a kind that
repeats hides no other kind, and a client hides no other client.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

WINDOW_S = 10.0
MAX_REPEATS = 20  # lines of one event, logger, level and error within a window
MAX_LINES = 200  # lines of one logger and level within a window, or of one event of all clients
_MAX_KINDS = 1_000  # strangers can make new events, such as a Host header in a message


class Kind(NamedTuple):
    """What makes two lines alike."""

    logger: str
    level: str
    event: str = ""
    client: str = ""

    def wider(self) -> Kind:
        """Return the kind that includes this one: the event of all clients, else all events of the logger and level."""
        return self._replace(client="") if self.client else self._replace(event="")


@dataclass
class _Window:
    ends_s: float
    lines: int = 0
    suppressed: int = 0


class Repeats:
    """The lines of the last ten seconds, by kind."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.suppressed = 0  # lines since the process began
        self._clock, self._lock = clock, threading.RLock()
        self._windows: dict[Kind, _Window] = {}
        self._ended: list[tuple[Kind, int]] = []

    def admits(self, kind: Kind) -> bool:
        """Return whether a line may be written; one that may not is counted."""
        with self._lock:
            now_s = self._clock()
            if len(self._windows) >= _MAX_KINDS:
                self._end_windows(now_s)
            while len(self._windows) >= _MAX_KINDS and kind.event and kind not in self._windows:
                kind = kind.wider()
            window = self._window(kind, now_s)
            if self._has_room(window, kind, now_s):
                return True
            window.suppressed += 1
            self.suppressed += 1
            return False

    def _has_room(self, window: _Window, kind: Kind, now_s: float) -> bool:
        """Count a line. What its own window refuses does not count in the wider one, where it would hide other kinds."""
        window.lines += 1
        if window.lines > MAX_REPEATS:
            return False
        whole = self._window(kind.wider(), now_s)
        whole.lines += window is not whole
        return whole.lines <= MAX_LINES

    def summaries(self, *, is_end: bool = False) -> list[dict[str, Any]]:
        """Return an event for each kind of which lines were left out, once its window has ended."""
        with self._lock:
            self._end_windows(math.inf if is_end else self._clock())
            ended, self._ended = self._ended, []
        return [
            {"event": "lines suppressed", "repeated": kind.event, "logger": kind.logger, "lines": lines, "within_s": WINDOW_S}
            | ({"client": kind.client} if kind.client else {})
            for kind, lines in ended
        ]

    def _window(self, kind: Kind, now_s: float) -> _Window:
        window = self._windows.get(kind)
        if window is None or now_s >= window.ends_s:
            if window is not None and window.suppressed:
                self._ended.append((kind, window.suppressed))
            window = self._windows[kind] = _Window(now_s + WINDOW_S)
        return window

    def _end_windows(self, now_s: float) -> None:
        for kind in [kind for kind, window in self._windows.items() if now_s >= window.ends_s]:
            window = self._windows.pop(kind)
            if window.suppressed:
                self._ended.append((kind, window.suppressed))
