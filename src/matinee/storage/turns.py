"""Reads on the event loop take turns with it: after some milliseconds of them the loop turns once, and then the next begin.

Called by sqlite.py. Without it a hundred long reads that were asked for at the same time would hold the loop until the last of
them is done: hits, health and the watchdog would wait for all.
"""

from __future__ import annotations

import asyncio
import time

from matinee.errors import NoReaderAvailable

_TURN_S = 0.01  # of reads in one turn of the loop; far more than a look-up takes, far less than anybody notices
_WAIT_RATIO = 0.5  # of its time that a read may wait: one begun later would hardly be done in time, and be work for nothing


class Turns:
    """The time that reads have taken of the loop since it turned."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s, self._used_s = timeout_s, 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.are_over = False

    def used(self, took_s: float) -> None:
        """Note that a read took so long."""
        self._used_s += took_s
        if self._used_s > _TURN_S and not self.are_over:
            self.are_over, self._loop = True, asyncio.get_running_loop()
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._used_s, self.are_over = 0.0, False

    async def deadline_s(self) -> float:
        """Wait for a turn, in the order of asking, and return when the read has to be done. Raises: NoReaderAvailable."""
        asked_s = time.monotonic()
        if self._loop is not asyncio.get_running_loop():
            self._begin()  # that loop is over, as after a command's question; it turns no more
        while self.are_over:  # noqa: ASYNC110  an event would wake all in one turn, too, and cost more
            await asyncio.sleep(0)
        if time.monotonic() - asked_s > self._timeout_s * _WAIT_RATIO:
            raise NoReaderAvailable("This read waited too long for its turn and was not begun; try again in a second.")
        return asked_s + self._timeout_s
