"""The local tier as a client sees it: what is a hit, what it says of itself, and when it is none any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from matinee import config as configuration
from matinee.errors import NoReaderAvailable
from matinee.storage.leader_state import leader
from tests.client import Client
from tests.processes import eventually

HIT, MISS = "matinee-local; hit", "matinee-local; fwd=uri-miss; stored"
MOVIE = "/v1/movies/1"
PATHS = [MOVIE, "/v1/movies/imdb:tt0078748", "/v1/movies?ids=1,2", "/v1/movies?genre=Drama", "/v1/search?q=alien",
         "/v1/suggest?q=al", "/v1/people/1", "/v1/genres"]  # fmt: skip


@pytest.fixture
def movies(small_catalogue: Path) -> Iterator[Client]:
    """Return the service over the small catalogue, which has followed the log to its end."""
    with Client(configuration.load(home=small_catalogue)) as client:
        client.get("/readyz")
        eventually(lambda: client.get("/livez") and client.runtime.catalogue.known(), lambda known: known is not None)
        yield client


def told(response: httpx.Response) -> str:
    return response.headers["cache-status"]


@pytest.mark.parametrize("path", PATHS)
def test_the_second_answer_is_a_hit_of_the_same_bytes_without_a_query(movies: Client, path: str) -> None:
    first, before = movies.get(path), movies.reader.statements

    second = movies.get(path)

    assert [told(first), told(second)] == [MISS, HIT]
    assert (second.content, second.headers["etag"]) == (first.content, first.headers["etag"])
    assert movies.reader.statements == before
    assert {name for name in first.headers if name not in second.headers} == set()


def test_a_hit_knows_its_etag_and_answers_head(movies: Client) -> None:
    etag = movies.get(MOVIE).headers["etag"]

    known, head = movies.get(MOVIE, headers={"if-none-match": etag}), movies.request("HEAD", MOVIE)

    assert (known.status_code, known.content, known.headers["etag"], told(known)) == (304, b"", etag, HIT)
    assert (head.status_code, head.content, told(head)) == (200, b"", HIT)
    assert head.headers["content-length"] == str(len(movies.get(MOVIE).content))


def test_a_hit_says_its_age_its_position_and_how_stale_it_may_be(movies: Client) -> None:
    movies.get(MOVIE)

    hit = movies.get(MOVIE)

    assert (told(hit), hit.headers["age"], hit.headers["matinee-position"]) == (HIT, "0", "12")
    assert 0 <= float(hit.headers["matinee-staleness"]) < 5


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_a_hit_is_compressed_once_and_has_an_etag_of_its_own(movies: Client, encoding: str) -> None:
    plain = movies.get(MOVIE)

    packed = movies.get(MOVIE, headers={"accept-encoding": f"{encoding}, identity;q=0.1"})
    known = movies.get(MOVIE, headers={"if-none-match": packed.headers["etag"]})
    written = movies.write("PATCH", MOVIE, {"year": 1980}, if_match=packed.headers["etag"], content_type="application/json")

    assert (packed.headers["content-encoding"], packed.headers["vary"], told(packed)) == (encoding, "Accept-Encoding", HIT)
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + f'-{encoding}"'
    assert packed.content == plain.content  # the client has unpacked it
    assert int(packed.headers["content-length"]) < len(plain.content)
    assert (known.status_code, written.status_code) == (304, 200)


def test_a_write_is_seen_by_the_next_get_of_the_same_process(movies: Client) -> None:
    pages = ["/v1/movies?year=1999", "/v1/search?q=alien"]
    before = {path: movies.get(path).json() for path in [MOVIE, *pages]}

    movies.write("PATCH", MOVIE, {"year": 1999}, if_match="*", content_type="application/json")

    after = {path: movies.get(path).json() for path in [MOVIE, *pages]}
    assert (before[MOVIE]["year"], after[MOVIE]["year"]) == (1979, 1999)
    assert [len(side["/v1/movies?year=1999"]["items"]) for side in (before, after)] == [0, 1]
    assert after["/v1/search?q=alien"]["items"][0]["year"] == 1999


def test_what_was_not_there_is_kept_as_an_answer_until_anything_changes(movies: Client) -> None:
    first, before = movies.get("/v1/movies/13"), movies.reader.statements
    second, asked = movies.get("/v1/movies/13"), movies.reader.statements

    movies.write("POST", "/v1/movies", {"title": "Thirteen"})

    assert [first.status_code, second.status_code, movies.get("/v1/movies/13").status_code] == [404, 404, 200]
    assert asked == before


def test_a_deleted_movie_is_gone_at_once_and_a_merged_one_moved(movies: Client) -> None:
    for number in (1, 2):
        movies.get(f"/v1/movies/{number}")

    movies.write("DELETE", "/v1/movies/1", if_match="*")
    movies.write("POST", "/v1/movies/2/merge", {"into": 3})

    assert movies.get("/v1/movies/1").status_code == 410
    moved = eventually(lambda: movies.get("/v1/movies/2"), lambda answer: told(answer) == HIT)
    assert (moved.status_code, moved.headers["location"]) == (301, "http://testserver/v1/movies/3")


def test_a_process_that_writes_gives_hits_again_long_before_its_next_look_is_due(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), change_tail_interval_ms=10_000) as movies:
        eventually(lambda: told(movies.get("/v1/movies/2")), lambda seen: seen == HIT)

        written = movies.write("PATCH", MOVIE, {"title": "Another title"}, if_match="*")

        assert written.status_code == 200, written.text
        # Between its write and its own log's word of it nothing that is kept is given.
        eventually(lambda: told(movies.get("/v1/movies/2")), lambda seen: seen == HIT, 5)


def test_a_page_is_served_for_a_moment_after_somebody_elses_change_while_it_is_read_anew(movies: Client) -> None:
    path = "/v1/movies?sort=added&limit=1"
    movies.get(path)
    movies.write("POST", "/v1/movies", {"title": "Thirteen"})
    leader.forget_writes()  # as if another process had written it

    meanwhile = eventually(lambda: movies.get(path), lambda answer: told(answer) != HIT)
    anew = eventually(lambda: movies.get(path), lambda answer: told(answer) == HIT)

    assert told(meanwhile) == "matinee-local; hit; detail=stale-while-revalidate"
    assert (meanwhile.headers["matinee-position"], meanwhile.json()["items"][0]["title"]) == ("12", "Untitled Project")
    assert anew.json()["items"][0]["title"] == "Thirteen"


def test_who_shows_a_position_that_the_log_has_not_reached_gets_no_hit(movies: Client) -> None:
    movies.get(MOVIE)

    future = movies.get(MOVIE, headers={"matinee-min-position": "99"})
    present = movies.get(MOVIE, headers={"matinee-min-position": "12"})

    assert (future.status_code, told(present)) == (400, HIT)


def test_when_nothing_can_be_read_an_old_answer_is_given_and_says_so(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    movies.get(MOVIE)
    away(movies, monkeypatch)

    old, never_asked = movies.get(MOVIE), movies.get("/v1/movies/2")

    assert (old.status_code, told(old)) == (200, "matinee-local; hit; detail=stale-if-error")
    assert old.headers["matinee-staleness"].endswith("; unverified")
    assert (never_asked.status_code, never_asked.headers["retry-after"]) == (503, "1")


def test_an_old_answer_is_not_given_to_who_shows_a_newer_position_or_wants_it_fresh(
    movies: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    movies.get(MOVIE)
    away(movies, monkeypatch)

    assert movies.get(MOVIE, headers={"matinee-min-position": "13"}).status_code == 503
    assert movies.get(MOVIE, headers={"cache-control": "max-stale=0"}).status_code == 503


def away(movies: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be read any more."""

    async def rows(*_: object) -> None:
        raise NoReaderAvailable("Away.")

    monkeypatch.setattr(type(movies.reader._source), "rows", rows)
    monkeypatch.setattr(type(movies.reader._source), "known", lambda _: None)


def test_without_bytes_there_is_no_tier_and_nothing_is_said_of_one(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), local_cache_bytes=0) as client:
        answers = [client.get(MOVIE) for _ in range(2)]

        assert client.reader.statements == 2
    assert ["cache-status" in answer.headers for answer in answers] == [False, False]


def test_the_numbers_of_the_tier_stand_in_the_metrics(movies: Client) -> None:
    for _ in range(3):
        movies.get(MOVIE)

    text = movies.get("/metrics").text

    labels = '{policy="s3fifo",tier="local"}'
    assert f"matinee_cache_entries{labels} 1.0" in text
    assert f"matinee_cache_hits_total{labels}" in text
