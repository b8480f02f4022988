"""A purge by hand: one row in the log, by which whoever keeps something drops it, and nothing else."""

from __future__ import annotations

import pytest

from matinee.domain.ids import ExternalId
from matinee.errors import NotFound
from matinee.storage.models import MovieDocument
from matinee.write import movies as writes
from matinee.write import purges
from tests.client import Client
from tests.processes import eventually


def cache_status(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.headers["cache-status"].removeprefix("matinee-local; ")


def keep(client: Client, *paths: str) -> None:
    """Ask until each answer comes from the cache."""
    for path in paths:
        eventually(lambda path=path: cache_status(client, path), lambda status: status == "hit")


def test_a_purge_is_a_change_with_a_position_that_touches_no_document(movies: Client) -> None:
    before = list(MovieDocument.objects.order_by("movie_id").values())

    one, everything = purges.purge(5, "tests"), purges.purge(None, "tests")

    log = movies.get("/v1/changes?since=12").json()
    at = [item.pop("at") for item in log["items"]]
    same = {"subject": "cache", "kind": "purged", "version": 0, "fields": [], "into": None}
    assert (one, everything) == ((13, 5), (14, 0))
    assert log["items"] == [same | {"position": 13, "subject_id": 5}, same | {"position": 14, "subject_id": 0}]
    assert all(moment.endswith("Z") for moment in at)
    assert list(MovieDocument.objects.order_by("movie_id").values()) == before


def test_a_movie_is_purged_by_its_id_in_another_catalogue_and_also_when_it_is_gone(movies: Client) -> None:
    writes.merge(2, 1, "tests")
    writes.delete(3, "tests", None)

    purged = [purges.purge(ref, "tests").movie_id for ref in (ExternalId("imdb", "tt0078748"), 2, 3)]

    assert purged == [1, 2, 3]


@pytest.mark.parametrize("ref", [0, 13, ExternalId("imdb", "tt9999999")])
def test_a_movie_that_never_was_is_not_purged_and_never_everything(movies: Client, ref: int | ExternalId) -> None:
    with pytest.raises(NotFound, match=f"There is no movie {ref}, and nothing is purged"):
        purges.purge(ref, "tests")

    assert movies.get("/v1/changes?since=12").json()["items"] == []


def test_a_purged_movie_is_read_anew_and_is_as_it_was(movies: Client) -> None:
    keep(movies, "/v1/movies/1")
    kept = movies.get("/v1/movies/1")

    purges.purge(1, "tests")

    purged = movies.get("/v1/movies/1")
    assert purged.headers["cache-status"] == "matinee-local; fwd=stale; stored"
    assert (purged.headers["etag"], purged.content) == (kept.headers["etag"], kept.content)
    assert int(purged.headers["matinee-position"]) == 13


def test_a_purge_of_everything_reaches_movies_and_pages(movies: Client) -> None:
    paths = ("/v1/movies/1", "/v1/movies?limit=3", "/v1/people/1", "/v1/genres", "/v1/suggest?q=star")
    keep(movies, *paths)

    purges.purge(None, "tests")

    assert {path: cache_status(movies, path) for path in paths} == dict.fromkeys(paths, "fwd=stale; stored")
