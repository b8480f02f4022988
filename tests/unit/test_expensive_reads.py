"""Expensive reads: few run at once, clients take turns, one client never has all places, and the queue is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from matinee.errors import Overloaded, TooManyRequests
from matinee.storage.asking import Asking
from matinee.storage.expensive_reads import MAX_WAITING, MAX_WAITING_OF_ONE, ExpensiveReads

pytestmark = pytest.mark.unit


class Rush:
    """Reads that hold their place until they are told to end, and the order in which they got it."""

    def __init__(self, places: int, wait_s: float = 60.0) -> None:
        self.lane = ExpensiveReads(places, wait_s)
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, *clients: str) -> list[asyncio.Task[None]]:
        """Send a read for each client, in this order."""
        tasks = [asyncio.create_task(self._read(client)) for client in clients]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return tasks

    async def end(self, client: str) -> None:
        """End the oldest running read of a client."""
        self._ends[client].set()
        for _ in range(4):
            await asyncio.sleep(0)

    async def _read(self, client: str) -> None:
        async with self.lane.place(Asking(client)):
            self.began.append(client)
            self._ends[client] = asyncio.Event()
            await self._ends[client].wait()


def play(scenario: Callable[[], Awaitable[object]]) -> None:
    """Run a scenario on a loop of its own, and end what it left behind."""

    async def run() -> None:
        await scenario()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(run())


def test_one_client_never_has_all_places() -> None:
    rush = Rush(places=3)

    async def scenario() -> None:
        await rush.begin("a", "a", "a", "b")

    play(scenario)

    assert rush.began == ["a", "a", "b"]


def test_clients_take_turns_however_many_reads_one_of_them_sends() -> None:
    rush = Rush(places=1)

    async def scenario() -> None:
        await rush.begin("a", "a", "a", "a", "b", "c")
        for client in ("a", "a", "b", "c", "a"):
            await rush.end(client)

    play(scenario)

    assert rush.began == ["a", "a", "b", "c", "a", "a"]


def test_a_client_whose_part_of_the_queue_is_full_is_told_to_send_less_and_others_are_not() -> None:
    rush = Rush(places=1)

    async def scenario() -> None:
        await rush.begin(*["a"] * (1 + MAX_WAITING_OF_ONE))
        with pytest.raises(TooManyRequests):
            await rush._read("a")
        await rush.begin("b")
        await rush.end("a")
        await rush.end("a")

    play(scenario)

    assert rush.began == ["a", "a", "b"]


def test_a_full_queue_refuses_every_client() -> None:
    rush = Rush(places=1)

    async def scenario() -> None:
        await rush.begin("first", *(f"client {number}" for number in range(MAX_WAITING)))
        with pytest.raises(Overloaded):
            await rush._read("one more")

    play(scenario)

    assert (rush.began, rush.lane.running, rush.lane.waiting) == (["first"], 0, 0)


def test_a_read_that_finds_no_place_in_time_is_refused() -> None:
    rush = Rush(places=1, wait_s=0.0)

    async def scenario() -> None:
        await rush.begin("a")
        with pytest.raises(Overloaded):
            await rush._read("b")

    play(scenario)

    assert (rush.began, rush.lane.waiting) == (["a"], 0)


def test_a_read_that_is_given_up_while_it_waits_leaves_no_trace() -> None:
    rush = Rush(places=1)

    async def scenario() -> None:
        await rush.begin("a")
        (waiting,) = await rush.begin("b")
        waiting.cancel()
        await asyncio.wait({waiting})
        await rush.begin("c")
        await rush.end("a")

    play(scenario)

    assert (rush.began, rush.lane.running, rush.lane.waiting) == (["a", "c"], 0, 0)


def test_a_place_that_is_given_to_a_read_that_ends_at_that_moment_is_free_again() -> None:
    rush = Rush(places=1)

    async def scenario() -> None:
        await rush.begin("a")
        (waiting,) = await rush.begin("b")
        rush._ends["a"].set()
        await asyncio.sleep(0)  # the place is b's now, and b has not run yet
        waiting.cancel()
        await asyncio.wait({waiting})
        await rush.begin("c")

    play(scenario)

    assert rush.began[-1] == "c"


def test_a_shape_is_expensive_until_some_of_its_reads_in_a_row_were_cheap() -> None:
    lane = ExpensiveReads(1, 1.0, limit_s=0.004)
    lane.measured("slow", 0.005)
    known = []

    for took_s in (0.001, 0.005, 0.001, 0.001, 0.001, 0.001):
        known.append(lane.knows("slow"))
        lane.measured("slow", took_s)

    assert known == [True] * 6
    assert not lane.knows("slow")


def test_where_every_read_takes_long_none_is_expensive() -> None:
    lane = ExpensiveReads(1, 1.0, limit_s=0.025)
    for _ in range(500):
        lane.typical(0.05)

    lane.measured("as slow as all others", 0.2)
    lane.measured("far slower", 1.0)

    assert (lane.knows("as slow as all others"), lane.knows("far slower")) == (False, True)


def test_the_expensive_shapes_are_bounded_and_the_oldest_is_forgotten_first() -> None:
    lane = ExpensiveReads(1, 1.0)

    for number in range(1_001):
        lane.measured(f"shape {number}", 1.0)

    assert (lane.knows("shape 0"), lane.knows("shape 1"), lane.knows("shape 1000")) == (False, True, True)


def test_a_client_is_charged_for_expensive_reads_but_not_for_the_first_of_a_shape_nor_for_one_without_a_shape() -> None:
    lane, asking = ExpensiveReads(1, 1.0), Asking("a")
    charged = []

    for shape in ("", "slow", "slow", "slow", ""):
        lane.measured(shape, 1.0, asking)
        charged.append(asking.expensive)

    assert charged == [0, 0, 1, 2, 2]


def test_a_statement_without_a_shape_never_becomes_expensive() -> None:
    lane = ExpensiveReads(1, 1.0)

    lane.measured("", 1.0)
    lane.suspect("")

    assert not lane.knows("")
