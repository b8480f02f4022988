"""GET /v1/trending: what was asked for comes first, what is gone is left out, and asking changes nothing of the catalogue."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.cache.counting import Counting
from matinee.domain.popularity import HALF_LIVES_S, score
from matinee.errors import LeaderUnavailable
from matinee.storage import models
from matinee.storage.leader_state import leader
from matinee.write import movies as writes
from matinee.write import popularity
from tests.client import Client

HOUR_S = 3600


def counted(counts: dict[int, int], ago_s: float = 0.0) -> None:
    """Count accesses of some time ago, as some process would."""
    at_s = time.time() - ago_s
    popularity.add(sorted(counts.items()), at_s)


def ids(movies: Client, path: str = "/v1/trending") -> list[int]:
    response = movies.get(path)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


def test_nothing_is_trending_before_anything_is_asked_for(movies: Client) -> None:
    assert movies.get("/v1/trending").json() == {"items": [], "next_cursor": None, "has_more": False}


def test_the_most_asked_for_come_first_as_cards_of_one_page(movies: Client) -> None:
    counted({3: 5, 7: 9, 1: 2})

    trending = movies.get("/v1/trending").json()

    listed = movies.get("/v1/movies?ids=7,3,1").json()
    assert trending == {"items": listed["items"], "next_cursor": None, "has_more": False}


def test_a_day_forgets_sooner_than_a_week(movies: Client) -> None:
    counted({1: 100}, ago_s=24 * HOUR_S)
    counted({2: 50}, ago_s=12 * HOUR_S)
    counted({3: 20})

    assert [ids(movies, f"/v1/trending{query}") for query in ("", "?window=day", "?window=week")] == [
        [3, 2, 1], [3, 2, 1], [1, 2, 3],
    ]  # fmt: skip


@pytest.mark.parametrize(("query", "length"), [("", 12), ("?limit=1", 1), ("?limit=5&window=week", 5), ("?limit=100", 12)])
def test_a_page_has_as_many_as_were_asked_for_and_never_a_next_one(movies: Client, query: str, length: int) -> None:
    counted({movie_id: 2 + movie_id for movie_id in range(1, 13)})

    page = movies.get(f"/v1/trending{query}")

    assert [item["id"] for item in page.json()["items"]] == list(range(12, 12 - length, -1))
    assert (page.json()["next_cursor"], page.json()["has_more"], page.headers.get("link")) == (None, False, None)


def test_movies_that_are_gone_are_left_out_and_the_page_stays_full(movies: Client) -> None:
    counted({movie_id: 2 + movie_id for movie_id in range(1, 13)} | {999_999: 1_000})
    writes.delete(12, "tests", None)
    writes.merge(11, 10, "tests")

    assert ids(movies, "/v1/trending?limit=3") == [10, 9, 8]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("window=month", "window 'month' is no window. Windows: day, week."),
        ("window=weak", "window 'weak' is no window; did you mean 'week'? Windows: day, week."),
        ("limit=0", "limit '0' is not a whole number from 1 to 100."),
        ("cursor=abc", "There is no parameter 'cursor'. Known: window, limit."),
        ("window=day&window=week", "window stands 2 times; give it once."),
    ],
)
def test_a_faulty_parameter_is_refused_with_a_remedy(movies: Client, query: str, detail: str) -> None:
    response = movies.get(f"/v1/trending?{query}")

    assert (response.status_code, response.json()["detail"]) == (400, detail)


def test_a_page_is_kept_for_ten_seconds_whatever_is_counted_and_then_read_anew(movies: Client) -> None:
    counted({1: 5})
    movies.get("/v1/genres")  # the first answer of a process is not kept: the log has only just begun
    first = movies.get("/v1/trending")
    counted({2: 9})
    second = movies.get("/v1/trending")
    tier = movies.runtime.local
    ends_in_s = tier.policy.peek("/v1/trending").expires_s - time.monotonic()
    tier.policy.peek("/v1/trending").expires_s = time.monotonic()
    third = movies.get("/v1/trending")

    assert second.headers["cache-status"] == "matinee-local; hit"
    assert second.json() == first.json()
    assert 0 < ends_in_s <= 10
    assert third.headers["cache-status"] == "matinee-local; fwd=stale; stored"
    assert [item["id"] for item in third.json()["items"]] == [2, 1]
    assert (tier.expiries, tier.invalidations) == (1, 0)


def test_who_has_the_page_gets_304(movies: Client) -> None:
    counted({1: 5})
    etag = movies.get("/v1/trending").headers["etag"]

    again = movies.get("/v1/trending", headers={"if-none-match": etag})

    assert (again.status_code, again.content) == (304, b"")


def test_a_change_of_a_movie_on_the_page_is_seen(movies: Client) -> None:
    counted({1: 5})
    movies.get("/v1/trending")

    written = movies.write("PATCH", "/v1/movies/1", {"title": "Alien, again"}, if_match="*")
    shown = movies.get("/v1/trending", headers={"matinee-min-position": written.headers["matinee-position"]})

    assert [item["title"] for item in shown.json()["items"]] == ["Alien, again"]


def test_what_is_read_is_counted_hit_or_not_and_what_is_not_there_is_not(movies: Client) -> None:
    for path in ("1", "1", "1", "2", "999999", "999999", "imdb:tt0078748"):
        movies.get(f"/v1/movies/{path}")

    assert movies.runtime.counts == {1: 4, 2: 1}


def flush(movies: Client) -> None:
    movies._loop.run_until_complete(Counting(movies.runtime.counts, movies.runtime.popularity).flush())


def test_what_is_read_twice_is_trending_after_a_flush(movies: Client) -> None:
    for movie_id in (5, 5, 4, 3, 3, 3):
        movies.get(f"/v1/movies/{movie_id}")
    flush(movies)

    assert ids(movies) == [3, 5]


def test_counting_takes_no_position_and_leaves_no_change(movies: Client) -> None:
    before = list(models.LogHead.objects.values()), list(models.Change.objects.values())
    position = movies.get("/v1/movies/1").headers["matinee-position"]
    movies.get("/v1/movies/1")
    flush(movies)

    assert models.MoviePopularity.objects.count() == 1
    assert (list(models.LogHead.objects.values()), list(models.Change.objects.values())) == before
    after = movies.get("/v1/movies/1")
    assert (after.headers["matinee-position"], after.headers["cache-status"]) == (position, "matinee-local; hit")


def test_a_flush_is_not_even_tried_while_the_leader_is_away(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    counted({1: 5})
    monkeypatch.setattr(leader, "away", "it does not answer")
    monkeypatch.setattr(popularity.popularity, "add", None)

    with pytest.raises(LeaderUnavailable):
        popularity.add([(1, 2)], time.time())
    movies.runtime.counts.update({1: 2})
    flush(movies)

    assert (movies.runtime.counts, ids(movies)) == ({}, [1])


@pytest.mark.sqlite_only("a file can be taken away")
def test_a_file_that_is_not_there_is_not_made_by_a_flush(movies: Client) -> None:
    path = movies.config.database_path
    path.rename(path.with_name("away"))

    with pytest.raises(LeaderUnavailable):
        popularity.add([(1, 2)], time.time())

    assert not path.exists()


def test_with_popularity_off_nothing_is_counted_or_shown(small_catalogue: Path) -> None:
    counted({1: 5})
    with Client(configuration.load(home=small_catalogue, popularity=False)) as movies:
        for _ in range(3):
            movies.get("/v1/movies/2")
        flush(movies)

        assert (ids(movies), movies.runtime.counts, movies.runtime.popularity.name) == ([], {}, "none")
    assert models.MoviePopularity.objects.count() == 1


def test_with_memcached_the_database_counts(small_catalogue: Path) -> None:
    config = configuration.load(home=small_catalogue, memcached_url="memcached://127.0.0.1:1")
    counted({1: 5})
    with Client(config) as movies:
        assert (movies.runtime.popularity.name, ids(movies)) == ("database", [1])


def test_a_catalogue_that_cannot_be_read_is_told_and_not_shown_as_empty(movies: Client, monkeypatch: Any) -> None:
    counted({1: 5})
    broken = movies.reader._source
    monkeypatch.setattr(broken, "rows", _unreadable)

    assert movies.get("/v1/trending").status_code == 503
    assert asyncio.run(movies.runtime.popularity.top("day", 5)) == []


async def _unreadable(*_: Any) -> Any:
    from matinee.errors import NoReaderAvailable

    raise NoReaderAvailable("It is away.")


YEAR_S = 365 * 24 * HOUR_S


def test_scores_that_were_written_while_the_clock_was_a_year_ahead_lead_nothing_and_are_mended_at_the_next_flush(
    movies: Client,
) -> None:
    ahead_s = time.time() + YEAR_S
    models.MoviePopularity.objects.create(movie_id=1, day=score(2, ahead_s, "day"), week=score(2, ahead_s, "week"), at=ahead_s)
    models.MoviePopularity.objects.create(movie_id=4, day=1e300, week=1e300)  # from before the time was kept, or damaged
    before = movies._loop.run_until_complete(movies.runtime.popularity.top("day", 9))
    counted({2: 50})
    counted({1: 4, 3: 3})

    after = movies._loop.run_until_complete(movies.runtime.popularity.top("week", 9))
    assert before == []
    assert [(movie, round(worth)) for movie, worth in after] == [(2, 50), (1, 6), (3, 3), (4, 2)]
    assert [ids(movies, f"/v1/trending?window={window}") for window in HALF_LIVES_S] == [[2, 1, 3, 4]] * 2


def test_a_clock_that_jumps_back_makes_old_counts_old_and_new_ones_count(
    movies: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted({1: 1_000})
    monkeypatch.setattr(popularity.popularity, "_now_s", lambda: time.time() - YEAR_S)
    counted({1: 2, 2: 5}, ago_s=YEAR_S)
    monkeypatch.undo()
    counted({3: 2})

    assert ids(movies) == [3, 1, 2]
