"""The one place where a process's log is written: by a thread, so that nothing else ever waits for it or fails with it.

Called by the pipeline and the access log, from any thread. Invariants: `write` never raises and never blocks; what waits is
bounded; each line that could not be written is counted, and the log says how many when it works again.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from matinee.logs.targets import Nowhere, Stream, Target, WriteFailed

MAX_WAITING_BYTES = 1024 * 1024  # of lines that wait for the thread; more are lost and counted
_TICK_S = 1.0  # between two looks for what is to be reported
_STDERR = 2
Events = Callable[[], Iterable[bytes]]


class Sink:
    """A bounded queue of lines, and the thread that writes them to a target."""

    def __init__(self) -> None:
        self.lost = 0  # lines since the process began
        self._target: Target = Stream(_STDERR) if sys.__stderr__ is not None else Nowhere()
        self._render: Callable[[dict[str, Any]], bytes] = lambda _: b""
        self._due: Events = tuple
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Begin with an empty queue and no thread; a forked process has neither, and its parent writes what waited."""
        self._lock = threading.RLock()  # a signal handler that logs may interrupt its own thread while that holds it
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting_bytes = self._unreported = 0
        self._reason, self._has_complained = "", False

    def use(self, target: Target, render: Callable[[dict[str, Any]], bytes], due: Events = tuple) -> None:
        """Write to another target from now on.

        `render` makes a line of what the sink itself reports; `due` returns lines that are to be written about once a second.
        """
        self.drain()
        before, self._target = self._target, target
        self._render, self._due = render, due
        before.close()

    def write(self, lines: bytes, count: int = 1) -> None:
        """Hand whole lines over; never raises. Cost: about 2 us."""
        try:
            with self._lock:
                if self._waiting_bytes + len(lines) > MAX_WAITING_BYTES:
                    self._lose(count, "the log is written too slowly")
                    return
                self._waiting_bytes += len(lines)
            self._queue.put(lines)
            if self._thread is None:
                self._start()
        except Exception as error:  # noqa: BLE001  the promise of this module
            self._lose(count, str(error))

    def reopen(self) -> None:
        """Open the target again before the next line. Safe in a signal handler: it takes no lock."""
        self._queue.put(self._target.reopen)

    def drain(self, within_s: float = 1.0) -> bool:
        """Wait until all lines so far are written, and return whether they are."""
        if self._thread is None or self._thread is threading.current_thread():
            return self._thread is None
        is_written = threading.Event()
        self._queue.put(is_written.set)
        return is_written.wait(within_s)

    def count_lost(self, lines: int = 1) -> None:
        """Count lines that could not even be rendered."""
        self._lose(lines, "an event could not be rendered")

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._queue,), name="matinee-log", daemon=True)
                self._thread = thread
                thread.start()

    def _run(self, items: queue.SimpleQueue[Any]) -> None:
        ticked_s = time.monotonic()
        while True:
            item = None
            with contextlib.suppress(queue.Empty):
                item = items.get(timeout=_TICK_S)
            with contextlib.suppress(Exception):  # the thread outlives whatever a target raises
                self._handle(item)
            with contextlib.suppress(Exception):
                if time.monotonic() - ticked_s >= _TICK_S:
                    ticked_s = time.monotonic()
                    self._tick()

    def _handle(self, item: Any) -> None:
        if not isinstance(item, bytes):
            if item is not None:
                item()
            return
        try:
            self._put(item)
        finally:
            with self._lock:
                self._waiting_bytes -= len(item)

    def _tick(self) -> None:
        for line in self._due():
            self._put(line)
        if self._unreported:
            self._report()

    def _put(self, lines: bytes) -> None:
        """Write lines; what is lost is counted, and reported as soon as a write works again."""
        try:
            self._target.write(lines)
        except WriteFailed as error:
            self._lose(error.lines, error.reason)
            self._complain(error.reason)
            return
        if self._unreported:
            self._report()

    def _report(self) -> None:
        with self._lock:
            lines, reason, self._unreported = self._unreported, self._reason, 0
        event = {"event": "log lines were lost", "level": "warning", "lines": lines, "reason": reason}
        try:
            self._target.write(self._render(event))
        except WriteFailed:
            with self._lock:
                self._unreported += lines
            return
        self._reason, self._has_complained = "", False

    def _lose(self, lines: int, reason: str) -> None:
        with self._lock:
            self.lost += lines
            self._unreported += lines
            self._reason = self._reason or reason

    def _complain(self, reason: str) -> None:
        """Say once on the standard error stream that the log cannot be written, if that is another target."""
        if self._has_complained or sys.__stderr__ is None or isinstance(self._target, Stream | Nowhere):
            return
        self._has_complained = True
        event = {"event": "the log cannot be written; its lines are lost and counted", "level": "error", "reason": reason}
        with contextlib.suppress(WriteFailed):
            Stream(_STDERR).write(self._render(event))


SINK = Sink()
