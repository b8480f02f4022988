"""What is counted of reads by copy, for Prometheus. Called by copies.py, watch.py and followers.py; http exposes it."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

READS = Counter("matinee_reads", "Statements answered, by copy; the leader's should stay 0.", ("copy", "role"))
RETRIES = Counter("matinee_read_retries", "Statements that this copy failed and another one was asked.", ("copy",))
HEDGES = Counter("matinee_read_hedges", "Statements that were asked of a second copy because this one took long.", ("copy",))
EJECTIONS = Counter("matinee_copy_ejections", "Times that a copy was ejected.", ("copy",))
HEALTHY = Gauge("matinee_copy_healthy", "1 while reads are sent to this copy.", ("copy", "role"), multiprocess_mode="livemin")
POSITION = Gauge("matinee_copy_position", "Newest position seen on this copy.", ("copy", "role"), multiprocess_mode="livemax")
LAG_BYTES = Gauge("matinee_copy_lag_bytes", "Bytes of log not yet replayed.", ("copy", "role"), multiprocess_mode="livemax")
STALENESS_S = Gauge(
    "matinee_copy_staleness_seconds", "Seconds behind the leader.", ("copy", "role"), multiprocess_mode="livemax"
)
IN_FLIGHT = Gauge(
    "matinee_copy_in_flight", "Statements on their way to this copy.", ("copy", "role"), multiprocess_mode="livesum"
)
VISIBLE_S = Histogram(
    "matinee_change_visible_seconds",
    "From the moment the leader was seen at a position to the moment this copy was.",
    ("copy",),
    buckets=_BUCKETS_S,
)
STATEMENT_S = Histogram(
    "matinee_statement_seconds",
    "Time to answer a named statement, second tries and waits for a position included.",
    ("name",),
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
READ_STALENESS_S = Histogram("matinee_read_staleness_seconds", "Staleness of what was answered.", buckets=_BUCKETS_S)
EXPENSIVE = Counter("matinee_expensive_reads", "Expensive reads, by outcome: run or refused.", ("outcome",))
EXPENSIVE_RUNNING = Gauge("matinee_expensive_reads_running", "Expensive reads that run now.", multiprocess_mode="livesum")
