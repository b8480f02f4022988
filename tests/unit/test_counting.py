"""What a process hands over of its counts, and when: what was asked for twice, all of it once, and never to wait for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from matinee.cache import counting
from matinee.cache.counting import Counting
from matinee.cache.counting_metrics import DROPPED, FLUSH_FAILURES, FLUSHED
from matinee.cache.popularity import MemoryCounts, NullCounts

NOW_S = 1_800_000_000.0


def counted_so_far() -> dict[str, float]:
    """Return the counters of this process."""
    dropped = {reason: DROPPED.labels(reason)._value.get() for reason in ("single", "too_many", "failed")}
    return {"flushed": FLUSHED._value.get(), "failures": FLUSH_FAILURES._value.get(), **dropped}


@pytest.fixture
def grown() -> Any:
    """Return what tells by how much the counters have grown since."""
    before = counted_so_far()
    return lambda: {name: value - before[name] for name, value in counted_so_far().items() if value != before[name]}


def ids(counts: MemoryCounts) -> set[int]:
    return {movie_id for movie_id, _ in asyncio.run(counts.top("day", 10_000))}


def test_what_was_asked_for_twice_is_handed_over_and_the_rest_is_forgotten(grown: Any) -> None:
    counted, counts = {1: 3, 2: 1, 3: 2, 4: 1}, MemoryCounts(clock=lambda: NOW_S)
    flushing = Counting(counted, counts, clock=lambda: NOW_S)

    asyncio.run(flushing.flush())
    asyncio.run(flushing.flush())

    assert counted == {}
    assert asyncio.run(counts.top("day", 9)) == [(1, pytest.approx(3)), (3, pytest.approx(2))]
    assert grown() == {"flushed": 5, "single": 2}


def test_of_more_movies_than_are_taken_the_most_asked_for_are_handed_over(grown: Any) -> None:
    counts = MemoryCounts()
    counts.most_movies = 2  # type: ignore[misc]

    asyncio.run(Counting({1: 3, 2: 9, 3: 2, 4: 5, 5: 1}, counts).flush())

    assert ids(counts) == {2, 4}
    assert grown() == {"flushed": 14, "too_many": 5, "single": 1}


def test_what_cannot_be_handed_over_is_lost_and_the_next_is_tried(grown: Any) -> None:
    counted, counts = {1: 3}, MemoryCounts()
    flushing = Counting(counted, counts)
    counts.away = "it is away"

    asyncio.run(flushing.flush())
    counts.away = None
    counted[2] = 4
    asyncio.run(flushing.flush())

    assert ids(counts) == {2}
    assert grown() == {"failed": 3, "failures": 1, "flushed": 4}


def test_where_nothing_is_counted_what_was_is_only_forgotten(grown: Any) -> None:
    counted = {1: 3, 2: 1}

    asyncio.run(Counting(counted, NullCounts()).flush())

    assert (counted, grown()) == ({}, {})


def test_it_is_done_every_ten_seconds_and_sooner_when_many_were_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    slept_s: list[float] = []
    counted, counts = {1: 2}, MemoryCounts()

    async def sleep(seconds: float) -> None:
        slept_s.append(seconds)
        if len(slept_s) == 13:
            counted.update(dict.fromkeys(range(counting.MOST_COUNTED), 1))
        if len(slept_s) == 14:
            raise asyncio.CancelledError

    monkeypatch.setattr(counting.asyncio, "sleep", sleep)
    flushes: list[int] = []
    flushing = Counting(counted, counts)

    async def flush() -> None:
        flushes.append(int(sum(slept_s)))
        counted.clear()

    monkeypatch.setattr(flushing, "flush", flush)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(flushing.run())

    assert flushes == [10, 13]


def test_the_last_time_does_not_keep_a_process_from_ending(monkeypatch: pytest.MonkeyPatch, grown: Any) -> None:
    class Silent(MemoryCounts):
        async def add(self, counted: Any, now_s: float) -> str | None:
            await asyncio.Event().wait()
            return None

    monkeypatch.setattr(counting, "_LAST_S", 0.01)

    asyncio.run(asyncio.wait_for(Counting({1: 3}, Silent()).finish(), 5))

    assert grown() == {"failures": 1}
