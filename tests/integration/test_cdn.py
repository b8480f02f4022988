"""What a CDN in front is told: lifetimes, tags, and which tags a change drops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee.http.cdn import dropped_by
from matinee.storage import models
from matinee.write import movies as writes
from matinee.write import names, purges
from tests.client import Client
from tests.integration.test_local_cache import away
from tests.movies import record
from tests.processes import eventually, start_server

LIFETIME, TAGS = "cdn-cache-control", "surrogate-key"
PAGES = {
    "/v1/movies/1": "movie-1 everything",
    "/v1/movies/imdb:tt0078748": "movie-1 everything",
    "/v1/movies?limit=3": "lists everything",
    "/v1/movies?ids=1,2": "lists everything",
    "/v1/search?q=alien": "lists everything",
    "/v1/suggest?q=sc": "lists everything",
    "/v1/people/1": "person-1 lists everything",
    "/v1/genres": "lists everything",
}


@pytest.fixture
def behind(small_catalogue: Path) -> Iterator[Client]:
    """Return the service behind a CDN."""
    with Client(configuration.load(home=small_catalogue), cdn_max_age_s=600) as client:
        yield client


def told(client: Client, path: str, **headers: str) -> tuple[int, str | None, str | None]:
    """Return the status of an answer, and what it tells a CDN."""
    answer = client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return answer.status_code, answer.headers.get(LIFETIME), answer.headers.get(TAGS)


def kept_by_server(client: Client, path: str, encoding: str = "identity") -> Any:
    """Ask until the answer comes from what the server keeps; return it."""

    def answer() -> Any:
        return client.get(path, headers={"accept-encoding": encoding})

    return eventually(answer, lambda seen: seen.headers["cache-status"] == "matinee-local; hit")


def test_every_public_read_says_how_long_it_may_be_kept_and_what_it_shows(behind: Client) -> None:
    first = {path: told(behind, path) for path in PAGES}
    hits = {path: told(behind, path) for path in PAGES}

    assert first == {path: (200, "public, max-age=600", tags) for path, tags in PAGES.items()}
    assert hits == first


@pytest.mark.parametrize("encoding", ["identity", "br", "gzip"])
def test_a_304_says_the_same_in_every_form(behind: Client, encoding: str) -> None:
    path = "/v1/movies?limit=3"
    kept = kept_by_server(behind, path, encoding)

    again = told(behind, path, accept_encoding=encoding, if_none_match=kept.headers["etag"])

    assert kept.headers.get("content-encoding", "identity") == encoding
    assert again == (304, "public, max-age=600", "lists everything")


def test_the_address_of_a_merged_movie_has_the_tags_of_what_may_send_it_elsewhere(behind: Client) -> None:
    position = writes.merge(2, 1, "tests").position

    moved = told(behind, "/v1/movies/2", matinee_min_position=str(position))

    assert moved == (301, "public, max-age=600", "movie-1 lists everything")


def test_what_is_trending_is_kept_no_longer_than_by_a_server(behind: Client) -> None:
    assert told(behind, "/v1/trending") == (200, "public, max-age=10", "lists everything")


def test_an_answer_that_is_only_given_because_nothing_can_be_read_is_not_for_a_cdn(
    behind: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = kept_by_server(behind, "/v1/movies/1").headers[LIFETIME]
    away(behind, monkeypatch)

    old = behind.get("/v1/movies/1")

    assert kept == "public, max-age=600"
    assert old.headers["cache-status"] == "matinee-local; hit; detail=stale-if-error"
    assert (old.status_code, old.headers.get(LIFETIME), old.headers[TAGS]) == (200, None, "movie-1 everything")


def test_a_server_that_keeps_nothing_itself_tells_a_cdn_the_same(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), cdn_max_age_s=600, local_cache_bytes=0) as client:
        answers = {path: told(client, path) for path in PAGES}

    assert answers == {path: (200, "public, max-age=600", tags) for path, tags in PAGES.items()}


def test_what_is_not_there_and_the_log_are_nothing_for_a_cdn(behind: Client) -> None:
    for path in ("/v1/movies/99", "/v1/changes", "/readyz"):
        assert told(behind, path)[1:] == (None, None)


def test_without_a_lifetime_only_the_tags_are_told(movies: Client) -> None:
    assert told(movies, "/v1/movies/1") == (200, None, "movie-1 everything")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("cache-tag", {"cache-tag": "person-1,lists,everything"}), ("none", {})],
)
def test_the_tags_stand_in_the_header_that_the_settings_name(
    small_catalogue: Path, setting: str, expected: dict[str, str]
) -> None:
    with Client(configuration.load(home=small_catalogue), cdn_tags=setting) as client:
        headers = client.get("/v1/people/1").headers

    assert {name: value for name, value in headers.items() if name in (TAGS, "cache-tag")} == expected


def test_reads_that_need_a_key_tell_a_cdn_nothing(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), cdn_max_age_s=600, public_reads=False) as client:
        answers = [told(client, path, authorization=f"Bearer {client.key}") for path in PAGES]

    assert answers == [(200, None, None)] * len(PAGES)


def test_a_page_that_is_served_while_it_is_read_anew_is_not_kept_by_a_cdn(small_catalogue: Path) -> None:
    with start_server(small_catalogue, MATINEE_CDN_MAX_AGE_S="600") as server:

        def page() -> tuple[str, str | None, str]:
            headers = server.get("/v1/movies?limit=3").headers
            return headers["cache-status"].removeprefix("matinee-local; "), headers.get(LIFETIME), headers[TAGS]

        kept = eventually(page, lambda seen: seen[0] == "hit")
        purges.purge(1, "tests")
        doubtful = eventually(page, lambda seen: seen[0] != "hit")
        renewed = eventually(page, lambda seen: seen[0] == "hit")

    assert doubtful == ("hit; detail=stale-while-revalidate", None, "lists everything")
    assert kept == renewed == ("hit", "public, max-age=600", "lists everything")


def create(client: Client) -> None:
    writes.create(record(title="Heat", genres=["Crime"], directors=["Michael Mann"], popularity=99.5).content, "tests")


def rename_person(client: Client) -> None:
    person = models.Person.objects.get(name="Ridley Scott")
    names.rename_person(person.id, "Ridley Scöt", person.version, "tests")


def rename_genre(client: Client) -> None:
    genre = models.Facet.objects.get(name="Sci-Fi")
    names.rename_genre(genre.id, "Science Fiction", genre.version, "tests")


def patch(client: Client) -> None:
    writes.patch(1, {"title": "Alien 1", "ids": {"imdb": "tt7777777"}}, "tests", None)


def merge(client: Client) -> None:
    writes.merge(2, 3, "tests")


def merge_further(client: Client) -> None:
    writes.merge(4, 1, "tests")


def delete(client: Client) -> None:
    writes.delete(1, "tests", None)


@pytest.mark.parametrize("change", [create, rename_person, rename_genre, patch, merge, merge_further, delete])
def test_whatever_a_change_alters_has_a_tag_that_it_drops(behind: Client, change: Any) -> None:
    writes.merge(6, 4, "tests")
    paths = [*PAGES, *(f"/v1/movies/{number}" for number in range(2, 13)), "/v1/people/2", "/v1/movies/imdb:tt0090605"]
    since = behind.get("/readyz").json()["dependencies"][0]["position"]
    before = {path: behind.get(path, headers={"matinee-min-position": str(since)}) for path in paths}

    change(behind)

    newest = str(models.LogHead.objects.get(pk=1).position)
    after = {path: behind.get(path, headers={"matinee-min-position": newest}) for path in paths}
    log = behind.get(f"/v1/changes?since={since}&limit=100", headers={"matinee-min-position": newest}).json()["items"]
    dropped = {tag for item in log for tag in dropped_by(item["subject"], item["subject_id"])}
    altered = [path for path in paths if shown(before[path]) != shown(after[path])]
    assert altered
    assert [path for path in altered if dropped.isdisjoint(before[path].headers[TAGS].split())] == []


def shown(answer: Any) -> tuple[int, bytes, str | None]:
    return answer.status_code, answer.content, answer.headers.get("location")


def test_a_purge_drops_what_it_names() -> None:
    assert dropped_by("cache", 5) == ("movie-5", "lists")
    assert dropped_by("cache", 0) == ("everything",)


def test_a_cache_in_front_is_told_how_long_it_may_answer_again_but_not_of_what_is_old(
    small_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(configuration.load(home=small_catalogue), s_maxage_s=1) as client:
        kept = kept_by_server(client, "/v1/movies/1").headers["cache-control"]
        away(client, monkeypatch)
        old = client.get("/v1/movies/1").headers["cache-control"]

    assert kept == "max-age=0, public, s-maxage=1, stale-while-revalidate=1, must-revalidate"
    assert old == "max-age=0, public, must-revalidate"


def test_of_reads_that_need_a_key_no_cache_in_front_may_answer_again(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), s_maxage_s=1, public_reads=False) as client:
        answer = client.get("/v1/movies/1", headers={"authorization": f"Bearer {client.key}"})

    assert answer.headers["cache-control"] == "private, max-age=0, must-revalidate"


def test_the_log_of_changes_is_asked_for_anew_by_every_cache(small_catalogue: Path) -> None:
    with Client(configuration.load(home=small_catalogue), s_maxage_s=1) as client:
        answer = client.get("/v1/changes?since=0")

    assert answer.headers["cache-control"] == "public, max-age=0, must-revalidate"
