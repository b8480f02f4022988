"""Notice that the event loop does not turn any more, tell where it is stuck, and end the process: the server starts another.

Started by app.py with the server. A beat on the loop counts its turns and how late they are; a thread beside it looks whether
the count goes on. Invariant: a process that was itself frozen (a signal, a machine asleep, no processor time for it) is not
taken for one whose loop is stuck: the thread trusts no sleep of its own that took too long, and begins anew after it.
Limit: code that never lets go of the interpreter's lock stops this thread, too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable

import structlog

from matinee import logs
from matinee.http.metrics import LOOP_DELAY_S

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h: a worker that ended so was stuck
_BEAT_S = 0.1
_WINDOW_S = 30.0  # the longest delay is that of the last one or two of these, so that no scrape misses it
_STEPS = 20  # of the thread within the bound
_LONGEST_STEP_S = 0.5
_LATE_S = 0.5  # a sleep that took so much longer says that this process did not run
_TOLD_WITHIN_S = 1.0
_FRAMES = 15  # the innermost; the line is to stay below what a pipe takes whole
log = structlog.get_logger("matinee.watchdog")


class Delays:
    """How late the beats of the loop were lately."""

    def __init__(self, now_s: float) -> None:
        self._due_s, self._window_ends_s = now_s, now_s + _WINDOW_S
        self._before_s = self._latest_s = 0.0

    @property
    def longest_s(self) -> float:
        """Return the longest delay of this window and the one before."""
        return max(self._before_s, self._latest_s)

    def beat(self, now_s: float) -> float:
        """Note a beat and return when the next one is due."""
        if now_s >= self._window_ends_s:
            self._before_s, self._latest_s, self._window_ends_s = self._latest_s, 0.0, now_s + _WINDOW_S
        self._latest_s = max(self._latest_s, now_s - self._due_s)
        self._due_s = now_s + _BEAT_S
        return self._due_s


class Patience:
    """How long the loop has been silent while this process really ran."""

    def __init__(self, bound_s: float) -> None:
        self.step_s = min(bound_s / _STEPS, _LONGEST_STEP_S)
        self._bound_s, self._beats = bound_s, -1
        self.silent_s = 0.0

    def is_over(self, beats: int, slept_s: float) -> bool:
        """Return whether the loop is stuck, after one more step: how often it has beaten by now, and how long the step took."""
        if beats != self._beats or slept_s > self.step_s + _LATE_S:
            self._beats, self.silent_s = beats, 0.0
        else:
            self.silent_s += slept_s
        return self.silent_s >= self._bound_s


class Watchdog:
    """The beat on the loop, and the thread that looks at it; without a bound there is the beat alone."""

    def __init__(self, bound_s: float, end: Callable[[int], object] = os._exit) -> None:
        self._bound_s, self._end = bound_s, end
        self._beats = self._loop_thread = 0
        self._delays: Delays | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = threading.Event()

    def start(self) -> None:
        """Begin; called on the event loop."""
        self._loop_thread = threading.get_ident()
        self._delays = Delays(time.monotonic())
        self._beat(asyncio.get_running_loop(), self._delays)
        if self._bound_s:
            threading.Thread(target=self._watch, name="matinee-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End; what is closed after this may take its time."""
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    def publish(self) -> None:
        """Bring the longest delay to the metrics."""
        if self._delays is not None:
            LOOP_DELAY_S.set(self._delays.longest_s)

    def _beat(self, loop: asyncio.AbstractEventLoop, delays: Delays) -> None:
        self._beats += 1
        now_s = time.monotonic()
        self._timer = loop.call_later(delays.beat(now_s) - now_s, self._beat, loop, delays)

    def _watch(self) -> None:
        patience = Patience(self._bound_s)
        before_s = time.monotonic()
        while not self._over.wait(patience.step_s):
            before_s, slept_s = (now_s := time.monotonic()), now_s - before_s
            if patience.is_over(self._beats, slept_s):
                self._tell_and_end(patience.silent_s)
                return

    def _tell_and_end(self, silent_s: float) -> None:
        # In a thread of its own: a log that cannot be written, such as a pipe that nobody reads, may be what the loop hangs on.
        telling = threading.Thread(target=self._tell, args=(silent_s,), daemon=True)
        telling.start()
        telling.join(_TOLD_WITHIN_S)
        self._end(EXIT_CODE)

    def _tell(self, silent_s: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  the only way to another thread's stack
        stack = "".join(traceback.format_stack(frame, _FRAMES)) if frame is not None else "(unknown)"
        log.error(
            "the event loop is stuck: this process ends, and the server starts another one",
            silent_s=round(silent_s, 1),
            exit_code=EXIT_CODE,
            stack=stack,
        )
        logs.drain()  # the log is written by a thread, and this process is about to end without its clean-up
