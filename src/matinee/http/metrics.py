"""What the service counts of its requests. Called by the front for each request, by runtime every second and by /metrics.

A request adds to plain numbers: counters that several workers share cost more than a hit does. `publish` brings the numbers
to them. With several workers the counters lie in files of PROMETHEUS_MULTIPROC_DIR, which the server's parent process sets
before this module is imported; /metrics of any worker then answers for all of them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_FIRST_BUCKET_S = _BUCKETS_S[0]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Durations(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], sum_s: float) -> None:
        """Add so many observations to each bucket, and what they come to."""
        self._sum.inc(sum_s)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


REQUESTS = Counter("matinee_http_requests", "Requests answered.", ("method", "route", "status"))
SHED = Counter("matinee_http_shed", "Requests turned away because too many were under way.")
RATE_LIMITED = Counter("matinee_rate_limited", "Requests answered 429 because a limit was reached, by policy.", ("policy",))
IN_FLIGHT = Gauge(
    "matinee_http_in_flight", "Requests under way that are no hits of the local cache.", multiprocess_mode="livesum"
)
CONNECTIONS = Gauge("matinee_connections", "Open connections of clients.", multiprocess_mode="livesum")
CLOSED_CONNECTIONS = Counter("matinee_connections_closed", "Connections that the server cut, by reason.", ("reason",))
LOOP_DELAY_S = Gauge(
    "matinee_loop_delay_seconds",
    "Longest time by which the event loop was late within the last half minute or minute.",
    multiprocess_mode="livemax",
)
DURATION_S = _Durations("matinee_http_request_seconds", "Time to answer a request.", ("route",), buckets=_BUCKETS_S)


class _Tally:
    """The requests of one label set since they were last brought to the counters: how many in each bucket of time."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS_S) + 1)
        self.sum_s = 0.0


class Meter:
    """Count requests."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int], _Tally] = {}
        self.shed = 0  # since the last time, too

    def record(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one answered request. Labels are the route's template, never its path: their number must not grow."""
        tally = self._tallies.get((method, route, status)) or self._tally(method, route, status)
        # Nearly all are hits, and nearly all hits are in the first bucket.
        tally.counts[0 if duration_s <= _FIRST_BUCKET_S else bisect_left(_BUCKETS_S, duration_s)] += 1
        tally.sum_s += duration_s

    def _tally(self, method: str, route: str, status: int) -> _Tally:
        # Methods are free text on the wire; strangers must not be able to make new series.
        return self._tallies.setdefault((method if method in _METHODS else "other", route, status), _Tally())

    def publish(self) -> None:
        """Bring what was counted since the last time to the counters."""
        tallies, self._tallies = self._tallies, {}
        for (method, route, status), tally in tallies.items():
            REQUESTS.labels(method, route, str(status)).inc(sum(tally.counts))
            DURATION_S.labels(route).add(tally.counts, tally.sum_s)
        shed, self.shed = self.shed, 0
        SHED.inc(shed)


def is_of_processes() -> bool:
    """Return whether the metrics are those of several processes, which lie in files."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


def exposition() -> tuple[bytes, bytes]:
    """Return the metrics as text and their content type."""
    if is_of_processes():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST.encode()
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST.encode()
