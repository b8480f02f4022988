"""A server that starts loads what is asked for most before it says that it is ready, and never waits for it for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from matinee import config as configuration
from matinee import runtime
from matinee.cache.counting_metrics import WARM_UP_S, WARMED
from matinee.cache.popularity import MemoryCounts, Top
from matinee.domain.popularity import Window
from matinee.http import warming
from matinee.read.warming import warm_shared
from matinee.storage import models
from matinee.write import movies as writes
from tests.client import Client
from tests.integration.test_trending import counted
from tests.processes import Server, eventually, start_server
from tests.shared_tiers import RedisServer, TierServer, running

REASON = "The server is warming up: it loads the movies that are asked for most, for 2 s at most."


class HeldCounts(MemoryCounts):
    """Counts that answer when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def top(self, window: Window, limit: int) -> Top:
        """Wait, then return the movies."""
        await self.may_answer.wait()
        return await super().top(window, limit)


def warmed_up(client: Client) -> None:
    """Start the warming up of a service in process, and wait for its end."""
    state = client.front.api.state  # type: ignore[attr-defined]

    async def warm() -> None:
        state.warming.start()
        while state.warming.reason is not None:
            await asyncio.sleep(0.001)
        await state.warming.close()

    client._loop.run_until_complete(asyncio.wait_for(warm(), 10))


def cache_status(answer: httpx.Response) -> str:
    return str(answer.headers["cache-status"])


def test_the_first_get_of_a_popular_movie_is_a_hit(movies: Client) -> None:
    counted({3: 9, 7: 5})
    before = WARMED._value.get()

    warmed_up(movies)

    answers = [movies.get(f"/v1/movies/{movie_id}") for movie_id in (3, 7, 1)]
    assert [cache_status(answer) for answer in answers] == ["matinee-local; hit"] * 2 + ["matinee-local; fwd=uri-miss; stored"]
    assert [answer.json()["id"] for answer in answers] == [3, 7, 1]
    assert (WARMED._value.get() - before, WARM_UP_S._value.get() > 0) == (2, True)
    assert (movies.runtime.local.hits, movies.runtime.local.misses) == (2, 1)


def test_all_are_read_in_one_statement(movies: Client) -> None:
    counted({movie_id: 2 + movie_id for movie_id in range(1, 13)})
    before = movies.reader.statements

    warmed_up(movies)

    assert movies.reader.statements - before == 3  # which ones, how far the log is, the movies
    assert len(movies.runtime.local.policy) == 12


def test_a_warm_answer_is_as_every_other_one(movies: Client) -> None:
    counted({3: 9})
    cold = movies.get("/v1/movies/3")
    movies.runtime.local.policy.clear()

    warmed_up(movies)

    warm = movies.get("/v1/movies/3")
    of_the_moment = ("x-request-id", "cache-status", "matinee-staleness")
    assert [(name, value) for name, value in warm.headers.items() if name not in of_the_moment] == [
        (name, value) for name, value in cold.headers.items() if name not in of_the_moment
    ]
    assert (warm.content, movies.get("/metrics").status_code) == (cold.content, 200)


def test_movies_that_are_gone_are_passed_over(movies: Client) -> None:
    counted({1: 9, 2: 8, 3: 7})
    writes.delete(1, "tests", None)
    writes.merge(2, 4, "tests")

    warmed_up(movies)

    assert cache_status(movies.get("/v1/movies/3")) == "matinee-local; hit"


@pytest.mark.parametrize(
    "changes", [{"warm_movies": 0}, {"local_cache_bytes": 0}, {"popularity": False}], ids=lambda changes: next(iter(changes))
)
def test_where_there_is_nothing_to_load_or_to_keep_a_server_is_ready_at_once(
    small_catalogue: Path, changes: dict[str, Any]
) -> None:
    counted({3: 9})
    with Client(configuration.load(home=small_catalogue), **changes) as movies:
        before = movies.reader.statements
        warmed_up(movies)

        assert movies.reader.statements == before
        assert movies.get("/readyz").json()["status"] == "ready"


