"""The bound of the local tier against what its entries really take, for URLs that were made to get around it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matinee import config as configuration
from tests.client import Client

BOUND_BYTES = 600_000
_EMPTY_BYTES = 16_000  # of a tier that holds nothing
_SLOTS = ("_entries", "_small", "_main", "_left_small", "_left_main", "_heap", "_ghosts", "_marks", "_scores")


@contextmanager
def bounded(home: Path, **changes: Any) -> Iterator[Client]:
    """Return the service with a small local tier, which has followed the log."""
    with Client(configuration.load(home=home), local_cache_bytes=BOUND_BYTES, **changes) as client:
        client.get("/readyz")
        client.get("/v1/movies/1")
        yield client


def measured_bytes(tier: Any) -> int:
    """Return what a tier's policies hold in memory: every object once, as the interpreter counts it."""
    seen: set[int] = set()
    waiting: list[Any] = [tier.policy, tier.absences]
    total = 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type) or found is None:
            continue
        seen.add(id(found))
        total += sys.getsizeof(found)
        waiting += parts(found)
    return total


def parts(found: Any) -> list[Any]:
    if isinstance(found, dict):
        return [*found.keys(), *found.values()]
    if isinstance(found, msgspec.Struct):
        return [getattr(found, name) for name in found.__struct_fields__]
    if isinstance(found, (tuple, list)) or type(found).__name__ == "deque":
        return list(found)
    return [getattr(found, name) for name in _SLOTS if hasattr(found, name)]


def long_queries(client: Client) -> None:
    for number in range(250):
        client.get(f"/v1/movies?genre={number}&limit=5&director=" + "y" * 290)


def longest_queries(client: Client) -> None:
    words = "&".join(f"genre={letter * 290}" for letter in "abcdefghijklmnopqrst")
    for number in range(150):
        client.get(f"/v1/movies?{words}&votes_min={number}")


def absent_ids(client: Client) -> None:
    for number in range(1_000, 1_800):
        client.get(f"/v1/movies/{number}")


def long_absent_ids(client: Client) -> None:
    for number in range(300):
        client.get("/v1/movies/fynd:" + f"{number:06d}" + "ж" * 190)


def impossible_ids(client: Client) -> None:
    for number in range(30):
        client.get(f"/v1/movies/{'9' * 60_000}{number}")
        client.get(f"/v1/people/{'9' * 60_000}{number}")
        client.get(f"/v1/search?q={number}{'x' * 60_000}")


def compressed(client: Client) -> None:
    for number in range(100):
        path = f"/v1/movies?limit=12&votes_min=0&runtime_min=0&year_from={number + 1}"
        for encoding in ("identity", "br", "gzip"):
            client.get(path, headers={"accept-encoding": encoding})


def cursors(client: Client) -> None:
    for number in range(350):
        client.get(f"/v1/movies?limit=1&year_from={number + 1}&sort=title")


def odd_headers(client: Client) -> None:
    for number in range(100):
        junk = f"{number}" + "x" * 8_000
        headers = {"accept-encoding": junk, "if-none-match": junk, "cookie": junk, "origin": junk, "x-request-id": junk}
        client.get("/v1/movies/1", headers=headers)
        client.get(f"/v1/movies/{number}", headers=headers)


Mix = Callable[[Client], None]
ALL_MIXES: list[Mix] = [
    long_queries, longest_queries, absent_ids, long_absent_ids, impossible_ids, compressed, cursors, odd_headers
]  # fmt: skip
CASES = [("s3fifo", mix) for mix in ALL_MIXES]
CASES += [(policy, mix) for policy in ("lru", "topn") for mix in (longest_queries, compressed)]


@pytest.mark.parametrize(("policy", "mix"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_what_is_held_is_within_what_is_counted_and_that_within_the_bound(small_catalogue: Path, mix: Mix, policy: str) -> None:
    with bounded(small_catalogue, cache_policy=policy) as client:
        tier = client.runtime.local
        mix(client)

        assert tier.used_bytes <= tier.bound_bytes == BOUND_BYTES
        assert measured_bytes(tier) <= 1.15 * tier.used_bytes + _EMPTY_BYTES


def test_ids_that_do_not_exist_evict_none_that_do(small_catalogue: Path) -> None:
    with bounded(small_catalogue) as client:
        paths = [f"/v1/movies/{number}" for number in range(1, 13)]
        for path in paths:
            client.get(path)

        absent_ids(client)

        assert [client.get(path).headers["cache-status"] for path in paths] == ["matinee-local; hit"] * 12
        assert client.runtime.local.absences.evictions > 0


IMPOSSIBLE = ["/v1/movies/12345678901", "/v1/movies/0", "/v1/movies/4294967296", "/v1/people/x", "/v1/movies/x:y"]
IMPOSSIBLE += ["/v1/movies/" + "9" * 60_000, "/v1/movies?" + "x" * 9_000, "/v1/people/" + "1" * 17]


@pytest.mark.parametrize("path", IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
def test_what_cannot_exist_is_refused_without_a_load_or_an_entry(small_catalogue: Path, path: str) -> None:
    with bounded(small_catalogue) as client:
        flights, statements = client.front._reads._flights, client.reader.statements
        before = (len(client.runtime.local), flights.begun)

        statuses = {client.get(path).status_code for _ in range(3)}

        assert (len(client.runtime.local), flights.begun) == before
        assert client.reader.statements == statements
        assert statuses in ({400}, {404})


def test_a_movie_that_comes_to_exist_and_one_that_is_deleted_change_places(small_catalogue: Path) -> None:
    with bounded(small_catalogue) as client:
        client.get("/v1/movies/13")
        client.write("POST", "/v1/movies", {"title": "Thirteen"})
        created = client.get("/v1/movies/13").status_code
        client.write("DELETE", "/v1/movies/1", if_match="*")
        gone = [client.get("/v1/movies/1").status_code for _ in range(2)]
        tier = client.runtime.local

        assert (created, gone) == (200, [410, 410])
        assert [tier.absences.peek(f"/v1/movies/{number}") is None for number in (1, 13)] == [False, True]
        assert [tier.policy.peek(f"/v1/movies/{number}") is None for number in (1, 13)] == [True, False]
