"""Whether the shared tier is used: left alone after failures, taken back by a probe beside the requests. No request is a probe.

Called by remote.py with what came of each round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable

import structlog

from matinee.cache import shared_metrics as metrics
from matinee.cache.link import LinkFailed

FAILURES_BEFORE_OPENING = 3  # in a row; they cost nobody time
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
log = structlog.get_logger("matinee.shared_cache")


class Breaker:
    """The health of one shared tier. While it `is_open`, nothing is sent."""

    def __init__(self, name: str, probe: Callable[[], Awaitable[LinkFailed | None]], opened: Callable[[], None]) -> None:
        self.is_open, self.reason = False, ""
        self._name, self._probe, self._opened = name, probe, opened
        self._failures_in_row, self._pause_s, self._since_s = 0, FIRST_PAUSE_S, -math.inf
        self._probing: asyncio.Task[None] | None = None
        metrics.UP.set(1)

    def answered(self) -> None:
        """Note a read that was answered; a write says nothing of whether reads are."""
        self._failures_in_row = 0

    def failed(self, reason: str, *, is_silent: bool = False) -> None:
        """Note one that was not. A silent server makes everybody wait for the deadline, so it is left alone at once."""
        self._failures_in_row += 1
        if not self.is_open and (is_silent or self._failures_in_row >= FAILURES_BEFORE_OPENING):
            self._open(reason)

    def _open(self, reason: str) -> None:
        now_s = time.monotonic()
        # One that fails again as soon as it is taken back is asked ever less often.
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S) if now_s - self._since_s < LONGEST_PAUSE_S else FIRST_PAUSE_S
        self.is_open, self.reason, self._since_s = True, reason, now_s
        self._probing = asyncio.get_running_loop().create_task(self._take_back())
        self._opened()
        metrics.OUTAGES.inc()
        metrics.UP.set(0)
        log.warning("shared cache left alone", tier=self._name, reason=reason)

    async def _take_back(self) -> None:
        """Ask it now and then, one question at a time, until it answers."""
        while True:
            await asyncio.sleep(self._pause_s)
            failure = await self._try()
            if failure is None:
                break
            self.reason = str(failure)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        now_s = time.monotonic()
        away_s = now_s - self._since_s
        self.is_open, self.reason, self._failures_in_row, self._since_s = False, "", 0, now_s
        metrics.UP.set(1)
        log.warning("shared cache used again", tier=self._name, away_s=round(away_s, 1))

    async def _try(self) -> Exception | None:
        """Return why the tier is still not to be used; a probe that raises is one that failed, or no other would follow."""
        try:
            return await self._probe()
        except Exception as error:  # noqa: BLE001
            return error

    async def stop(self) -> None:
        """End the probing; nothing is sent any more."""
        self.is_open, self.reason = True, "it is closed"
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
