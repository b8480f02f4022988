"""Which copy a read goes to, and what happens when that one fails: over servers that live in memory and obey."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from matinee.domain.freshness import ANY, AsOf, Demand
from matinee.errors import FuturePosition, NoReaderAvailable
from matinee.storage.copies import BUSY_FOR_S, FAILURES_BEFORE_EJECTION, Copy
from matinee.storage.followers import Followers, ReadRules
from matinee.storage.postgres import Attempt, ServerBusy, ServerFailed
from matinee.storage.sql import Statement

RULES = ReadRules(
    timeout_s=0.5, hedge_s=0.02, max_lag_s=1.0, min_position_wait_s=0.05, leader_reads=True, leader_reads_at_once=2,
    tail_interval_ms=10,
)  # fmt: skip


class MemoryServer:
    """A server that is at a position, and answers, fails or stays silent. Its connections may be taken for a while."""

    def __init__(self, name: str) -> None:
        self.name, self.position, self.asked = name, 10, 0
        self.silent = self.failing = False
        self.was_shut, self.takes_s, self.taken_for_s = 0, 0.0, 0.0
        self.works_s = 0.0  # how long it says that it has worked on each statement

    async def rows(self, statement: Statement, wait_s: float, timeout_s: float, attempt: Attempt) -> tuple[int, list[Any]]:
        """Answer with the server's own name."""
        self.asked += 1
        if self.failing:
            raise ServerFailed("connection refused")
        await asyncio.sleep(min(self.taken_for_s, wait_s))
        if self.taken_for_s > wait_s:
            raise ServerBusy("no connection was free in time")
        ends_s = time.monotonic() + timeout_s
        while self.silent and not attempt.was_cut and time.monotonic() < ends_s:
            await asyncio.sleep(0.001)
        if self.silent:
            raise ServerFailed("it did not answer in time")
        attempt.sent_s = time.monotonic() - self.works_s
        await asyncio.sleep(self.takes_s)
        return self.position, [(self.name,)]

    async def open(self) -> None:
        pass

    def shut(self) -> None:
        self.was_shut += 1

    async def close(self) -> None:
        pass


class Fleet:
    """A router over a leader and two followers, all healthy."""

    def __init__(self, rules: ReadRules = RULES) -> None:
        self.leader, self.one, self.two = (MemoryServer(name) for name in ("leader", "one", "two"))
        self.copies = {server.name: Copy(server, "follower") for server in (self.one, self.two)}  # type: ignore[arg-type]
        self.copies["leader"] = Copy(self.leader, "leader")  # type: ignore[arg-type]
        self.router = Followers(self.copies["leader"], [self.copies["one"], self.copies["two"]], rules)
        self.router._watch.settled.set()
        self.router._watch.sample_now = self.sample  # type: ignore[method-assign]
        for copy in self.copies.values():
            copy.is_healthy, copy.position = True, 10
        self.router._samples.add(10, time.monotonic())

    async def sample(self) -> bool:
        self.router._samples.add(self.leader.position, time.monotonic())
        return not self.leader.failing

    async def read(self, demand: Demand = ANY) -> tuple[str, AsOf]:
        rows, as_of = await self.router.rows(Statement("SELECT"), demand)
        return rows[0][0], as_of

    async def who(self, times: int, demand: Demand = ANY) -> Counter[str]:
        return Counter([(await self.read(demand))[0] for _ in range(times)])


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def test_reads_are_spread_evenly_over_followers_and_never_go_to_the_leader() -> None:
    async def reads() -> Counter[str]:
        return await Fleet().who(100)

    assert run(reads()) == {"one": 50, "two": 50}


def test_the_follower_with_fewer_reads_in_flight_is_asked() -> None:
    async def reads() -> Counter[str]:
        fleet = Fleet()
        fleet.copies["one"].in_flight = 3
        return await fleet.who(10)

    assert run(reads()) == {"two": 10}


def test_a_follower_that_fails_costs_no_read_and_is_ejected_after_a_few() -> None:
    async def reads() -> tuple[Counter[str], bool, int]:
        fleet = Fleet()
        fleet.one.failing = True
        return await fleet.who(50), fleet.copies["one"].is_healthy, fleet.one.asked

    assert run(reads()) == ({"two": 50}, False, FAILURES_BEFORE_EJECTION)


def test_a_frozen_follower_costs_the_hedges_delay_and_not_the_deadline() -> None:
    async def reads() -> tuple[Counter[str], float, int]:
        fleet = Fleet()
        fleet.one.silent = True
        began_s = time.monotonic()
        return await fleet.who(20), time.monotonic() - began_s, fleet.copies["one"].hedges

    who, took_s, hedges = run(reads())

    assert (who, hedges) == ({"two": 20}, FAILURES_BEFORE_EJECTION)
    assert took_s < RULES.timeout_s


