"""POST, PUT, PATCH, DELETE and merge: what is acknowledged is there, has a position, and overwrites nobody unseen."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from matinee.storage.models import Change, Credit, Facet, IdempotentAnswer, LogHead, MovieDocument, MovieFacet
from matinee.write import batches, names
from tests.client import Client
from tests.movies import record


def table_counts() -> dict[str, int]:
    """Return how many rows the tables that a write touches have, and the position of the newest change of a movie."""
    tables: list[Any] = [Credit, MovieDocument, MovieFacet]
    changes = Change.objects.exclude(subject="key")
    counts = {table.__name__: table.objects.count() for table in tables}
    return counts | {"Change": changes.count(), "position": changes.latest("position").position}


def facet_counts_are_exact() -> bool:
    """Return whether the kept number of movies of every facet is the real one."""
    return all(facet.movies == MovieFacet.objects.filter(facet=facet).count() for facet in Facet.objects.all())


def test_a_new_movie_has_an_address_a_position_and_is_visible_to_the_next_get(client: Client) -> None:
    created = client.write("POST", "/v1/movies", {"title": "Alien", "directors": [{"name": "Ridley Scott"}]})

    read = client.get(created.headers["location"].removeprefix("http://testserver"))
    position = created.headers["matinee-position"]
    assert (created.status_code, created.headers["etag"]) == (201, f'"1.{position}"')
    assert (read.content, read.headers["etag"]) == (created.content, created.headers["etag"])


def test_put_replaces_all_and_what_is_not_stated_becomes_unknown(movies: Client) -> None:
    etag = movies.get("/v1/movies/1").headers["etag"]

    replaced = movies.write("PUT", "/v1/movies/1", {"title": "Alien", "year": 1980}, if_match=etag)

    document = replaced.json()
    assert (replaced.status_code, document["version"], document["year"]) == (200, 2, 1980)
    assert (document["ids"]["imdb"], document["genres"], document["cast"]) == (None, [], [])
    assert movies.get("/v1/movies/1").content == replaced.content


def test_a_movie_that_was_read_can_be_sent_back_as_it_is_and_makes_no_new_version(movies: Client) -> None:
    read = movies.get("/v1/movies/1")
    before = table_counts()

    written = movies.write("PUT", "/v1/movies/1", read.json(), if_match=read.headers["etag"])

    assert (written.status_code, written.content, table_counts()) == (200, read.content, before)


def test_patch_changes_what_is_stated_and_null_makes_it_unknown(movies: Client) -> None:
    read = movies.get("/v1/movies/1")
    patch = {"year": None, "rating": {"votes": 5}, "tagline": "In space"}

    patched = movies.write(
        "PATCH", "/v1/movies/1", patch, if_match=read.headers["etag"], content_type="application/merge-patch+json"
    )

    expected = read.json() | {"year": None, "rating": {"average": 8.5, "votes": 5}, "tagline": "In space", "version": 2}
    changed = {name: patched.json()[name] for name in ("position", "updated_at")}
    assert patched.json() == expected | changed


def test_a_write_without_if_match_is_428_and_with_an_old_one_412_that_tells_the_version(movies: Client) -> None:
    missing = movies.write("PATCH", "/v1/movies/1", {"year": 1}, content_type="application/merge-patch+json")
    stale = movies.write("PUT", "/v1/movies/1", {"title": "X"}, if_match='"7.99"')

    assert (missing.status_code, stale.status_code) == (428, 412)
    assert (stale.json()["current_version"], stale.headers["etag"]) == (1, movies.get("/v1/movies/1").headers["etag"])


def test_a_deleted_movie_is_gone_under_all_its_ids_and_its_last_content_stays_in_the_log(movies: Client) -> None:
    deleted = movies.write("DELETE", "/v1/movies/1", if_match="*")

    statuses = [movies.get(f"/v1/movies/{ref}").status_code for ref in ("1", "imdb:tt0078748", "tmdb:348")]
    change = Change.objects.get(position=deleted.headers["matinee-position"])
    assert (deleted.status_code, deleted.content, statuses) == (204, b"", [410, 410, 410])
    assert (change.kind, change.version, change.detail["before"]["title"]) == ("deleted", 2, "Alien")
    assert "Alien" not in movies.titles("/v1/search?q=alien")
    assert facet_counts_are_exact()


def test_the_id_of_a_deleted_movie_can_be_used_for_a_new_one(movies: Client) -> None:
    movies.write("DELETE", "/v1/movies/1", if_match="*")

    created = movies.write("POST", "/v1/movies", {"title": "Alien again", "ids": {"imdb": "tt0078748"}})

    assert created.status_code == 201
    assert movies.get("/v1/movies/imdb:tt0078748").json()["id"] == created.json()["id"] == 13


def test_an_id_that_a_live_movie_has_is_a_conflict_that_names_it(movies: Client) -> None:
    before = table_counts()

    refused = movies.write("POST", "/v1/movies", {"title": "Copy", "ids": {"imdb": "tt0078748"}})

    assert (refused.status_code, "movie 1" in refused.json()["detail"], table_counts()) == (409, True, before)


def test_a_merged_movie_leads_to_the_one_that_stays_and_so_do_its_ids(movies: Client) -> None:
    merged = movies.write("POST", "/v1/movies/1/merge", {"into": 3})

    moved = movies.get("/v1/movies/1")
    assert (merged.status_code, merged.json()["id"], merged.json()["ids"]["imdb"]) == (200, 3, "tt0078748")
    assert (moved.status_code, moved.headers["location"], moved.content) == (301, "http://testserver/v1/movies/3", b"")
    assert movies.get("/v1/movies/tmdb:348").json()["id"] == 3
    assert movies.titles("/v1/movies?ids=1,2") == ["Blade Runner", "Aliens"]
    assert facet_counts_are_exact()


def test_merges_of_merges_lead_to_the_end_at_once(movies: Client) -> None:
    movies.write("POST", "/v1/movies/1/merge", {"into": 3})
    movies.write("POST", "/v1/movies/3/merge", {"into": 4})

    assert movies.get("/v1/movies/1").headers["location"] == "http://testserver/v1/movies/4"


def test_a_movie_cannot_be_merged_into_itself(movies: Client) -> None:
    refused = movies.write("POST", "/v1/movies/1/merge", {"into": 1})

    assert (refused.status_code, movies.get("/v1/movies/1").status_code) == (409, 200)


def test_every_write_appends_one_change_and_a_merge_one_for_each_movie(movies: Client) -> None:
    before = LogHead.objects.get().position
    etag = movies.write("POST", "/v1/movies", {"title": "New"}).headers["etag"]
    movies.write("PUT", "/v1/movies/13", {"title": "Newer"}, if_match=etag)
    movies.write("POST", "/v1/movies/1/merge", {"into": 13})
    movies.write("DELETE", "/v1/movies/13", if_match="*")

    log = [
        (item["subject_id"], item["kind"], item["version"])
        for item in movies.get(f"/v1/changes?since={before}").json()["items"]
    ]
    keys = Change.objects.filter(subject="key").count()
    assert log == [(13, "created", 1), (13, "updated", 2), (1, "merged", 2), (13, "updated", 3), (13, "deleted", 4)]
    assert LogHead.objects.get().position == before + len(log) + keys


def test_a_refused_write_leaves_no_trace(movies: Client) -> None:
    movies.write("DELETE", "/v1/movies/12", if_match="*")
    before = table_counts()

    refused = movies.write(
        "POST", "/v1/movies", {"title": "X", "genres": ["New"], "directors": [{"name": "New"}, {"id": 99_999}]}
    )

    assert (refused.status_code, table_counts(), Facet.objects.filter(name="New").count()) == (409, before, 0)


def test_people_are_found_by_id_and_by_name_and_added_when_nobody_has_the_name(movies: Client) -> None:
    ridley = movies.get("/v1/movies/1").json()["directors"][0]

    created = movies.write(
        "POST", "/v1/movies", {"title": "X", "directors": [{"id": ridley["id"]}, {"name": "Ridley Scott"}, {"name": "Nova"}]}
    )

    directors = created.json()["directors"]
    assert directors == [ridley, {"id": directors[1]["id"], "name": "Nova"}]


def test_the_same_post_again_gets_the_same_answer_and_is_done_once(client: Client) -> None:
    first = client.write("POST", "/v1/movies", {"title": "Once"}, idempotency_key="k-1")
    second = client.write("POST", "/v1/movies", {"title": "Once"}, idempotency_key="k-1")

    assert (second.status_code, second.content, second.headers["etag"]) == (201, first.content, first.headers["etag"])
    assert ("idempotent-replayed" in first.headers, second.headers["idempotent-replayed"]) == (False, "true")
    assert MovieDocument.objects.count() == 1


def test_another_request_under_the_same_idempotency_key_is_refused(client: Client) -> None:
    client.write("POST", "/v1/movies", {"title": "Once"}, idempotency_key="k-1")

    other = client.write("POST", "/v1/movies", {"title": "Twice"}, idempotency_key="k-1")

    assert (other.status_code, MovieDocument.objects.count()) == (422, 1)


def test_an_idempotency_key_is_forgotten_after_a_day_and_after_a_refusal(client: Client) -> None:
    client.write("POST", "/v1/movies", {"title": "Once"}, idempotency_key="old")
    IdempotentAnswer.objects.update(created_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=24, seconds=1))
    client.write("POST", "/v1/movies", {"title": "X", "directors": [{"id": 5}]}, idempotency_key="refused")

    again = client.write("POST", "/v1/movies", {"title": "Twice"}, idempotency_key="old")
    after_refusal = client.write("POST", "/v1/movies", {"title": "X"}, idempotency_key="refused")

    assert (again.status_code, after_refusal.status_code, MovieDocument.objects.count()) == (201, 201, 3)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b'{"title":"X"}', 415),
        ("", b'{"title":"X"}', 415),
        ("application/json", b'{"title":', 400),
        ("application/json", b"\xff\xfe", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b'{"title":"X","year":1e999}', 400),
        ("application/json", b"x" * 1_100_000, 413),
        ("application/json", b'{"title":"\\u0000"}', 422),
        ("application/json", b"[]", 422),
        ("application/json; charset=utf-8", b'{"title":"X"}', 201),
    ],
)
def test_bodies_that_cannot_be_used_are_refused_for_what_they_are(
    client: Client, content_type: str, body: bytes, status: int
) -> None:
    headers = {"authorization": f"Bearer {client.key}", "content-type": content_type}

    response = client.request("POST", "/v1/movies", content=body, headers=headers)

    assert response.status_code == status, response.text


def test_a_body_without_a_stated_length_is_counted_as_it_comes(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100_000

    headers = {"authorization": f"Bearer {client.key}", "content-type": "application/json"}

    assert client.request("POST", "/v1/movies", content=chunks(), headers=headers).status_code == 413


def test_every_fault_of_a_document_has_its_json_pointer(client: Client) -> None:
    body = {"title": "", "year": "1979", "cast": [{"name": "A"}, {"character": "B"}], "titel": "X"}

    refused = client.write("POST", "/v1/movies", body)

    pointers = {error["pointer"] for error in refused.json()["errors"]}
    assert (refused.status_code, pointers) == (422, {"/title", "/year", "/cast/1", "/titel"})


def test_genre_counts_stay_exact_through_every_kind_of_write(movies: Client) -> None:
    movies.write("PUT", "/v1/movies/1", {"title": "A", "genres": ["Drama", "New"]}, if_match="*")
    movies.write("PATCH", "/v1/movies/2", {"genres": ["drama", "Drama"]}, if_match="*", content_type="application/json")
    movies.write("POST", "/v1/movies/3/merge", {"into": 4})
    movies.write("DELETE", "/v1/movies/5", if_match="*")

    assert facet_counts_are_exact()
    assert movies.get("/v1/movies/2").json()["genres"] == ["Drama"]


def test_a_persons_new_name_is_in_all_their_movies_at_once(movies: Client) -> None:
    ridley = movies.get("/v1/movies/1").json()["directors"][0]["id"]

    names.rename_person(ridley, "Sir Ridley Scott", 1, "tests")

    documents = [movies.get(f"/v1/movies/{movie_id}").json() for movie_id in (1, 3)]
    assert [(item["version"], item["directors"]) for item in documents] == [
        (2, [{"id": ridley, "name": "Sir Ridley Scott"}])
    ] * 2
    assert movies.titles("/v1/search?q=sir+ridley") == ["Alien", "Blade Runner"]
    assert movies.titles("/v1/movies?director=sir ridley scott") == ["Alien", "Blade Runner"]


def test_a_genres_new_name_is_in_all_its_movies_and_filters_at_once(movies: Client) -> None:
    movies.titles("/v1/movies?genre=Sci-Fi")
    genre = Facet.objects.get(kind="genre", name="Sci-Fi")

    names.rename_genre(genre.pk, "Science Fiction", 1, "tests")

    assert movies.get("/v1/movies/1").json()["genres"] == ["Horror", "Science Fiction"]
    assert (len(movies.titles("/v1/movies?genre=science fiction")), movies.titles("/v1/movies?genre=Sci-Fi")) == (4, [])


def test_a_batch_takes_as_many_statements_as_one_movie(catalogue_home: object) -> None:
    counts = []
    for size in (1, 5, 200):  # the first one adds the genres
        films = [
            record(line, title=f"Film {size} {line}", genres=["A", "B"], cast=[f"P{size}-{line}", "Everybody"])
            for line in range(size)
        ]
        with CaptureQueriesContext(connection) as queries:
            batches.write(films, "tests")
        counts.append(len(queries))

    assert counts[1] == counts[2] <= 24, counts
