"""Reads on the event loop take turns with it: after some milliseconds of them the loop turns, and the next ones stand in line.

Called by sqlite.py. Without it a hundred long reads that were asked for at the same time would hold the loop until the last of
them is done: hits, health and the watchdog would wait for all.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from matinee.errors import NoReaderAvailable

_TURN_S = 0.01  # of reads in one turn of the loop; far more than a look-up takes, far less than anybody notices
_WAIT_RATIO = 0.8  # of its time that a read may wait: one begun later would hardly be done in time, and be work for nothing
_OF_LATEST = 1 / 16  # what the latest statement counts in the typical one


class Turns:
    """The line of those who want to read, and the time that reads have taken of the loop lately."""

    def __init__(self, timeout_s: float) -> None:
        self._wait_s, self._used_s, self._typical_s = timeout_s * _WAIT_RATIO, 0.0, _TURN_S
        self._line: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.are_over = False

    def used(self, took_s: float) -> None:
        """Note that a statement took so long."""
        self._used_s += took_s
        if self.are_over:
            self._typical_s += (took_s - self._typical_s) * _OF_LATEST
        elif self._used_s > _TURN_S:
            self.are_over, self._loop = True, asyncio.get_running_loop()
            self._loop.call_soon(self._begin)

    async def wait(self) -> None:
        """Stand in line. Raises: NoReaderAvailable when it took too long; the read is not to be begun then."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._line.clear()  # that loop is over, as after a command's question; it turns no more
            self.are_over = False
            return
        mine = loop.create_future()
        self._line.append((time.monotonic() + self._wait_s, mine))
        await mine

    def _begin(self) -> None:
        """Let so many begin as fill a turn; they read before this is called again."""
        now_s, room = time.monotonic(), max(1, int(_TURN_S / max(self._typical_s, 1e-6)))
        while self._line and room:
            ends_s, mine = self._line.popleft()
            if mine.done():
                continue  # whoever it was has gone
            if now_s > ends_s:
                mine.set_exception(NoReaderAvailable("This read waited too long for its turn, and was not begun; try again."))
                continue
            mine.set_result(None)
            room -= 1
        if self._line or not room:
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._used_s, self.are_over = 0.0, False