def test_a_follower_without_a_free_connection_is_not_ejected_while_it_answers_others() -> None:
    async def reads() -> tuple[Counter[str], bool]:
        fleet = Fleet()
        fleet.copies["one"].answered(10)
        fleet.one.taken_for_s = 1.0
        return await fleet.who(10), fleet.copies["one"].is_healthy

    assert run(reads()) == ({"two": 10}, True)


def test_a_follower_without_a_free_connection_that_answers_nobody_is_ejected() -> None:
    async def reads() -> tuple[Counter[str], int]:
        fleet = Fleet()
        fleet.copies["one"]._answered_s = time.monotonic() - BUSY_FOR_S
        fleet.one.taken_for_s = 1.0
        return await fleet.who(10), fleet.one.asked

    assert run(reads()) == ({"two": 10}, FAILURES_BEFORE_EJECTION)


def test_a_read_from_before_an_ejection_says_nothing_about_a_follower_that_was_taken_back() -> None:
    async def reads() -> tuple[Counter[str], bool]:
        fleet = Fleet()
        fleet.one.silent, fleet.copies["two"].in_flight = True, 100  # so that all are sent to the silent one
        reads = [asyncio.create_task(fleet.read()) for _ in range(FAILURES_BEFORE_EJECTION)]
        await asyncio.sleep(0)
        fleet.copies["one"].eject("it does not answer")
        await fleet.copies["one"].take_back()
        return Counter([who for who, _ in await asyncio.gather(*reads)]), fleet.copies["one"].is_healthy

    assert run(reads()) == ({"two": FAILURES_BEFORE_EJECTION}, True)


def test_without_a_budget_for_hedges_a_frozen_follower_still_fails_no_read() -> None:
    async def reads() -> Counter[str]:
        fleet = Fleet()
        fleet.one.silent, fleet.router._hedges_left = True, 0.0
        return await fleet.who(4)

    assert run(reads()) == {"two": 4}


def test_with_all_followers_gone_the_leader_answers_and_is_counted() -> None:
    async def reads() -> tuple[Counter[str], int]:
        fleet = Fleet()
        fleet.one.failing = fleet.two.failing = True
        return await fleet.who(10), fleet.copies["leader"].reads

    assert run(reads()) == ({"leader": 10}, 10)


def test_the_leader_is_not_drowned_when_all_followers_are_gone() -> None:
    async def reads() -> list[Any]:
        fleet = Fleet()
        fleet.one.failing = fleet.two.failing = True
        await fleet.who(3)
        fleet.leader.silent = True
        return await asyncio.gather(*(fleet.read() for _ in range(8)), return_exceptions=True)

    outcomes = run(reads())

    assert all(isinstance(outcome, NoReaderAvailable) for outcome in outcomes)


def test_leader_reads_never_means_never() -> None:
    async def reads() -> int:
        fleet = Fleet(RULES.__class__(**{**RULES.__dict__, "leader_reads": False}))
        fleet.one.failing = fleet.two.failing = True
        with pytest.raises(NoReaderAvailable) as caught:
            await fleet.read()
        assert ("connection refused" in caught.value.reason, "refused" in caught.value.detail) == (True, False)
        return fleet.leader.asked

    assert run(reads()) == 0


def a_stale_one_and_a_fresh_two() -> Fleet:
    fleet = Fleet()
    fleet.router._samples.add(5, time.monotonic() - 10)
    fleet.router._samples.add(10, time.monotonic())
    fleet.one.position = fleet.copies["one"].position = 5
    return fleet


def test_a_follower_over_the_bound_is_not_used_while_another_one_is_within() -> None:
    async def reads() -> Counter[str]:
        return await a_stale_one_and_a_fresh_two().who(10)

    assert run(reads()) == {"two": 10}


@pytest.mark.parametrize("late", ["takes_s", "taken_for_s"])
def test_a_follower_that_is_late_is_waited_for_while_the_other_one_is_over_the_bound(late: str) -> None:
    async def reads() -> tuple[Counter[str], int]:
        fleet = a_stale_one_and_a_fresh_two()
        setattr(fleet.two, late, RULES.hedge_s * 3)
        return await fleet.who(4), fleet.one.asked

    assert run(reads()) == ({"two": 4}, 0)


def test_a_follower_over_the_bound_answers_when_the_fresh_one_is_silent() -> None:
    async def reads() -> tuple[str, AsOf]:
        fleet = a_stale_one_and_a_fresh_two()
        fleet.two.silent = True
        return await fleet.read()

    who, as_of = run(reads())

    assert (who, as_of.position, round(as_of.staleness_s)) == ("one", 5, 10)


