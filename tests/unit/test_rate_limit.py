"""Token buckets: what a client may send at once, what comes back with time, and how many buckets are kept."""

from __future__ import annotations

import asyncio

import pytest

from matinee.cache.totals import Amounts, NullTotals
from matinee.http.limit_sharing import Sharing
from matinee.http.rate_limit import Buckets, Policy, Taken

pytestmark = pytest.mark.unit
TEN = Policy("client", 10, 10)


def admitted(buckets: Buckets, count: int, now_s: float, subject: str = "a", policy: Policy = TEN) -> int:
    """Return how many of so many requests are within the limit."""
    return sum(buckets.take(subject, 1, policy, now_s).is_allowed for _ in range(count))


def test_a_quota_may_be_used_at_once_and_comes_back_evenly() -> None:
    buckets = Buckets()

    assert [admitted(buckets, 15, now_s) for now_s in (100.0, 100.0, 100.9, 101.0, 103.5, 1_000.0)] == [10, 0, 0, 1, 2, 10]


def test_what_is_left_and_when_more_comes_are_told() -> None:
    buckets = Buckets()

    first = buckets.take("a", 1, TEN, 100.0)
    dear = buckets.take("a", 9, TEN, 100.0)
    refused = buckets.take("a", 5, TEN, 100.5)

    assert (first, dear) == (Taken(True, 9, 1, 1), Taken(True, 0, 10, 1))
    assert refused == Taken(False, 0, 10, 5)
    assert (TEN.header, refused.header(TEN)) == (b'"client";q=10;w=10', b'"client";r=0;t=10')


def test_clients_do_not_share_a_bucket() -> None:
    buckets = Buckets()
    admitted(buckets, 10, 100.0)

    assert (admitted(buckets, 1, 100.0), admitted(buckets, 10, 100.0, "b")) == (0, 10)


def test_a_cost_above_the_quota_takes_all_of_it() -> None:
    buckets, small = Buckets(), Policy("key", 2, 60)

    assert buckets.take("a", 5, small, 100.0) == Taken(True, 0, 60, 1)
    assert buckets.take("a", 5, small, 100.0).retry_after_s == 60


def test_a_debt_is_waited_for_and_has_a_bound() -> None:
    buckets = Buckets()

    buckets.charge("a", 15, TEN, 100.0)
    buckets.charge("b", 10**9, TEN, 100.0)

    assert [admitted(buckets, 1, now_s) for now_s in (105.9, 106.0)] == [0, 1]
    assert [admitted(buckets, 1, now_s, "b") for now_s in (110.9, 111.0)] == [0, 1]


def test_buckets_are_bounded_and_those_that_are_full_again_go_first() -> None:
    buckets = Buckets(most=3)
    buckets.charge("long", 10, TEN, 100.0)
    for subject in ("short", "middle"):
        buckets.take(subject, 1, TEN, 100.0)

    buckets.take("new", 1, TEN, 102.0)  # short and middle are full again
    buckets.take("newer", 1, TEN, 102.0)
    buckets.take("newest", 1, TEN, 102.0)

    assert len(buckets) == 3
    assert admitted(buckets, 10, 102.0, "newest") == 9


def test_a_million_addresses_take_no_more_memory_than_the_bound() -> None:
    buckets = Buckets(most=100)

    for number in range(10_000):
        buckets.take(f"address {number}", 1, TEN, 100.0)

    assert len(buckets) == 100


def test_a_bucket_that_is_full_is_not_kept() -> None:
    buckets = Buckets()

    buckets.charge("a", 1, TEN, 100.0, since_s=50.0)

    assert len(buckets) == 0


class MemoryTotals:
    """Totals in this process's memory; away when told so."""

    is_null = False

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        self.is_away = False
        self.flushed: list[int] = []

    async def add(self, amounts: Amounts) -> list[int] | None:
        if self.is_away:
            return None
        self.flushed.append(len(amounts))
        for name, cost, _ in amounts:
            self.found[name] = self.found.get(name, 0) + cost
        return [self.found[name] for name, _, _ in amounts]

    async def close(self) -> None:
        pass


class Process:
    """A process with buckets of its own, which shares totals with others. Time is a number."""

    def __init__(self, totals: MemoryTotals | NullTotals) -> None:
        self.now_s = 1_000.0
        self.buckets = Buckets()
        self.sharing = Sharing(self.buckets, totals, lambda: self.now_s, lambda: self.now_s)

    def send(self, count: int) -> int:
        """Return how many of so many requests this process admits."""
        sent = 0
        for _ in range(count):
            if self.buckets.take("a", 1, TEN, self.now_s).is_allowed:
                self.sharing.used("a", TEN, 1)
                sent += 1
        return sent

    def flush(self) -> None:
        asyncio.run(self.sharing.flush())


def test_what_one_process_admits_is_taken_out_of_the_buckets_of_the_others() -> None:
    totals = MemoryTotals()
    one, two = Process(totals), Process(totals)

    first = one.send(8)
    one.flush()
    second = two.send(1)
    two.flush()

    assert (first, second, two.send(10)) == (8, 1, 1)


def test_what_many_processes_admit_at_once_beyond_the_limit_is_a_debt() -> None:
    totals = MemoryTotals()
    processes = [Process(totals) for _ in range(3)]
    at_once = [process.send(10) for process in processes]
    for _ in range(2):
        for process in processes:
            process.flush()
            process.sharing.used("a", TEN, 0)

    later = []
    for now_s in (1_005.0, 1_010.0, 1_019.0):
        for process in processes:
            process.now_s = now_s
        later.append(sum(process.send(5) for process in processes))

    assert at_once == [10, 10, 10]
    assert later[:2] == [0, 0]


def test_while_the_totals_are_away_each_process_holds_the_limit_alone() -> None:
    totals = MemoryTotals()
    totals.is_away = True
    one = Process(totals)

    sent = one.send(20)
    one.flush()

    assert (sent, one.send(20), totals.found) == (10, 0, {})


def test_a_flush_carries_a_bounded_number_of_clients_those_that_used_most() -> None:
    totals = MemoryTotals()
    sharing = Process(totals).sharing
    for number in range(1_500):
        sharing.used(f"client {number}", TEN, 1)
    sharing.used("busiest", TEN, 7)

    asyncio.run(sharing.flush())

    assert totals.flushed == [1_000]
    assert totals.found["client:100:busiest"] == 7


def test_without_redis_nothing_is_gathered() -> None:
    alone = Process(NullTotals())

    alone.send(5)

    assert alone.sharing._used == {}
