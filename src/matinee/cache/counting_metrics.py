"""What is counted of the counting, and of warming up, for Prometheus. Called by counting.py and by http when it warms up."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FLUSHED = Counter("matinee_popularity_flushed", "Accesses of movies that were added to the counts of all processes.")
DROPPED = Counter(
    "matinee_popularity_dropped",
    "Accesses that were not: single ones, those of too many movies at once, those of a flush that failed.",
    ("reason",),
)
FLUSH_FAILURES = Counter("matinee_popularity_flush_failures", "Times that a process could not hand over its counts.")
WARMED = Counter("matinee_warm_up_movies", "Movies that were loaded before a process said that it is ready.")
WARM_UP_S = Gauge("matinee_warm_up_seconds", "Time that warming up took.", multiprocess_mode="livemax")
