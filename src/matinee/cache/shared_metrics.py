"""What is counted of the shared tier, for Prometheus. Called by remote.py, breaker.py and sealed.py; http exposes it.

A read that finds a value is a hit, else a miss. A found value that does not open is counted again, as refused: the caller
reads the database as after any other miss. A write ends as done. A lease is done when the caller holds it, and held
when another one does. What was not even sent, because the tier is away, full or refuses, is skipped.
"""

from __future__ import annotations

import functools

from prometheus_client import Counter, Gauge, Histogram

OPERATIONS = Counter(
    "matinee_shared_cache_operations", "What was asked of the shared cache, by how it ended.", ("operation", "result")
)
ROUND_TRIP_S = Histogram(
    "matinee_shared_cache_round_trip_seconds",
    "Time of one round trip to the shared cache, which carries all that one tick asks for.",
    ("kind",),
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
UP = Gauge("matinee_shared_cache_up", "1 while the shared cache is used.", multiprocess_mode="livemin")
REFUSED = Counter(
    "matinee_shared_cache_refused_values",
    "Values found in the shared cache that were not used, each a miss, by reason: format (of another version, or damaged), mac "
    "(written by another program or with another SECRET_KEY, moved or changed), history (its position is unknown here).",
    ("reason",),
)
OUTAGES = Counter("matinee_shared_cache_outages", "Times that the shared cache was left alone after failures.")


_counter = functools.cache(OPERATIONS.labels)


def count(operation: str, result: str, times: int = 1) -> None:
    """Count operations that ended in the same way."""
    if times:
        _counter(operation, result).inc(times)
