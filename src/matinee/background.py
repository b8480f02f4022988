"""Work that goes on beside the requests for as long as a process lives. Called by the watch over the copies and by runtime.py.

The event loop does not report a task that fails, and its work would never be done again: a leader would stay away for ever.
So a failure is logged and the work is started again, whatever failed, the log included. It must never hide that the process
ends: a task that was cancelled itself ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Collection

import structlog

AGAIN_AFTER_S = 1.0
_NICENESS = 5  # more, and sign-ins starve beside a flood of other requests
_CANCEL_AGAIN_S = 0.5
log = structlog.get_logger("matinee.background")


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run work that has no end of its own, and start it again a second after it failed."""
    while True:
        try:
            await work()
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            _report(name, error)  # what the work awaited was cancelled, not the work
        except Exception as error:  # noqa: BLE001  whatever it is, the work is begun again
            _report(name, error)
        await asyncio.sleep(AGAIN_AFTER_S)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _report(name: str, error: BaseException) -> None:
    with contextlib.suppress(Exception):  # a failure to report must not end the work
        log.error("work in the background failed", work=name, again_in_s=AGAIN_AFTER_S, exc_info=error)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their ends.

    Some of what a task waits for keeps a cancellation to itself when its own answer comes at the same moment. So whoever goes
    on is told again.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)


def yield_to_the_loop() -> None:
    """Lower the priority of the calling thread: the event loop comes first where there are few cores.

    Only for threads that compute without the interpreter's lock.
    """
    with contextlib.suppress(OSError, AttributeError):  # only Linux has a niceness for each thread
        native = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, native, os.getpriority(os.PRIO_PROCESS, native) + _NICENESS)
