"""What the log could not, or would not, write. Brought to the metrics every second by runtime; called by app.py."""

from __future__ import annotations

from prometheus_client import Counter

from matinee.logs import SINK, AccessLog
from matinee.logs.pipeline import PIPELINE

LOST = Counter("matinee_log_lines_lost", "Log lines that could not be written, because the disk was full for example.")
SUPPRESSED = Counter("matinee_log_lines_suppressed", "Log lines left out by a limit: repeated ones, and requests.", ("log",))


class LogMetrics:
    """The counts of this process's log."""

    def __init__(self, access_log: AccessLog) -> None:
        self._access_log = access_log
        self._lost, self._events, self._requests = SINK.lost, PIPELINE.repeats.suppressed, access_log.suppressed

    def publish(self) -> None:
        """Bring what was counted since the last time to the counters."""
        lost, events, requests = SINK.lost, PIPELINE.repeats.suppressed, self._access_log.suppressed
        LOST.inc(lost - self._lost)
        SUPPRESSED.labels("events").inc(events - self._events)
        SUPPRESSED.labels("requests").inc(requests - self._requests)
        self._lost, self._events, self._requests = lost, events, requests
