"""A value that all callers share for a short time. Used by /readyz and /metrics, on one event loop.

Both are answered while the process is overloaded, so any number of requests must cost no more than one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from matinee.cache.single_flight import SingleFlight

T = TypeVar("T")


class SharedValue(Generic[T]):
    """The last value that `make` returned, for `kept_s`; concurrent callers wait for one call of it."""

    def __init__(
        self, make: Callable[[], Coroutine[Any, Any, T]], kept_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._make, self.kept_s, self._clock = make, kept_s, clock
        self._flight: SingleFlight[T] = SingleFlight()
        self._kept: tuple[T, float] | None = None  # with when it was complete

    async def get(self) -> T:
        """Return the value. Raises what `make` raises, to all who wait for it; an error is not kept."""
        if self._kept is not None and self._clock() - self._kept[1] < self.kept_s:
            return self._kept[0]
        return await self._flight.do(None, self._renew)

    async def _renew(self) -> T:
        value = await self._make()
        self._kept = value, self._clock()
        return value
