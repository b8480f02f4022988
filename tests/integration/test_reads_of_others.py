"""Loads that clients share: a refusal of one client reaches no other, and a background read has a client that pays for it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.cache.shared import MemoryTier
from matinee.errors import MatineeError, Overloaded, TooManyRequests
from matinee.storage.leader_state import leader
from tests.client import Client
from tests.processes import eventually

PROXY = (ipaddress.ip_network("127.0.0.1/32"),)
FIRST, SECOND = "192.0.2.1", "192.0.2.2"
PAGE, SAME_PAGE = "/v1/movies?sort=added&rating_min=0", "/v1/movies?rating_min=0&sort=added"
Rows = Callable[..., Awaitable[Any]]


def reading(client: Client, monkeypatch: pytest.MonkeyPatch, read: Callable[[str, Rows], Awaitable[Any]]) -> None:
    """Let reads that may be expensive be answered by `read`, which is given the client and the real read."""
    source = type(client.reader._source)
    real = source.rows

    async def rows(self: Any, statement: Any, demand: Any) -> Any:
        if statement.asking is None or not statement.shape:
            return await real(self, statement, demand)
        return await read(statement.asking.client, lambda: real(self, statement, demand))

    monkeypatch.setattr(source, "rows", rows)


def ask_together(client: Client, *asked: tuple[str, str]) -> list[int]:
    """Send requests of these addresses to these paths at the same time, and return their statuses."""

    async def run() -> list[int]:
        get = client._http.get
        answers = await asyncio.gather(*(get(path, headers={"x-forwarded-for": address}) for address, path in asked))
        return [answer.status_code for answer in answers]

    return client._loop.run_until_complete(run())


@pytest.mark.parametrize("error", [Overloaded("no place"), TooManyRequests("too many")], ids=["503", "429"])
@pytest.mark.parametrize("path", [PAGE, SAME_PAGE], ids=["local tier", "shared tier"])
def test_a_client_is_not_refused_because_of_the_client_whose_load_it_joined(
    small_catalogue: Path, monkeypatch: pytest.MonkeyPatch, error: MatineeError, path: str
) -> None:
    with Client(configuration.load(home=small_catalogue), trusted_proxies=PROXY) as client:
        loads = client.runtime.catalogue._loads
        loads._shared = MemoryTier()
        flights = client.front._reads._flights, loads._pages

        async def read(asking: str, real: Rows) -> Any:
            if asking == SECOND:
                return await real()
            while not any(flight.joined for flight in flights):
                await asyncio.sleep(0)
            raise error

        reading(client, monkeypatch, read)
        statuses = ask_together(client, (FIRST, PAGE), (SECOND, path))

    assert statuses == [error.status, 200]


def test_a_page_from_before_is_served_when_no_place_for_its_read_is_free(
    small_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Overloaded("no place")

    with Client(configuration.load(home=small_catalogue), list_max_staleness_s=0) as client:
        client.get("/readyz")
        client.get(PAGE)
        client.write("POST", "/v1/movies", {"title": "Thirteen"})
        reading(client, monkeypatch, refuse)

        old, unknown = client.get(PAGE), client.get("/v1/movies?rating_min=1")

    assert (old.status_code, old.headers["cache-status"]) == (200, "matinee-local; hit; detail=stale-if-error")
    assert unknown.status_code == 503


def test_a_page_that_is_read_in_the_background_is_charged_to_the_client_whose_request_caused_it(
    small_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: list[str] = []

    async def read(asking: str, real: Rows) -> Any:
        paid.append(asking)
        return await real()

    with Client(configuration.load(home=small_catalogue), trusted_proxies=PROXY, client_rate=10.0) as client:
        client.get("/readyz")
        client.get(PAGE, headers={"x-forwarded-for": FIRST})
        client.write("POST", "/v1/movies", {"title": "Thirteen"})
        leader.forget_writes()  # as if another process had written it
        reading(client, monkeypatch, read)

        eventually(lambda: client.get(PAGE, headers={"x-forwarded-for": SECOND}) and paid, bool)

    assert paid == [SECOND]
