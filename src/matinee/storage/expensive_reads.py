"""Give expensive reads a few places of their own, so that cheap reads keep their latency. Called by sqlite.py and followers.py.

A read is expensive when statements of its shape took long lately. The shape is a statement without its values: sort order,
filters, number of words. page_sql.py states it. A read that is expensive takes one of a few places, or waits in a short queue;
clients take turns in it, and one client never has all places. A shape whose reads are cheap again leaves the class by itself.
This module must never wait without a deadline, and must never keep more shapes or waiting reads than its bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from matinee.errors import Overloaded, TooManyRequests
from matinee.storage import read_metrics as metrics
from matinee.storage.asking import Asking

LIMIT_S = 0.004  # what a cheap read may take: three or four of them in a row are no delay that a client notices
MAX_WAITING, MAX_WAITING_OF_ONE = 64, 16  # reads in the queue, of all clients and of one
_MAX_SHAPES = 1_000
_MEMORY = 4  # cheap reads in a row after which a shape is cheap again
_TIMES_TYPICAL = 8  # an expensive read takes this many times longer than others do: an engine under load slows all of them
_TYPICAL_STEP = 1.02


class ExpensiveReads:
    """The places for expensive reads of one process, and which shapes are expensive."""

    def __init__(self, places: int, wait_s: float, limit_s: float = LIMIT_S) -> None:
        """`wait_s` is how long a read may wait for a place; `limit_s` is the time from which on a read is expensive."""
        self._places, self._places_of_one, self._wait_s = places, max(1, places - 1), wait_s
        self.limit_s, self._typical_s = limit_s, 0.0
        self._shapes: dict[str, int] = {}  # the expensive ones, each with the cheap reads after which it is forgotten
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    def _reset(self) -> None:
        self.running = self.waiting = 0
        self._running_of: dict[str, int] = {}
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}  # by client; the client whose turn it is comes first

    def knows(self, shape: str) -> bool:
        """Return whether reads of a shape are expensive."""
        return shape in self._shapes

    def suspect(self, shape: str) -> None:
        """Have the next read of a shape use a place, where it is measured: it held the event loop for too long."""
        if shape:
            self._remember(shape, 1)

    def measured(self, shape: str, took_s: float, asking: Asking | None = None) -> None:
        """Note how long a read of a shape took, without the time that it waited, and for which client."""
        is_expensive = took_s > max(self.limit_s, _TIMES_TYPICAL * self._typical_s)
        if is_expensive and asking is not None and shape in self._shapes:
            asking.expensive += 1  # not the first one of a shape: the machine may only have been busy
        if is_expensive and shape:
            self._remember(shape, _MEMORY)
        elif shape in self._shapes:
            self._shapes[shape] -= 1
            if self._shapes[shape] <= 0:
                del self._shapes[shape]

    def typical(self, took_s: float) -> None:
        """Note how long a read of any shape took, for the median: where an engine is under load, every read takes longer."""
        self._typical_s = max(self._typical_s, 1e-5) * (_TYPICAL_STEP if took_s > self._typical_s else 1 / _TYPICAL_STEP)

    def _remember(self, shape: str, reads: int) -> None:
        self._shapes[shape] = max(reads, self._shapes.pop(shape, 0))
        if len(self._shapes) > _MAX_SHAPES:
            del self._shapes[next(iter(self._shapes))]

    @asynccontextmanager
    async def place(self, asking: Asking | None) -> AsyncIterator[None]:
        """Hold a place for one expensive read.

        Raises: TooManyRequests when this client's reads fill its part of the queue; Overloaded when the queue is full, or when
        no place was free in time.
        """
        client = asking.client if asking is not None else ""
        await self._enter(client)
        metrics.EXPENSIVE.labels("run").inc()
        metrics.EXPENSIVE_RUNNING.inc()
        try:
            yield
        finally:
            metrics.EXPENSIVE_RUNNING.dec()
            self._leave(client)

    async def _enter(self, client: str) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop  # the loop before is over, as in a command that asks twice; its waiting reads are gone
            self._reset()
        if self._is_free(client) and client not in self._queues:
            self._take(client)
            return
        self._refuse_if_full(client)
        mine: asyncio.Future[None] = loop.create_future()
        self._queues.setdefault(client, deque()).append(mine)
        self.waiting += 1
        timer = loop.call_later(self._wait_s, self._give_up, client, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.exception() is None:
                self._leave(client)
            self._forget(client, mine)
            raise
        finally:
            timer.cancel()

    def _refuse_if_full(self, client: str) -> None:
        if len(self._queues.get(client, ())) >= MAX_WAITING_OF_ONE:
            metrics.EXPENSIVE.labels("refused").inc()
            raise TooManyRequests(
                f"{MAX_WAITING_OF_ONE} expensive reads of this client wait already; send fewer at once, or use filters that "
                "more movies pass."
            )
        if self.waiting >= MAX_WAITING:
            metrics.EXPENSIVE.labels("refused").inc()
            raise Overloaded(f"{MAX_WAITING} expensive reads wait already; try again in a second.")

    def _is_free(self, client: str) -> bool:
        return self.running < self._places and self._running_of.get(client, 0) < self._places_of_one

    def _take(self, client: str) -> None:
        self.running += 1
        self._running_of[client] = self._running_of.get(client, 0) + 1

    def _leave(self, client: str) -> None:
        self.running -= 1
        self._running_of[client] -= 1
        if not self._running_of[client]:
            del self._running_of[client]
        self._admit_next()

    def _admit_next(self) -> None:
        """Give the free place to the first client that may have it, and send that client to the end of the queue."""
        while (client := next(filter(self._is_free, self._queues), None)) is not None:
            mine = self._queues[client].popleft()
            self.waiting -= 1
            queue = self._queues.pop(client)
            if queue:
                self._queues[client] = queue
            if not mine.done():  # a read that was cancelled a moment ago is still in the queue
                self._take(client)
                mine.set_result(None)

    def _give_up(self, client: str, mine: asyncio.Future[None]) -> None:
        if not mine.done():
            self._forget(client, mine)
            metrics.EXPENSIVE.labels("refused").inc()
            mine.set_exception(Overloaded("No place for an expensive read was free in time; try again in a second."))

    def _forget(self, client: str, mine: asyncio.Future[None]) -> None:
        queue = self._queues.get(client)
        if queue is not None and mine in queue:
            queue.remove(mine)
            self.waiting -= 1
            if not queue:
                del self._queues[client]
