"""Wherever accesses are counted, the sums are the same: in Redis, in the catalogue's database and in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee import runtime
from matinee.cache.popularity import Counts, MemoryCounts
from matinee.domain.popularity import HALF_LIVES_S
from tests.shared_tiers import RedisServer, TierServer, running

KINDS = ("redis", "database", "memory")
NOW_S = 1_750_000_000.0  # before any clock that the tests run by: what is later counts as now
HALF_DAY_S, HALF_WEEK_S = HALF_LIVES_S["day"], HALF_LIVES_S["week"]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    with running(RedisServer, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=KINDS)
def played(request: pytest.FixtureRequest, redis: TierServer, small_catalogue: Path) -> Callable[..., Any]:
    """Return what plays a scenario with empty counts of a kind, over a catalogue of twelve movies, at one moment."""
    redis.flush()

    def play(scenario: Callable[[Counts], Awaitable[Any]]) -> Any:
        return asyncio.run(_played(request.param, redis.url, small_catalogue, scenario))

    return play


async def _played(kind: str, redis_url: str, home: Path, scenario: Callable[[Counts], Awaitable[Any]]) -> Any:
    if kind == "memory":
        return await scenario(MemoryCounts(clock=lambda: NOW_S))
    parts = runtime.build(configuration.load(home=home, redis_url=redis_url if kind == "redis" else ""))
    parts.popularity._clock = lambda: NOW_S  # type: ignore[attr-defined]
    try:
        assert (parts.popularity.name, parts.popularity.is_null) == (kind, False)
        return await scenario(parts.popularity)
    finally:
        await parts.close()


def rounded(top: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(movie_id, round(worth, 6)) for movie_id, worth in top]


def test_what_nobody_counted_is_not_there(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        return [await counts.top("day", 10), await counts.top("week", 10), await counts.top("week", 100_000)]

    assert played(scenario) == [[], [], []]


def test_counts_of_several_processes_are_summed_and_the_largest_comes_first(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        answers = [await counts.add(counted, NOW_S) for counted in ({1: 5, 2: 9}, {2: 3, 3: 2}, {1: 8, 2: 2, 3: 4})]
        return [answers, rounded(await counts.top("day", 10)), rounded(await counts.top("week", 10))]

    summed = [(2, 14.0), (1, 13.0), (3, 6.0)]
    assert played(scenario) == [[None, None, None], summed, summed]


def test_a_count_is_worth_half_after_each_half_life_of_its_window(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        await counts.add({1: 80}, NOW_S - 3 * HALF_DAY_S)
        await counts.add({2: 80}, NOW_S - HALF_WEEK_S)
        return [rounded(await counts.top("day", 2)), rounded(await counts.top("week", 2))]

    day, week = played(scenario)

    assert day == [(1, 10.0), (2, round(80 / 2**12, 6))]
    assert week == [(1, round(80 * 2**-0.25, 6)), (2, 40.0)]


def test_what_is_asked_for_now_passes_what_was_asked_for_more_often_long_ago(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        await counts.add({1: 100, 2: 90, 3: 2}, NOW_S - 2 * HALF_DAY_S)
        await counts.add({3: 40, 2: 4}, NOW_S)
        return [[movie_id for movie_id, _ in await counts.top(window, 3)] for window in ("day", "week")]

    assert played(scenario) == [[3, 2, 1], [1, 2, 3]]


def test_no_more_is_returned_than_is_asked_for(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        await counts.add({movie_id: 10 + movie_id for movie_id in range(1, 13)}, NOW_S)
        return [await counts.top("day", 1), await counts.top("day", 3), await counts.top("day", 100)]

    tops = played(scenario)

    assert [[movie_id for movie_id, _ in top] for top in tops] == [[12], [12, 11, 10], list(range(12, 0, -1))]


def test_fifty_years_of_counting_overflow_nothing(played: Callable[..., Any]) -> None:
    later_s = NOW_S

    async def scenario(counts: Counts) -> list[Any]:
        await counts.add({1: 10**9, 2: 2}, NOW_S - 50 * 365 * 24 * 3600)
        await counts.add({2: 3}, later_s)
        await counts.add({2: 2, 3: 1_000}, later_s)
        counts._clock = lambda: later_s  # type: ignore[attr-defined]
        return [rounded(await counts.top("day", 3)), rounded(await counts.top("week", 3))]

    assert played(scenario) == [[(3, 1_000.0), (2, 5.0), (1, 0.0)]] * 2


def test_as_many_movies_as_one_call_takes_are_taken(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        many = dict.fromkeys(range(1, counts.most_movies + 1), 3)
        return [await counts.add(many, NOW_S), await counts.add(many, NOW_S), rounded(await counts.top("week", 1))[0][1]]

    assert played(scenario) == [None, None, 6.0]


def test_several_who_add_the_same_movies_at_once_lose_nothing(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        taken = await asyncio.gather(*(counts.add({2: 2, 1: 3}, NOW_S) for _ in range(5)))
        return [taken, rounded(await counts.top("day", 5))]

    assert played(scenario) == [[None] * 5, [(1, 15.0), (2, 10.0)]]


YEAR_S = 365 * 24 * 3600


def test_a_process_whose_clock_is_a_year_ahead_counts_as_if_it_were_now(played: Callable[..., Any]) -> None:
    async def scenario(counts: Counts) -> list[Any]:
        counts._clock = time.time  # type: ignore[attr-defined]
        await counts.add({1: 2}, time.time() + YEAR_S)
        await counts.add({2: 50}, time.time())
        return [[movie_id for movie_id, _ in await counts.top(window, 3)] for window in ("day", "week")]

    assert played(scenario) == [[2, 1], [2, 1]]
