"""What the local tier has counted, for Prometheus. Called by runtime every second and by /metrics.

A hit adds to a plain number: a counter that several processes share costs more than the hit does. Here the numbers are brought
to the counters.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge

from matinee.cache.local import LocalTier
from matinee.cache.single_flight import SingleFlight

_LABELS = ("tier", "policy")
HITS = Counter("matinee_cache_hits", "Requests that were answered from the cache.", _LABELS)
MISSES = Counter("matinee_cache_misses", "Requests that were not.", _LABELS)
STALE_HITS = Counter("matinee_cache_stale_hits", "Hits of pages that were served while they were read anew.", _LABELS)
INVALIDATIONS = Counter("matinee_cache_invalidations", "Misses because the log of changes spoke against an entry.", _LABELS)
EXPIRIES = Counter("matinee_cache_expiries", "Misses because an entry was too old, whatever the log of changes says.", _LABELS)
INSERTIONS = Counter("matinee_cache_insertions", "Entries that were kept.", _LABELS)
EVICTIONS = Counter("matinee_cache_evictions", "Entries that made room for others.", _LABELS)
LOADS = Counter("matinee_cache_loads", "Loads that began: on a miss, or to read a page anew.", _LABELS)
COLLAPSED = Counter("matinee_cache_collapsed", "Requests that waited for somebody else's load.", _LABELS)
BYTES = Gauge("matinee_cache_bytes", "Bytes that entries take.", _LABELS, multiprocess_mode="livesum")
BOUND_BYTES = Gauge("matinee_cache_bound_bytes", "Bytes that entries may take.", _LABELS, multiprocess_mode="livesum")
ENTRIES = Gauge("matinee_cache_entries", "Entries.", _LABELS, multiprocess_mode="livesum")


class LocalMeter:
    """Brings the numbers of one tier to the counters."""

    def __init__(self, tier: LocalTier[Any], policy_name: str) -> None:
        self._tier, self._labels = tier, ("local", policy_name)
        self._told: dict[Counter, int] = {}

    def publish(self, flights: SingleFlight[Any]) -> None:
        """Add what has happened since the last time."""
        tier = self._tier
        for counter, total in (
            (HITS, tier.hits),
            (MISSES, tier.misses),
            (STALE_HITS, tier.doubts),
            (INVALIDATIONS, tier.invalidations),
            (EXPIRIES, tier.expiries),
            (INSERTIONS, tier.insertions),
            (EVICTIONS, tier.evictions),
            (LOADS, flights.begun),
            (COLLAPSED, flights.joined),
        ):
            counter.labels(*self._labels).inc(total - self._told.get(counter, 0))
            self._told[counter] = total
        for gauge, value in (
            (BYTES, tier.used_bytes),
            (BOUND_BYTES, tier.bound_bytes),
            (ENTRIES, len(tier)),
        ):
            gauge.labels(*self._labels).set(value)
