"""A log that fails changes nothing else: states change first, and work in the background goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from matinee import background
from matinee.cache import breaker, counting
from matinee.cache.breaker import Breaker
from matinee.cache.counting import Counting
from matinee.storage import copies
from matinee.storage.copies import Copy


class BrokenLog:
    """A logger that raises, whatever it is told."""

    def __getattr__(self, level: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        return fail


class FakeServer:
    """A server that can be opened and shut."""

    name = "one"

    def __init__(self) -> None:
        self.shuts = 0

    def shut(self) -> None:
        self.shuts += 1

    async def open(self) -> None:
        """Open nothing."""


def test_a_copy_is_ejected_and_taken_back_while_the_log_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "log", BrokenLog())
    server = FakeServer()
    copy = Copy(server, "follower")  # type: ignore[arg-type]
    copy.is_healthy = True

    with pytest.raises(OSError, match="No space"):
        copy.eject("it is dead")
    ejected = (copy.is_healthy, copy.reason, server.shuts)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(copy.take_back())

    assert ejected == (False, "it is dead", 1)
    assert (copy.is_healthy, copy.reason) == (True, "")


def test_a_shared_cache_is_left_alone_and_used_again_while_the_log_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "log", BrokenLog())
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.001)
    opened: list[bool] = []

    async def scenario() -> tuple[bool, bool]:
        async def probe() -> None:
            return None

        one = Breaker("redis", probe, lambda: opened.append(True))
        with pytest.raises(OSError, match="No space"):
            one.failed("it is silent", is_silent=True)
        was_open, task = one.is_open, one._probing
        assert task is not None
        await asyncio.wait([task])
        assert isinstance(task.exception(), OSError)
        return was_open, one.is_open

    assert asyncio.run(scenario()) == (True, False)
    assert opened == [True]


def test_a_probe_that_raises_what_nobody_expects_is_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.001)
    outcomes: list[Exception | None] = [RuntimeError("a fault of ours"), None]

    async def scenario() -> bool:
        async def probe() -> None:
            outcome = outcomes.pop(0)
            if outcome is not None:
                raise outcome

        one = Breaker("redis", probe, lambda: None)
        one.failed("it is silent", is_silent=True)
        assert one._probing is not None
        await asyncio.wait([one._probing])
        return one.is_open

    assert asyncio.run(scenario()) is False


def test_counts_that_are_lost_are_noted_while_the_log_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "log", BrokenLog())

    class Counts:
        name, is_null, most_movies = "redis", False, 10

        async def add(self, *_: Any) -> str:
            return "it is away"

    one = Counting({1: 5}, Counts())  # type: ignore[arg-type]
    with pytest.raises(OSError, match="No space"):
        asyncio.run(one.flush())

    assert one._trouble == "it is away"


def test_work_in_the_background_goes_on_when_its_failure_cannot_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "log", BrokenLog())

    assert asyncio.run(runs_of_work_that_fails_with(LookupError("a fault"), monkeypatch)) == 3


def test_work_in_the_background_goes_on_when_what_it_awaits_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(runs_of_work_that_fails_with(asyncio.CancelledError(), monkeypatch)) == 3


async def runs_of_work_that_fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often work was begun that fails twice."""
    monkeypatch.setattr(background, "AGAIN_AFTER_S", 0.0)
    runs: list[int] = []
    is_third = asyncio.Event()

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise error
        is_third.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(background.keep_going("the watch", work))
    await asyncio.wait([task, asyncio.create_task(is_third.wait())], return_when=asyncio.FIRST_COMPLETED)
    await background.end([task])
    assert task.cancelled()
    return len(runs)
