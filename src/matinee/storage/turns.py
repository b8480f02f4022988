"""Reads on the event loop take turns with it: after some milliseconds of reads, the loop runs everything else that is due.

Called by sqlite.py. Without it, a hundred long reads that arrive together would hold the loop until the last of them is done:
hits, health and the watchdog would wait for all of them. Reads that are cheap for all values go first; those that may turn out
to be expensive get a small part of each turn, so that they hold up no cheap read for longer than one of them takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from matinee.errors import NoReaderAvailable

_TURN_S = 0.01  # of reads in one turn of the loop; far more than a look-up takes, far less than a person notices
_UNCERTAIN_S = 0.002  # of them for reads that may be expensive
_WAIT_RATIO = 0.8  # of its time that a read may wait: one that begins later would hardly be done in time
_OF_LATEST = 1 / 16  # the weight of the latest statement in the typical one

_Line = deque[tuple[float, asyncio.Future[None]]]


class Turns:
    """Two queues of reads, those that are cheap for all values and the others, and the time that each has used of this turn."""

    def __init__(self, timeout_s: float) -> None:
        self._wait_s = timeout_s * _WAIT_RATIO
        self._used_s = self._uncertain_s = 0.0
        self._typical_s = {True: _TURN_S, False: _UNCERTAIN_S}
        self._lines: dict[bool, _Line] = {True: deque(), False: deque()}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False  # the next turn is asked for

    def is_over(self, *, is_cheap: bool) -> bool:
        """Return whether a read must wait for the next turn."""
        return self._used_s > _TURN_S or (not is_cheap and self._uncertain_s > _UNCERTAIN_S)

    def used(self, took_s: float, *, is_cheap: bool) -> None:
        """Note that a statement took so long."""
        self._used_s += took_s
        if not is_cheap:
            self._uncertain_s += took_s
        if self._is_due:
            self._typical_s[is_cheap] += (took_s - self._typical_s[is_cheap]) * _OF_LATEST
        elif self.is_over(is_cheap=False):
            self._loop = asyncio.get_running_loop()
            self._ask()

    def _ask(self) -> None:
        self._is_due = True
        asyncio.get_running_loop().call_soon(self._begin)

    async def wait(self, *, is_cheap: bool) -> None:
        """Wait for a turn. Raises: NoReaderAvailable when it took too long; the read must not begin then."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._reset()  # that loop is over, as in a command that asks twice; nothing waits in it any more
            return
        mine = loop.create_future()
        self._lines[is_cheap].append((time.monotonic() + self._wait_s, mine))
        await mine

    def _reset(self) -> None:
        self._lines = {True: deque(), False: deque()}
        self._used_s, self._uncertain_s, self._is_due = 0.0, 0.0, False

    def _begin(self) -> None:
        """Let as many reads begin as fill a turn, cheap ones first; they read before this is called again."""
        if not self._lines[True]:
            self._used_s = 0.0  # cheap reads that come now need not wait for the others
        let_in = [self._admit(is_cheap, bound_s) for is_cheap, bound_s in ((True, _TURN_S), (False, _UNCERTAIN_S))]
        if any(let_in):
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._used_s, self._uncertain_s, self._is_due = 0.0, 0.0, False

    def _admit(self, is_cheap: bool, bound_s: float) -> bool:
        """Let reads of one queue begin; return whether there were any."""
        line, now_s = self._lines[is_cheap], time.monotonic()
        room = max(1, int(bound_s / max(self._typical_s[is_cheap], 1e-6)))
        any_waited = bool(line)
        while line and room:
            ends_s, mine = line.popleft()
            if mine.done():
                continue  # its client has gone
            if now_s > ends_s:
                mine.set_exception(NoReaderAvailable("This read waited too long for its turn, and was not begun; try again."))
                continue
            mine.set_result(None)
            room -= 1
        return any_waited
