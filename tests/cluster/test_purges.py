"""A purge by hand while servers run: it reaches every process of every server, and nothing is sent to any of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import Server, eventually, matinee, start_server

HIT, STALE = "matinee-local; hit", "matinee-local; fwd=stale; stored"


@pytest.fixture
def pair(small_catalogue: Path) -> Iterator[list[Server]]:
    """Return two servers over one catalogue, each of one process."""
    with ExitStack() as stack:
        yield [stack.enter_context(start_server(small_catalogue)) for _ in range(2)]


def cache_status(server: Server, path: str) -> str:
    return server.get(path).headers["cache-status"]


def keep(servers: list[Server], *paths: str) -> None:
    """Ask until every server answers from what it keeps."""
    for server in servers:
        for path in paths:
            eventually(lambda server=server, path=path: cache_status(server, path), lambda status: status == HIT)


def position_after(purged: str) -> int:
    return int(purged.strip())


def test_a_purge_of_one_movie_reaches_both_servers_and_leaves_the_others(pair: list[Server]) -> None:
    keep(pair, "/v1/movies/1", "/v1/movies/2")

    purged = matinee(pair[0].home, "cache", "purge", "--movie", "1")

    assert position_after(purged.stdout) == 13
    for server in pair:
        assert eventually(lambda server=server: cache_status(server, "/v1/movies/1"), lambda status: status != HIT) == STALE
        assert [cache_status(server, path) for path in ("/v1/movies/1", "/v1/movies/2")] == [HIT, HIT]


def test_a_purge_of_everything_reaches_both_servers_movies_and_pages(pair: list[Server]) -> None:
    paths = ("/v1/movies/1", "/v1/movies/2", "/v1/movies?limit=3", "/v1/genres")
    keep(pair, *paths)

    matinee(pair[0].home, "cache", "purge", "--all")

    for server in pair:
        seen = [
            eventually(lambda server=server, path=path: cache_status(server, path), lambda status: status != HIT)
            for path in paths
        ]
        assert seen == [STALE] * len(paths)


def test_whoever_shows_the_position_of_a_purge_is_answered_from_after_it(pair: list[Server]) -> None:
    keep(pair, "/v1/movies/1")

    position = position_after(matinee(pair[0].home, "cache", "purge", "--all").stdout)

    for server in pair:
        answer = server.get("/v1/movies/1", headers={"matinee-min-position": str(position)})
        assert answer.status_code == 200
        assert int(answer.headers["matinee-position"]) >= position
        assert answer.headers["cache-status"] != HIT
