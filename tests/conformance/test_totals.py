"""Limits that processes share through a real Redis: together they admit what one of them would, and go on alone without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from matinee.cache.shared import shared_tier
from matinee.cache.totals import NullTotals, Totals, chosen_totals
from matinee.http.limit_sharing import Sharing
from matinee.http.rate_limit import Buckets, Policy
from tests.shared_tiers import RedisServer, TierServer, running

T = TypeVar("T")
pytestmark = pytest.mark.sqlite_only("limits do not touch the catalogue")
HUNDRED = Policy("client", 100, 10)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    """Return a Redis."""
    with running(RedisServer, tmp_path_factory.mktemp("totals")) as server:
        yield server


class Process:
    """A process with a connection and buckets of its own."""

    def __init__(self, url: str) -> None:
        self._tier = shared_tier(url, "", 5.0)
        self.totals = chosen_totals(url, self._tier)
        self.buckets = Buckets()
        self.sharing = Sharing(self.buckets, self.totals, lambda: 1_000.0, lambda: 1_000.0)

    def send(self, count: int) -> int:
        """Return how many of so many requests are admitted."""
        sent = 0
        for _ in range(count):
            if self.buckets.take("192.0.2.1", 1, HUNDRED, 1_000.0).is_allowed:
                self.sharing.used("192.0.2.1", HUNDRED, 1)
                sent += 1
        return sent

    async def close(self) -> None:
        await self.totals.close()
        await self._tier.close()


def play(url: str, scenario: Callable[[Process, Process], Awaitable[T]]) -> T:
    """Play a scenario with two processes."""

    async def run() -> T:
        one, two = Process(url), Process(url)
        try:
            return await scenario(one, two)
        finally:
            await one.close()
            await two.close()

    return asyncio.run(run())


def test_two_processes_admit_a_limit_together_and_at_most_what_comes_between_two_flushes_more(redis: TierServer) -> None:
    redis.flush()

    async def scenario(one: Process, two: Process) -> int:
        sent = 0
        for _ in range(30):
            for process in (one, two):
                sent += process.send(10)
                await process.sharing.flush()
        return sent

    assert 100 <= play(redis.url, scenario) <= 110


def test_totals_are_added_up_and_disappear_by_themselves(redis: TierServer) -> None:
    redis.flush()

    async def scenario(one: Process, two: Process) -> list[list[int] | None]:
        return [await process.totals.add([("a", 2, 20), ("b", 3, 20)]) for process in (one, two)]

    assert play(redis.url, scenario) == [[2, 3], [4, 6]]
    assert redis.say("TTL", "matinee:a") in (b":20\r\n", b":19\r\n", b":18\r\n")


def test_a_planted_total_hides_no_other_one_and_blocks_a_client_for_two_windows_at_most(redis: TierServer) -> None:
    redis.flush()
    redis.say("SET", "matinee:a", "text"), redis.say("SET", "matinee:c", str(2**63 - 1))
    redis.say("SET", "matinee:client:100:192.0.2.1", "999999999")

    async def scenario(one: Process, two: Process) -> list[object]:
        totals = await one.totals.add([("a", 2, 20), ("b", 3, 20), ("c", 4, 20)])
        one.send(1)
        await one.sharing.flush()
        return [totals, one.buckets.take("192.0.2.1", 1, HUNDRED, 1_000.0).retry_after_s]

    assert play(redis.url, scenario) == [[2, 3, 4], 11]


def test_without_redis_each_process_holds_the_limit_alone_and_nobody_waits(tmp_path: Path) -> None:
    with running(RedisServer, tmp_path) as server:
        server.kill()

        async def scenario(one: Process, two: Process) -> list[int]:
            sent = [process.send(150) for process in (one, two)]
            await one.sharing.flush()
            return [*sent, one.send(1)]

        assert play(server.url, scenario) == [100, 100, 0]


def test_a_server_without_redis_counts_nothing_together() -> None:
    totals: Totals = chosen_totals("", shared_tier("", "", 1.0))

    assert isinstance(totals, NullTotals)
    assert asyncio.run(totals.add([("a", 1, 1)])) is None
