"""Long reads take turns with the event loop: whoever else has something to do there is not held up by all of them."""

from __future__ import annotations

import asyncio

import pytest

from matinee.errors import NoReaderAvailable
from matinee.storage.turns import Turns

pytestmark = pytest.mark.unit


async def read(turns: Turns, took_s: float, done: list[str], name: str) -> None:
    """Do as a read does: wait when the turn is over, take some time."""
    if turns.are_over:
        await turns.wait()
    done.append(name)
    turns.used(took_s)


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
