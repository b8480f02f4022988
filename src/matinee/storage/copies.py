"""One copy of the catalogue as the router sees it: is it healthy, how far is it, how much is it asked.

Called by followers.py for each read and by watch.py, which alone takes an ejected copy back. No I/O but opening and cutting.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import structlog

from matinee.storage import read_metrics as metrics
from matinee.storage.postgres import Server, ServerBusy, ServerFailed, ServerSilent

FAILURES_BEFORE_EJECTION = (
    3  # in a row: one lost connection is no broken server, a frozen one has failed three reads in no time
)
LAST_ONES_PATIENCE = 3  # times as many, when no other copy is left
BUSY_FOR_S = 0.5  # with every connection taken and no answer for so long, it is not busy but broken
log = structlog.get_logger("matinee.copies")

Role = Literal["follower", "leader"]


class Copy:
    """A server with its health. Reads are sent to it while it `is_healthy`."""

    def __init__(self, server: Server, role: Role) -> None:
        self.server, self.role, self.name = server, role, server.name
        self.is_healthy = self._was_ejected = False
        self.reason = "it has not answered yet"
        self.since_s = time.monotonic()
        self.position = self.replayed_bytes = 0
        self.in_flight = self.reads = self.retries = self.hedges = self._failures_in_row = 0
        self._answered_s = 0.0
        self._count_read = metrics.READS.labels(self.name, role).inc

    def answered(self, position: int) -> None:
        """Note a statement that this copy has answered."""
        self.reads += 1
        self._failures_in_row, self._answered_s = 0, time.monotonic()
        self.position = max(self.position, position)
        self._count_read()

    def failed(self, error: ServerFailed, since_s: float, *, is_last: bool = False) -> None:
        """Note a statement that this copy has not answered; it is ejected after a few in a row.

        `since_s` is what it was when the statement was sent: one from before an ejection says nothing about a copy that was
        taken back since. The last one is kept for longer when it is only silent: on a machine that has too much to do, all are
        late at once. One that had no connection free and answers others has not failed: this process has too much to do.
        """
        self.retries += 1
        metrics.RETRIES.labels(self.name).inc()
        if since_s != self.since_s or (isinstance(error, ServerBusy) and self._is_answering()):
            return
        self._failures_in_row += 1
        patience = LAST_ONES_PATIENCE if is_last and isinstance(error, ServerSilent) else 1
        if self._failures_in_row >= FAILURES_BEFORE_EJECTION * patience:
            self.eject(str(error))

    def _is_answering(self) -> bool:
        return not self._failures_in_row and time.monotonic() - self._answered_s < BUSY_FOR_S

    def hedged(self) -> None:
        """Note a statement that a second copy was asked because this one took long."""
        self.hedges += 1
        metrics.HEDGES.labels(self.name).inc()

    def eject(self, reason: str) -> None:
        """Send no more reads here, and end the wait of those that are on their way."""
        was_healthy = self.is_healthy
        self.is_healthy, self.reason = False, reason
        if was_healthy:
            self.since_s, self._was_ejected = time.monotonic(), True
        self.server.shut()
        if was_healthy:
            metrics.EJECTIONS.labels(self.name).inc()
            log.warning("ejected", copy=self.name, role=self.role, reason=reason)

    async def take_back(self) -> None:
        """Send reads here again. Raises: ServerFailed."""
        await self.server.open()
        was_ejected, self._was_ejected = self._was_ejected, False
        self.is_healthy, self.reason, self._failures_in_row = True, "", 0
        self.since_s = self._answered_s = time.monotonic()
        if was_ejected:
            log.warning("taken back", copy=self.name, role=self.role, position=self.position)

    def line(self, staleness_s: float, lag_bytes: int | None) -> dict[str, Any]:
        """Return what /readyz shows of this copy, and bring its gauges up to date."""
        self.gauge(staleness_s, lag_bytes)
        return {
            "name": self.name,
            "role": self.role,
            "status": "healthy" if self.is_healthy else "ejected",
            "reason": self.reason or None,
            "since_s": round(time.monotonic() - self.since_s, 1),
            "position": self.position,
            "lag_bytes": lag_bytes,
            "staleness_s": round(staleness_s, 3),
            "in_flight": self.in_flight,
            "reads": self.reads,
            "retries": self.retries,
            "hedges": self.hedges,
        }

    def gauge(self, staleness_s: float, lag_bytes: int | None) -> None:
        """Bring this copy's gauges up to date."""
        for gauge, value in (
            (metrics.HEALTHY, int(self.is_healthy)),
            (metrics.POSITION, self.position),
            (metrics.LAG_BYTES, lag_bytes or 0),
            (metrics.STALENESS_S, staleness_s),
            (metrics.IN_FLIGHT, self.in_flight),
        ):
            gauge.labels(self.name, self.role).set(value)
