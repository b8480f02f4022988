"""Long reads take turns with the event loop: whoever else has something to do there is not held up by all of them."""

from __future__ import annotations

import asyncio

import pytest

from matinee.errors import NoReaderAvailable
from matinee.storage.turns import Turns

pytestmark = pytest.mark.unit


async def read(turns: Turns, took_s: float, done: list[str], name: str, *, is_cheap: bool = True) -> None:
    """Do as a read does: wait when the turn is over, take some time."""
    if turns.is_over(is_cheap=is_cheap):
        await turns.wait(is_cheap=is_cheap)
    done.append(name)
    turns.used(took_s, is_cheap=is_cheap)


def test_what_comes_up_meanwhile_has_its_turn_between_long_reads() -> None:
    done: list[str] = []

    async def run() -> None:
        turns = Turns(1.0)
        reads = [asyncio.create_task(read(turns, 0.02, done, f"read {number}")) for number in range(3)]
        await asyncio.sleep(0)
        done.append("a hit")
        await asyncio.gather(*reads)

    asyncio.run(run())

    assert done == ["read 0", "a hit", "read 1", "read 2"]


def test_short_reads_do_not_wait() -> None:
    done: list[str] = []

    async def run() -> None:
        turns = Turns(1.0)
        reads = [asyncio.create_task(read(turns, 0.0001, done, f"read {number}")) for number in range(3)]
        await asyncio.sleep(0)
        done.append("a hit")
        await asyncio.gather(*reads)

    asyncio.run(run())

    assert done == ["read 0", "read 1", "read 2", "a hit"]


def test_a_read_whose_turn_comes_too_late_is_not_begun() -> None:
    done: list[str] = []

    async def run() -> list[BaseException | None]:
        turns = Turns(-1.0)  # every wait is longer than half of that
        reads = [read(turns, 0.02, done, f"read {number}") for number in range(2)]
        return await asyncio.gather(*reads, return_exceptions=True)

    first, second = asyncio.run(run())

    assert (first, done) == (None, ["read 0"])
    assert isinstance(second, NoReaderAvailable)


def test_a_loop_that_is_over_leaves_nobody_waiting_in_the_next_one() -> None:
    done: list[str] = []
    turns = Turns(1.0)

    for name in ("read 0", "read 1"):
        asyncio.run(asyncio.wait_for(read(turns, 0.02, done, name), 5))

    assert done == ["read 0", "read 1"]


def test_cheap_reads_go_before_those_that_may_be_expensive_which_get_one_a_turn_at_least() -> None:
    done: list[str] = []

    async def run() -> None:
        turns = Turns(1.0)
        dear = [asyncio.create_task(read(turns, 0.003, done, f"dear {number}", is_cheap=False)) for number in range(4)]
        await asyncio.sleep(0)
        cheap = [asyncio.create_task(read(turns, 0.0001, done, f"cheap {number}")) for number in range(2)]
        await asyncio.gather(*dear, *cheap)

    asyncio.run(run())

    assert done[:2] == ["dear 0", "cheap 0"] or done[:3] == ["dear 0", "dear 1", "cheap 0"]
    assert sorted(done) == ["cheap 0", "cheap 1", "dear 0", "dear 1", "dear 2", "dear 3"]
    assert done.index("cheap 1") < done.index("dear 2")
