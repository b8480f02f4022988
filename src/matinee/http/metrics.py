"""What the service counts of its requests. Called by the front for each request and by /metrics.

With several workers the counters lie in files of PROMETHEUS_MULTIPROC_DIR, which the server's parent process sets before
this module is imported; /metrics of any worker then answers for all of them.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

REQUESTS = Counter("matinee_http_requests", "Requests answered.", ("method", "route", "status"))
DURATION_S = Histogram("matinee_http_request_seconds", "Time to answer a request.", ("route",), buckets=_BUCKETS_S)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meter:
    """Count requests; the counters of each label set are looked up once."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def record(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Count one answered request. Labels are the route's template, never its path: their number must not grow."""
        # Methods are free text on the wire; strangers must not be able to make new series.
        key = (method if method in _METHODS else "other", route, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = REQUESTS.labels(key[0], route, str(status))
            self._histograms.setdefault(route, DURATION_S.labels(route))
        counter.inc()
        self._histograms[route].observe(duration_s)


def exposition() -> tuple[bytes, bytes]:
    """Return the metrics as text and their content type."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST.encode()
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST.encode()
