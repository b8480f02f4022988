"""Token buckets: how many requests each client and each key may still send. Pure arithmetic; time is a parameter.

Called by limits.py for each request that is no hit of the local cache. A bucket is one number: the moment at which it is full
again. This module must never keep more buckets than its bound: a stranger can have any number of addresses.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

MAX_BUCKETS = 50_000  # 6 MB
_MAX_DEBT_WINDOWS = 2  # a total that another process reports wrongly blocks no client for longer than this
_LOOKED_AT = 16  # of the buckets used least lately, before one that is not full is evicted


class Policy(NamedTuple):
    """A limit: `quota` requests at once, which come back evenly over `window_s` seconds. `name` stands in the headers."""

    name: str
    quota: int
    window_s: int

    @property
    def header(self) -> bytes:
        """Return the RateLimit-Policy header."""
        return f'"{self.name}";q={self.quota};w={self.window_s}'.encode()


class Taken(NamedTuple):
    """What came of a request: whether it is within the limit, what is left, and when it is worth to try again."""

    is_allowed: bool
    remaining: int
    full_in_s: int
    retry_after_s: int

    def header(self, policy: Policy) -> bytes:
        """Return the RateLimit header."""
        return f'"{policy.name}";r={self.remaining};t={self.full_in_s}'.encode()


class Buckets:
    """The buckets of one process, by the subject that they count: a client group or a key."""

    def __init__(self, most: int = MAX_BUCKETS) -> None:
        self._most = most
        self._full_s: dict[str, float] = {}  # the bucket used least lately comes first

    def __len__(self) -> int:
        return len(self._full_s)

    def take(self, subject: str, cost: int, policy: Policy, now_s: float) -> Taken:
        """Take the cost of a request out of a bucket, or nothing when less is left; a cost above the quota is all of it."""
        unit_s = policy.window_s / policy.quota
        before_s = max(self._full_s.get(subject, now_s), now_s)
        after_s = before_s + min(cost, policy.quota) * unit_s
        over_s = after_s - now_s - policy.window_s
        is_allowed = over_s <= 1e-9
        full_s = after_s if is_allowed else before_s
        self._set(subject, full_s, now_s)
        remaining = max(0, int(policy.quota - (full_s - now_s) / unit_s + 1e-6))
        return Taken(is_allowed, remaining, ceil(full_s - now_s - 1e-6), max(1, ceil(over_s)))

    def charge(self, subject: str, cost: int, policy: Policy, now_s: float, since_s: float | None = None) -> None:
        """Take what was used already, even when less is left: the client waits for it before its next request.

        `since_s` is when it was used at the earliest, for what other processes report: some of it has come back since.
        """
        before_s = max(self._full_s.get(subject, 0.0), now_s if since_s is None else since_s)
        debt_s = cost * policy.window_s / policy.quota
        self._set(subject, min(before_s + debt_s, now_s + _MAX_DEBT_WINDOWS * policy.window_s), now_s)

    def _set(self, subject: str, full_s: float, now_s: float) -> None:
        self._full_s.pop(subject, None)
        if full_s <= now_s:
            return  # a full bucket is the same as none
        if len(self._full_s) >= self._most:
            self._evict(now_s)
        self._full_s[subject] = full_s

    def _evict(self, now_s: float) -> None:
        """Evict the full ones among those used least lately; when none of them is full, the very least."""
        oldest = [subject for _, subject in zip(range(_LOOKED_AT), self._full_s, strict=False)]
        full = [subject for subject in oldest if self._full_s[subject] <= now_s]
        for subject in full or oldest[:1]:
            del self._full_s[subject]
