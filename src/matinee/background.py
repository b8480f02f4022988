"""Work that goes on beside the requests for as long as a process lives. Called by the watch over the copies and by runtime.py.

The event loop keeps silent about a task that fails, and what it did would never be done again: a leader would stay away for
ever. So what fails is told and begun anew. It must never hide that the process ends: a cancelled task is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

AGAIN_AFTER_S = 1.0
_CANCEL_AGAIN_S = 0.5
log = structlog.get_logger("matinee.background")


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do work that has no end of its own, and begin it anew a second after it failed."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("work in the background failed", work=name, again_in_s=AGAIN_AFTER_S)
        await asyncio.sleep(AGAIN_AFTER_S)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their ends.

    Some of what a task waits for keeps a cancellation to itself when its own answer comes at the same moment. So whoever goes
    on is told again.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