def test_no_more_are_loaded_than_the_setting_says(small_catalogue: Path) -> None:
    counted({movie_id: 2 + movie_id for movie_id in range(1, 13)})
    with Client(configuration.load(home=small_catalogue), warm_movies=5) as movies:
        warmed_up(movies)

        assert set(movies.runtime.local.policy.hottest(100)) == {f"/v1/movies/{movie_id}" for movie_id in range(8, 13)}


def test_a_server_is_not_ready_while_it_warms_up_and_answers_all_the_same(movies: Client) -> None:
    state, held = movies.front.api.state, HeldCounts()  # type: ignore[attr-defined]
    movies.runtime.popularity = held

    async def begin() -> None:
        state.warming.start()

    movies._loop.run_until_complete(begin())
    unready, read = movies.get("/readyz"), movies.get("/v1/movies/1")
    held.may_answer.set()
    ready = eventually(lambda: movies.get("/readyz"), lambda answer: answer.status_code == 200)

    assert (unready.status_code, unready.json()["status"], unready.json()["reason"]) == (503, "not ready", REASON)
    assert (read.status_code, ready.json()["status"], ready.json()["reason"]) == (200, "ready", None)


def test_what_takes_too_long_is_broken_off(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "WITHIN_S", 0.05)
    movies.runtime.popularity = HeldCounts()

    warmed_up(movies)

    assert movies.get("/readyz").json()["status"] == "ready"


def test_counts_that_cannot_be_asked_keep_no_server_from_its_work(movies: Client) -> None:
    movies.runtime.popularity = counts = MemoryCounts()
    counts.away = "it is away"

    warmed_up(movies)

    assert movies.get("/readyz").json()["status"] == "ready"


@pytest.fixture
def counted_server(small_catalogue: Path) -> Iterator[Server]:
    """Return a real server that finds counts when it starts."""
    counted({7: 50, 3: 9})
    with start_server(small_catalogue) as running_server:
        yield running_server


def test_a_real_server_has_the_most_popular_movies_when_it_is_ready(counted_server: Server) -> None:
    answers = [counted_server.get(f"/v1/movies/{movie_id}") for movie_id in (7, 3)]

    assert [cache_status(answer) for answer in answers] == ["matinee-local; hit"] * 2
    assert "matinee_warm_up_movies_total 2.0" in counted_server.get("/metrics").text.splitlines()


def test_a_real_server_hands_its_counts_over_when_it_ends(small_catalogue: Path) -> None:
    with start_server(small_catalogue) as server:
        for movie_id in (5, 5, 5, 2):
            server.get(f"/v1/movies/{movie_id}")

    assert list(models.MoviePopularity.objects.values_list("movie_id", flat=True)) == [5]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TierServer]:
    """Return a Redis of this module."""
    with running(RedisServer, tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_the_shared_tier_is_warmed_for_all_and_a_server_warms_up_from_it(redis: TierServer, small_catalogue: Path) -> None:
    redis.flush()
    config = configuration.load(home=small_catalogue, redis_url=redis.url, shared_cache_deadline_ms=5_000)

    async def warm() -> list[int]:
        parts = runtime.build(config)
        try:
            await parts.popularity.add(dict.fromkeys(range(1, 11), 2), time.time())
            return [await warm_shared(parts.catalogue, parts.popularity, most) for most in (100, 4)]
        finally:
            await parts.close()

    assert asyncio.run(warm()) == [10, 4]
    with Client(config) as movies:
        movies.reader._source.statements = 0
        warmed_up(movies)

        assert cache_status(movies.get("/v1/movies/10")) == "matinee-local; hit"
        assert movies.reader.statements == 2  # how far the log is, and its past: the movies came from the shared tier


def test_without_a_shared_tier_there_is_nothing_to_warm_for_all(movies: Client) -> None:
    counted({3: 9})

    held = movies._loop.run_until_complete(warm_shared(movies.runtime.catalogue, movies.runtime.popularity, 10))

    assert held == 0
