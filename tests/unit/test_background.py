"""What goes on beside the requests goes on after a failure, and ends when it is told to."""

from __future__ import annotations

import asyncio

import pytest

from matinee import background


def test_work_that_fails_is_told_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_AFTER_S", 0.0)
    begun: list[int] = []
    failures: list[str] = []
    monkeypatch.setattr(background.log, "error", lambda event, **said: failures.append(f"{said['work']}: {event}"))

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise LookupError("nobody has thought of this")
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(background.keep_going("the watch", work))
        while len(begun) < 3:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())

    assert failures == ["the watch: work in the background failed"] * 2


def test_who_keeps_a_cancellation_to_himself_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_CANCEL_AGAIN_S", 0.01)
    told: list[str] = []

    async def deaf() -> None:
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("once")
        await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await background.end([task])
        assert task.cancelled()

    asyncio.run(run())

    assert told == ["once", "once"]