def test_an_answer_that_grew_too_old_on_its_way_is_asked_of_a_fresher_copy() -> None:
    async def read() -> tuple[str, AsOf]:
        fleet = Fleet(replace(RULES, hedge_s=0.4))
        fleet.router._samples.add(5, time.monotonic() - 0.9)
        fleet.router._samples.add(10, time.monotonic())
        fleet.one.position = fleet.copies["one"].position = 5
        fleet.one.takes_s = 0.15
        fleet.copies["two"].in_flight = 1  # so that the other one is asked first, which is within the bound yet
        return await fleet.read()

    who, as_of = run(read())

    assert (who, as_of.position, as_of.staleness_s < 1) == ("two", 10, True)


def test_when_all_are_over_the_bound_the_least_stale_answers_and_says_so() -> None:
    async def reads() -> tuple[str, AsOf, str | None]:
        fleet = Fleet()
        for position, ago_s in ((3, 30), (5, 20), (10, 0)):
            fleet.router._samples.add(position, time.monotonic() - ago_s)
        fleet.one.position = fleet.copies["one"].position = 3
        fleet.two.position = fleet.copies["two"].position = 5
        return *(await fleet.read()), fleet.router.degradation()

    who, as_of, degradation = run(reads())

    assert (who, as_of.position, round(as_of.staleness_s)) == ("two", 5, 20)
    assert degradation == "Every follower is more than 1 s behind: answers are stale and say so."


def test_a_stricter_demand_goes_to_the_leader_when_no_follower_meets_it() -> None:
    async def reads() -> tuple[Counter[str], Counter[str]]:
        fleet = Fleet()
        fleet.router._samples.add(10, time.monotonic() - 0.5)
        return await fleet.who(4, Demand(max_staleness_s=0.1)), await fleet.who(4, Demand(max_staleness_s=0.9))

    assert run(reads()) == ({"leader": 4}, {"one": 2, "two": 2})


def test_a_read_that_shows_a_position_waits_for_a_follower_that_has_replayed_it() -> None:
    async def reads() -> tuple[str, AsOf]:
        fleet = Fleet()
        fleet.leader.position = 12
        asyncio.get_running_loop().call_later(0.01, setattr, fleet.two, "position", 12)
        return await fleet.read(Demand(12))

    who, as_of = run(reads())

    assert (who, as_of.position) == ("two", 12)


def test_after_the_wait_it_goes_to_the_leader() -> None:
    async def reads() -> tuple[str, AsOf]:
        fleet = Fleet()
        fleet.leader.position = 12
        return await fleet.read(Demand(12))

    assert run(reads()) == ("leader", AsOf(12))


def test_without_a_leader_it_fails_rather_than_answer_from_before_the_position() -> None:
    async def reads() -> None:
        fleet = Fleet()
        fleet.leader.position, fleet.leader.failing = 12, True
        await fleet.read(Demand(12))

    with pytest.raises(NoReaderAvailable, match="No copy has reached position 12 yet"):
        run(reads())


def test_a_position_from_the_future_is_refused_unless_it_is_only_a_browsers() -> None:
    async def reads() -> Counter[str]:
        fleet = Fleet()
        with pytest.raises(FuturePosition, match="The newest position is 10, not yet 99"):
            await fleet.read(Demand(99))
        return await fleet.who(2, Demand(99, is_forgiving=True))

    assert run(reads()) == {"one": 1, "two": 1}


def test_reads_that_a_server_works_on_for_long_take_a_place_each_and_are_not_hedged() -> None:
    fleet = Fleet(replace(RULES, expensive_reads=1))
    dear = Statement("SELECT", shape="dear")

    async def reads_of_one_shape() -> tuple[int, int, bool]:
        fleet.one.works_s = fleet.two.works_s = 1.0
        await fleet.router.rows(dear, ANY)
        fleet.one.takes_s = fleet.two.takes_s = 3 * RULES.hedge_s
        asked = fleet.one.asked + fleet.two.asked
        reads = [asyncio.create_task(fleet.router.rows(dear, ANY)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running = fleet.router.expensive.running
        await asyncio.gather(*reads)
        return running, fleet.one.asked + fleet.two.asked - asked, fleet.router.expensive.knows("dear")

    assert run(reads_of_one_shape()) == (1, 3, True)


def test_reads_without_a_shape_never_wait_for_a_place() -> None:
    fleet = Fleet(replace(RULES, expensive_reads=1))

    async def reads_of_no_shape() -> int:
        fleet.one.works_s = fleet.two.works_s = 1.0
        for _ in range(3):
            await fleet.read()
        fleet.one.takes_s = fleet.two.takes_s = 0.01
        reads = [asyncio.create_task(fleet.read()) for _ in range(3)]
        await asyncio.sleep(0)
        running = fleet.router.expensive.running
        await asyncio.gather(*reads)
        return running

    assert run(reads_of_no_shape()) == 0
