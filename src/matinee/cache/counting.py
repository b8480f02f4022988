"""Hand over what this process has counted of accesses, beside the requests. Started and ended by runtime.

A request adds one to a plain dictionary. Here it is emptied every ten seconds, and only movies that were asked for twice or
more since the last time are handed over: a tenth of the work, and the hundred most asked-for are the same. The others are
forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from operator import itemgetter

import structlog

from matinee.cache import counting_metrics as metrics
from matinee.cache.popularity import Counts

FLUSH_EVERY_S = 10
LEAST_COUNT = 2  # of a movie, to be handed over
MOST_COUNTED = 10_000  # movies; when so many have been counted, it is done sooner: the loop stands still for 2 milliseconds
_LAST_S = 1.0  # for the last time, when the process ends
log = structlog.get_logger("matinee.popularity")


class Counting:
    """The counts of one process on their way to those of all."""

    def __init__(self, counted: dict[int, int], counts: Counts, clock: Callable[[], float] = time.time) -> None:
        """`counted` is what the requests add to; it stays the same dictionary."""
        self._counted, self._counts, self._clock = counted, counts, clock
        self._trouble: str | None = None

    async def run(self) -> None:
        """Hand over again and again."""
        while True:
            await self._until_due()
            await self.flush()

    async def _until_due(self) -> None:
        for _ in range(FLUSH_EVERY_S):
            await asyncio.sleep(1.0)
            if len(self._counted) >= MOST_COUNTED:
                return

    async def flush(self) -> None:
        """Hand over what is worth it, and forget the rest."""
        everything = sum(self._counted.values())
        repeated = {movie_id: count for movie_id, count in self._counted.items() if count >= LEAST_COUNT}
        self._counted.clear()
        if self._counts.is_null:
            return
        chosen = dict(sorted(repeated.items(), key=itemgetter(1), reverse=True)[: self._counts.most_movies])
        repeats, handed = sum(repeated.values()), sum(chosen.values())
        metrics.DROPPED.labels("single").inc(everything - repeats)
        metrics.DROPPED.labels("too_many").inc(repeats - handed)
        if chosen:
            self._over(handed, await self._counts.add(chosen, self._clock()))

    def _over(self, handed: int, trouble: str | None) -> None:
        if trouble is None:
            metrics.FLUSHED.inc(handed)
        else:
            metrics.DROPPED.labels("failed").inc(handed)
            metrics.FLUSH_FAILURES.inc()
        before, self._trouble = self._trouble, trouble
        if (trouble is None) != (before is None):
            log.warning("accesses are lost" if trouble else "accesses are counted again", to=self._counts.name, reason=trouble)

    async def finish(self) -> None:
        """Hand over for the last time; what does not go through in a second is lost."""
        try:
            await asyncio.wait_for(self.flush(), _LAST_S)
        except TimeoutError:
            metrics.FLUSH_FAILURES.inc()
