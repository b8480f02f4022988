"""Limit lines that repeat: beyond a number within ten seconds they are counted, and one line says how many there were.

Called by the pipeline for each event, from any thread. It must never hold more than a bounded number of kinds of lines.
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
MAX_LINES = 200  # lines of one logger and level within a window, whatever their events
_MAX_KINDS = 1_000  # strangers can make new events, such as a Host header in a message


class Kind(NamedTuple):
    """What makes two lines alike."""

    logger: str
    level: str
    event: str = ""


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
            if len(self._windows) >= _MAX_KINDS and kind not in self._windows:
                kind = kind._replace(event="")
            window, whole = self._window(kind, now_s), self._window(kind._replace(event=""), now_s)
            window.lines += 1
            whole.lines += window is not whole
            if window.lines <= MAX_REPEATS and whole.lines <= MAX_LINES:
                return True
            window.suppressed += 1
            self.suppressed += 1
            return False

    def summaries(self, *, is_end: bool = False) -> list[dict[str, Any]]:
        """Return an event for each kind of which lines were left out, once its window has ended."""
        with self._lock:
            self._end_windows(math.inf if is_end else self._clock())
            ended, self._ended = self._ended, []
        return [
            {"event": "lines suppressed", "repeated": kind.event, "logger": kind.logger, "lines": lines, "within_s": WINDOW_S}
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
