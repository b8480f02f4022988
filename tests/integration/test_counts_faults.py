"""Counts in Redis when it is frozen, gone, full, or holds something else: nothing raises, nobody waits, sets stay bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from matinee.cache import redis_counts
from matinee.cache.redis_counts import RedisCounts
from matinee.cache.remote import RemoteTier
from matinee.cache.shared import SharedTier, shared_tier
from tests.shared_tiers import RedisServer, TierServer, comes, played, running

pytestmark = pytest.mark.sqlite_only("Redis does not touch the catalogue")
PATIENT_S = 5.0


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    with running(RedisServer, tmp_path_factory.mktemp("redis")) as server:
        yield server


def play(
    redis: TierServer,
    scenario: Callable[[RedisCounts, RemoteTier], Awaitable[None]],
    deadline_s: float = PATIENT_S,
    **more: Any,
) -> None:
    """Play a scenario with the counts of a tier, and close both."""

    async def with_counts(tier: SharedTier) -> None:
        assert isinstance(tier, RemoteTier)
        counts = redis_counts.redis_counts(redis.url, tier, deadline_s, **more)
        try:
            await scenario(counts, tier)
        finally:
            await counts.close()

    played(shared_tier(redis.url, "", deadline_s), with_counts)


async def ids(counts: RedisCounts, limit: int = 10) -> list[int]:
    return [movie_id for movie_id, _ in await counts.top("day", limit)]


async def well(tier: RemoteTier) -> None:
    async def trouble() -> str | None:
        return tier.trouble()

    await comes(trouble, lambda found: found is None)


def test_the_sets_stay_bounded_and_keep_the_most_asked_for(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        for begin in range(1, 2_001, 500):
            await counts.add({movie_id: 2 + movie_id % 500 for movie_id in range(begin, begin + 500)}, time.time())

        left = await counts.top("week", 10_000)
        assert len(left) == 100
        assert min(round(worth) for _, worth in left) == 477  # of four times five hundred, the twenty-five most asked-for
        assert redis.say("ZCARD", "matinee:popular:day") == b":100\r\n"

    play(redis, scenario, most_members=100)


def test_what_nobody_adds_to_is_cleared_away_in_a_month(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        await counts.add({1: 2}, time.time())

        assert redis.say("TTL", "matinee:popular:week") == b":2592000\r\n"

    play(redis, scenario)


def test_a_frozen_redis_costs_one_deadline_and_is_then_left_alone_with_the_tier(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        await counts.add({1: 5, 2: 3}, time.time())
        assert await ids(counts) == [1, 2]
        redis.freeze()

        assert await asyncio.wait_for(ids(counts), 2) == [1, 2]  # the last list that was known
        assert tier.breaker.is_open
        assert [await ids(counts, 1), await tier.get("m:1")] == [[1], None]
        assert "does not answer" in (await counts.add({3: 2}, time.time()) or "")

        redis.go_on()
        await well(tier)
        assert await counts.add({3: 9}, time.time()) is None
        assert await ids(counts) == [3, 1, 2]

    play(redis, scenario, deadline_s=0.2)


def test_a_redis_that_is_gone_is_told_and_found_again(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        await counts.add({1: 5}, time.time())
        redis.kill()

        assert await counts.add({1: 5}, time.time())
        assert await ids(counts) == []

        await asyncio.to_thread(redis.start)
        assert await counts.add({2: 5}, time.time()) is None
        assert await ids(counts) == [2]

    play(redis, scenario)


@pytest.mark.parametrize("refusal", ["CONFIG SET maxmemory 1", "REPLICAOF 127.0.0.1 1"], ids=["full", "a replica"])
def test_a_redis_that_takes_no_counts_is_told_and_read_on(redis: TierServer, refusal: str) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        await counts.add({1: 5}, time.time())
        redis.say(refusal)

        assert (await counts.add({2: 9}, time.time()) or "").split(" ")[0] in ("OOM", "READONLY")
        assert await ids(counts) == [1]
        assert not tier.breaker.is_open

    play(redis, scenario)


def test_what_is_no_count_of_ours_is_passed_over(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        redis.say("ZADD", "matinee:popular:day", "1", "7", "2", "-3", "3", "99999999999999999999")
        assert await ids(counts) == [7]

        redis.say("ZADD", "matinee:popular:day", "4", "Alien", "5", "9" * 5_000, "6", "8")
        assert await ids(counts) == [8, 7]  # a planted member hides no other one

        redis.say("ZADD", "matinee:popular:day", "inf", "9")
        assert dict(await counts.top("day", 10)).keys() == {8, 7}  # a score that cannot be true is left out

        redis.say("SET", "matinee:popular:day", "something")
        assert await ids(counts) == [8, 7]  # the last list that was known
        assert "WRONGTYPE" in (await counts.add({1: 2}, time.time()) or "")

    play(redis, scenario)


def test_who_gives_up_asking_takes_nothing_from_the_next_one(redis: TierServer) -> None:
    async def scenario(counts: RedisCounts, tier: RemoteTier) -> None:
        await counts.add({1: 5}, time.time())
        redis.freeze()
        adding = asyncio.create_task(counts.add({1: 5}, time.time()))
        await asyncio.sleep(0.05)
        adding.cancel()
        redis.go_on()

        assert await counts.add({2: 9}, time.time()) is None
        assert round(dict(await counts.top("day", 10))[2]) == 9  # whether the first one got through is not known

    play(redis, scenario)
