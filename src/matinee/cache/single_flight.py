"""One load for all who want the same at the same time. Called by http and read, on one event loop.

Invariant: whoever goes away harms nobody else. The load is a task of its own, which nobody's cancellation reaches; what it
raised is raised for all who wait, and is not kept; only what the client that began it was refused is not for other clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from matinee.errors import Overloaded, TooManyRequests

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Loads that are under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, asyncio.Task[T]] = {}
        self.begun = 0  # loads
        self.joined = 0  # callers who found a load under way and waited for it

    async def do(self, key: Hashable, load: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what a load returns, begun by this call or by an earlier one that still waits."""
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(load())
            task.add_done_callback(lambda done: self._landed(key, done))
            self.begun += 1
        else:
            self.joined += 1
        return await asyncio.shield(task)

    async def do_for(self, client: str, key: Hashable, load: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """As `do`, for a client with limits of its own.

        A refusal may be due to the client that began the load, such as one whose queue is full. Each other client that waited
        then has one load of its own, which it shares with nothing but its own requests.
        """
        is_joined = key in self._flights
        try:
            return await self.do(key, load)
        except (Overloaded, TooManyRequests):
            if not is_joined:
                raise
        return await self.do((key, client), load)

    def is_under_way(self, key: Hashable) -> bool:
        """Return whether somebody loads this now."""
        return key in self._flights

    def _landed(self, key: Hashable, done: asyncio.Task[T]) -> None:
        del self._flights[key]
        if not done.cancelled():
            done.exception()  # all who waited may be gone; an error that nobody looked at would be logged as a fault
