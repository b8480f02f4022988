"""One round trip to the shared tier under a deadline. Called by remote.py.

A frozen server accepts and never answers, so a clock of ours ends the wait; the link drops its connection when it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from matinee.cache.link import LinkFailed, LinkSilent, one_line

T = TypeVar("T")
_LATE_S = 0.01  # a timer that comes so late says that this process was busy: the answer may already be here, unread
_A_MOMENT_S = 0.02


class Exchange(Generic[T]):
    """One question on its way. What came of it is told once; its link is free again when the task is done."""

    def __init__(self, asking: Coroutine[Any, Any, T], due_s: float, over: Callable[[T | LinkFailed], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_s, self._over = due_s, over
        self._is_over = self._had_a_moment = False
        self.task = self._loop.create_task(asking)
        self.task.add_done_callback(self._done)
        self._timer = self._loop.call_at(due_s, self._overdue)

    def cut(self, failure: LinkFailed) -> None:
        """End the wait; the connection is lost with it."""
        if not self._is_over:
            self.task.cancel()
            self._tell(failure)

    def _overdue(self) -> None:
        if not self._had_a_moment and self._loop.time() - self._due_s > _LATE_S:
            self._had_a_moment = True
            self._timer = self._loop.call_later(_A_MOMENT_S, self._overdue)
            return
        self.cut(LinkSilent("it does not answer in time"))

    def _done(self, task: asyncio.Task[T]) -> None:
        outcome = outcome_of(task)
        if not self._is_over:
            self._tell(outcome)

    def _tell(self, outcome: T | LinkFailed) -> None:
        self._is_over = True
        self._timer.cancel()
        self._over(outcome)


def outcome_of(task: asyncio.Task[T]) -> T | LinkFailed:
    """Return what a question ended with; whatever it raised is a failure of its link, so that no reader ever meets it."""
    if task.cancelled():
        return LinkFailed("it was given up")
    error = task.exception()
    if error is None:
        return task.result()
    return error if isinstance(error, LinkFailed) else LinkFailed(f"{type(error).__name__}: {one_line(error)}")


async def ask(asking: Coroutine[Any, Any, T], within_s: float) -> T | LinkFailed:
    """Return what a question of our own, which no request waits for, ended with."""
    task = asyncio.ensure_future(asking)
    try:
        await asyncio.wait({task}, timeout=within_s)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        return LinkSilent(f"it does not answer within {within_s:g} s")
    return outcome_of(task)
