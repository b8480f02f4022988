"""Share what clients and keys have used among all processes, beside the requests. Started by limits.py.

Four times a second this process adds what it has counted to totals in Redis (cache/totals.py), and takes what other processes
have added out of its own buckets. So a client who spreads requests over P processes gets, beyond the limit, at most what P
processes admit in a quarter of a second; the excess is a debt that it waits for later. While Redis is away, each process holds
the limits alone.
This module must never keep more clients than its bounds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from matinee.cache.totals import Totals
from matinee.http.rate_limit import Buckets, Policy

FLUSH_EVERY_S = 0.25
MAX_FLUSHED = 1_000  # clients and keys in one flush, those that have used the most; the others follow when they use more
_MAX_COUNTED = 50_000


class Sharing:
    """What one process has used since its last flush, and what it knows of the totals."""

    def __init__(
        self,
        buckets: Buckets,
        totals: Totals,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` names the windows of the totals: the clocks of all servers must agree to about a second."""
        self._buckets, self._totals, self._clock, self._wall_clock = buckets, totals, clock, wall_clock
        self.is_null = totals.is_null
        self._used: dict[tuple[str, Policy], int] = {}
        self._seen: dict[str, tuple[int, float]] = {}  # total by name, with the moment at which its window is over

    def used(self, subject: str, policy: Policy, cost: int) -> None:
        """Count what a client or key has used."""
        if not self.is_null and len(self._used) < _MAX_COUNTED:
            counted = subject, policy
            self._used[counted] = self._used.get(counted, 0) + cost

    async def run(self) -> None:
        """Flush again and again."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Add what was used to the totals, and take what others have added out of the buckets. Cost: 1 round trip."""
        if not self._used:
            return
        used, self._used = self._used, {}
        most = sorted(used.items(), key=lambda item: item[1], reverse=True)[:MAX_FLUSHED]
        wall_s = self._wall_clock()
        names = [f"{policy.name}:{int(wall_s // policy.window_s)}:{subject}" for (subject, policy), _ in most]
        amounts = [(name, cost, 2 * policy.window_s) for name, ((_, policy), cost) in zip(names, most, strict=True)]
        totals = await self._totals.add(amounts)
        if totals is None:
            return
        for name, ((subject, policy), cost), total in zip(names, most, totals, strict=True):
            self._learn(name, subject, policy, total, cost, wall_s % policy.window_s)
        self._forget(self._clock())

    def _learn(self, name: str, subject: str, policy: Policy, total: int, own: int, into_window_s: float) -> None:
        """Take what others have added since the last flush, or since the window began, out of a bucket."""
        now_s = self._clock()
        before, _ = self._seen.get(name, (0, 0.0))
        since_s = now_s - (FLUSH_EVERY_S if name in self._seen else into_window_s)
        self._seen[name] = total, now_s + policy.window_s
        others = total - before - own
        if others > 0:
            self._buckets.charge(subject, others, policy, now_s, since_s)

    def _forget(self, now_s: float) -> None:
        if len(self._seen) > MAX_FLUSHED:
            self._seen = {name: seen for name, seen in self._seen.items() if seen[1] > now_s}
            while len(self._seen) > _MAX_COUNTED:
                del self._seen[next(iter(self._seen))]
