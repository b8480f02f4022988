"""What servers read for each other through the shared tier, and what of it is believed: two services over one catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.cache.shared import MemoryTier
from matinee.domain.change_log import ChangeLog, LogRow
from tests.client import Client
from tests.processes import eventually

PATHS = ["/v1/movies/1", "/v1/movies?genre=Drama", "/v1/search?q=alien"]


@contextmanager
def service(home: Path, tier: MemoryTier) -> Iterator[Client]:
    """Run a service without a local tier that shares one with others."""
    with Client(configuration.load(home=home), local_cache_bytes=0) as client:
        client.runtime.catalogue._loads._shared = tier
        client.get("/readyz")
        client.get("/v1/movies/12")  # from now on the log is read backwards
        eventually(lambda: log_of(client).oldest, lambda oldest: oldest == 1)
        yield client


def log_of(client: Client) -> ChangeLog:
    """Return the log as a service has followed it by now."""
    client.get("/livez")
    client.runtime.catalogue.known()
    log: ChangeLog = client.runtime.catalogue.log
    return log


@pytest.fixture
def tier() -> MemoryTier:
    """Return the tier that the services share."""
    return MemoryTier()


@pytest.fixture
def two(small_catalogue: Path, tier: MemoryTier) -> Iterator[tuple[Client, Client]]:
    """Return two services over the same catalogue, as on two machines."""
    with service(small_catalogue, tier) as one, service(small_catalogue, tier) as other:
        yield one, other


def statements(client: Client, path: str) -> tuple[int, bytes]:
    """Return how many statements an answer took, and the answer."""
    before = client.reader.statements
    body = client.get(path).content
    return client.reader.statements - before, body


@pytest.mark.parametrize("path", PATHS)
def test_what_one_server_has_read_the_other_one_need_not_read(two: tuple[Client, Client], path: str) -> None:
    one, other = two
    other.get("/v1/movies?genre=Comedy")  # fills its directory of facets
    _, first = statements(one, path)

    again, second = statements(other, path)

    assert (again, second) == (0, first)


def test_after_a_change_no_server_believes_what_was_shared_before(two: tuple[Client, Client]) -> None:
    one, other = two
    one.get("/v1/movies/1"), other.get("/v1/movies/1")

    written = one.write("PATCH", "/v1/movies/1", {"year": 1999}, if_match="*", content_type="application/json")

    position = int(written.headers["matinee-position"])
    eventually(lambda: log_of(other).position, lambda seen: seen >= position)
    assert [client.get("/v1/movies/1").json()["year"] for client in two] == [1999, 1999]


def test_an_old_value_that_comes_back_is_not_believed(two: tuple[Client, Client], tier: MemoryTier) -> None:
    one, _ = two
    one.get("/v1/movies/1")
    old = dict(tier._entries)
    one.write("PATCH", "/v1/movies/1", {"year": 1999}, if_match="*", content_type="application/json")
    one.get("/v1/movies/1")

    tier._entries.update(old)  # a restored dump

    assert eventually(lambda: one.get("/v1/movies/1").json()["year"], lambda year: year == 1999) == 1999


def test_a_value_of_another_history_is_not_believed(two: tuple[Client, Client], tier: MemoryTier) -> None:
    one, other = two
    log, content = log_of(one), value_of(one, tier, "m:1")[29:].replace(b"Alien", b"Nobody")
    histories = ChangeLog()
    histories.append([LogRow(log.position, "movie", 1, "another moment")], 0.0)

    forged = other.runtime.catalogue._loads._seals.seal(histories, "m:1", log.position, content)
    tier.put("m:1", forged, 60)

    taken, body = statements(other, "/v1/movies/1")
    assert (taken, b"Nobody" in body) == (1, False)


@pytest.mark.parametrize("damaged", [b"", b"x", b"\x02" + b"\x00" * 40, b"\x01" + b"\xff" * 12])
def test_a_damaged_value_is_as_none(two: tuple[Client, Client], tier: MemoryTier, damaged: bytes) -> None:
    tier.put("m:1", damaged, 60)

    assert two[0].get("/v1/movies/1").json()["title"] == "Alien"


def test_a_server_that_begins_later_reads_the_log_backwards_and_believes_what_was_shared(
    two: tuple[Client, Client], tier: MemoryTier, small_catalogue: Path
) -> None:
    one, _ = two
    one.get("/v1/movies/1")
    one.write("PATCH", "/v1/movies/2", {"year": 1999}, if_match="*", content_type="application/json")

    with service(small_catalogue, tier) as late:
        assert statements(late, "/v1/movies/1")[0] == 0


def test_who_does_not_get_the_lease_waits_for_the_one_who_has_it(two: tuple[Client, Client], tier: MemoryTier) -> None:
    one, other = two
    value = value_of(one, tier, "m:1")
    tier.delete(["m:1"])
    other._loop.run_until_complete(tier.lease(lease_of(one, "m:1"), 60_000))

    async def later() -> None:
        await asyncio.sleep(0.02)
        tier.put("m:1", value, 60)

    task = other._loop.create_task(later())

    assert statements(other, "/v1/movies/1")[0] == 0
    assert task.done()


def test_a_lease_whose_holder_died_costs_a_moment_and_no_answer(two: tuple[Client, Client], tier: MemoryTier) -> None:
    one, other = two
    tier.delete(["m:1"])
    other._loop.run_until_complete(tier.lease(lease_of(one, "m:1"), 60_000))

    assert statements(one, "/v1/movies/1") == (1, other.get("/v1/movies/1").content)


@pytest.mark.parametrize("path", PATHS)
def test_after_a_change_nobody_waits_for_the_lease_of_before(two: tuple[Client, Client], tier: MemoryTier, path: str) -> None:
    one, other = two
    one.get(path)
    before = leases(tier)

    written = one.write("PATCH", "/v1/movies/1", {"year": 1999}, if_match="*", content_type="application/json")
    eventually(lambda: log_of(other).position, lambda seen: seen >= int(written.headers["matinee-position"]))
    other.get(path)

    assert len(leases(tier) - before) == 1


def lease_of(client: Client, key: str) -> str:
    """Return the lease of a key at the position that the services have seen."""
    return f"l:{key}:{log_of(client).position}"


def leases(tier: MemoryTier) -> set[str]:
    """Return the leases that somebody has got."""
    return {key for key in tier._entries if key.startswith("l:")}


def value_of(client: Client, tier: MemoryTier, key: str) -> Any:
    """Have a movie shared, and return its value."""
    tier.delete([key, lease_of(client, key)])
    client.get("/v1/movies/1")
    return tier._entries[key][0]
