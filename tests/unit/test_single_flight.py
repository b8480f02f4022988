"""One load for all who want the same at the same time; whoever goes away harms nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from matinee.cache.single_flight import SingleFlight
from matinee.errors import Overloaded


class Loader:
    """Counts its loads; each waits until it is let go, and then returns or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.loads, self.gate, self._error = 0, asyncio.Event(), error

    async def __call__(self) -> int:
        self.loads += 1
        await self.gate.wait()
        if self._error is not None:
            raise self._error
        return self.loads


async def waiting(flights: SingleFlight[int], loader: Loader, callers: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(flights.do("key", loader)) for _ in range(callers)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def test_all_who_ask_at_the_same_time_share_one_load_and_the_next_one_begins_another() -> None:
    async def ask() -> tuple[list[int], int, int]:
        flights, loader = SingleFlight[int](), Loader()
        tasks = await waiting(flights, loader, 1000)
        loader.gate.set()
        return await asyncio.gather(*tasks), await flights.do("key", loader), flights.joined

    assert asyncio.run(ask()) == ([1] * 1000, 2, 999)


def test_the_first_who_asked_hangs_up_and_harms_nobody() -> None:
    async def ask() -> tuple[list[Any], int]:
        flights, loader = SingleFlight[int](), Loader()
        tasks = await waiting(flights, loader, 3)
        tasks[0].cancel()
        await asyncio.sleep(0)
        loader.gate.set()
        return await asyncio.gather(*tasks[1:]), loader.loads

    assert asyncio.run(ask()) == ([1, 1], 1)


def test_a_load_that_fails_fails_for_all_who_wait_and_is_not_kept() -> None:
    async def ask() -> tuple[list[str], bool]:
        flights, loader = SingleFlight[int](), Loader(ValueError("no"))
        tasks = await waiting(flights, loader, 2)
        loader.gate.set()
        return [str(item) for item in await asyncio.gather(*tasks, return_exceptions=True)], flights.is_under_way("key")

    assert asyncio.run(ask()) == (["no", "no"], False)


def refusing(flights: SingleFlight[str], refused: str, loads: list[str]) -> Callable[[str], Coroutine[Any, Any, str]]:
    """Return what asks on behalf of a client; loads of one of the clients are refused."""

    async def load(client: str) -> str:
        loads.append(client)
        await asyncio.sleep(0)
        if client == refused:
            raise Overloaded("no place")
        return client

    return lambda client: flights.do_for(client, "key", lambda: load(client))


def test_what_the_client_of_a_load_is_refused_is_loaded_once_for_each_other_client_that_waited() -> None:
    loads: list[str] = []

    async def ask() -> list[str]:
        do = refusing(SingleFlight[str](), "first", loads)
        found = await asyncio.gather(*map(do, ("first", "second", "third", "second")), return_exceptions=True)
        return [str(item) for item in found]

    assert (asyncio.run(ask()), loads) == (["no place", "second", "third", "second"], ["first", "second", "third"])


def test_what_no_client_is_refused_is_loaded_once_for_all_clients() -> None:
    loads: list[str] = []

    async def ask() -> list[str]:
        do = refusing(SingleFlight[str](), "nobody", loads)
        return await asyncio.gather(*map(do, ("first", "second")))

    assert (asyncio.run(ask()), loads) == (["first", "first"], ["first"])


@pytest.mark.filterwarnings("error")
def test_an_error_that_nobody_waits_for_any_longer_is_no_fault_of_ours() -> None:
    async def ask() -> list[str]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        flights, loader = SingleFlight[int](), Loader(ValueError("no"))
        (task,) = await waiting(flights, loader, 1)
        task.cancel()
        loader.gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        return told

    assert asyncio.run(ask()) == []
