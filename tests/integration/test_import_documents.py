"""Documents of an export that somebody has edited, mixed or damaged: whatever stands in them, the catalogue stays sound."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from matinee.domain.ids import MAX_ID
from matinee.domain.movie import MAX_ADOPTED_ID, MAX_PERSON_ID, MAX_POSITION
from matinee.importers import fynd, importing, ndjson
from matinee.storage.models import LogHead, Movie, MovieDocument, Person
from matinee.write import movies, names
from tests.client import Client
from tests.cluster.catalogue_file import contradictions

NOBODY: dict[str, Any] = {
    name: [] for name in ("genres", "directors", "writers", "cast", "languages", "countries", "companies")
}
UNKNOWN = dict.fromkeys((
    "original_title", "year", "released", "runtime_min", "overview", "tagline", "certificate", "popularity",
    "box_office_usd", "poster",
))  # fmt: skip


def document(movie_id: int, title: str = "Film", **more: Any) -> bytes:
    """Return the line of an export."""
    own = {"id": movie_id, "version": 3, "position": 20 + movie_id, "updated_at": "2024-05-17T10:00:00Z", "title": title}
    groups: dict[str, Any] = {"ids": {}, "rating": {}, "critics": {}, "awards": {}}
    return json.dumps(own | NOBODY | UNKNOWN | groups | more).encode()


def run(home: Path, *lines: bytes, batch_rows: int = 50, read: Any = ndjson.read) -> importing.Report:
    """Import lines and return the report."""
    stream = io.BytesIO(b"\n".join(lines))
    return importing.run(read(stream), actor="tests", batch_rows=batch_rows, rejected_path=home / "rejected.ndjson")


def reasons(home: Path) -> list[str]:
    """Return why records were rejected."""
    return [json.loads(line)["reason"] for line in (home / "rejected.ndjson").read_bytes().splitlines()]


def ids_and_titles() -> list[tuple[int, str]]:
    """Return the movies that are there."""
    return list(Movie.objects.order_by("id").values_list("id", "title"))


def test_a_document_keeps_its_id_version_and_time_where_the_id_is_free(catalogue_home: Path, client: Client) -> None:
    run(catalogue_home, document(7, updated_at="2024-05-17T12:00:00+02:00"))

    read = client.get("/v1/movies/7")
    assert (read.json()["version"], read.json()["updated_at"]) == (3, "2024-05-17T10:00:00Z")
    assert (read.headers["etag"], read.headers["last-modified"]) == ('"3.27"', "Fri, 17 May 2024 10:00:00 GMT")


@pytest.mark.parametrize("batch_rows", [1, 50])
def test_a_new_film_before_a_document_does_not_get_its_id(catalogue_home: Path, batch_rows: int) -> None:
    report = run(catalogue_home, b'{"title":"New"}', document(1, "Old"), b'{"title":"Newer"}', batch_rows=batch_rows)

    assert (report.added, report.rejected) == (3, 0)
    assert sorted(title for _, title in ids_and_titles()) == ["New", "Newer", "Old"]
    assert contradictions(catalogue_home) == []


@pytest.mark.parametrize("batch_rows", [1, 50])
def test_two_documents_of_one_id_are_two_films(catalogue_home: Path, batch_rows: int) -> None:
    one, other = document(1, "One", ids={"imdb": "tt0000001"}), document(1, "Other", ids={"imdb": "tt0000002"})

    report = run(catalogue_home, one, other, batch_rows=batch_rows)

    assert (report.added, ids_and_titles()) == (2, [(1, "One"), (2, "Other")])
    assert contradictions(catalogue_home) == []


def test_an_id_that_was_deleted_here_is_not_given_again(catalogue_home: Path) -> None:
    run(catalogue_home, document(1, "Deleted"))
    movies.delete(1, "tests", "*")

    run(catalogue_home, document(1, "Deleted"))

    assert ids_and_titles() == [(2, "Deleted")]


def test_an_id_that_another_film_has_here_is_not_taken_from_it(catalogue_home: Path) -> None:
    run(catalogue_home, b'{"title":"Here first"}')

    report = run(catalogue_home, document(1, "From elsewhere"))

    assert (report.added, ids_and_titles()) == (1, [(1, "Here first"), (2, "From elsewhere")])


def test_a_person_whose_id_another_one_has_here_is_found_by_name(catalogue_home: Path, client: Client) -> None:
    ann, bob = names.create_person("Ann", "tests"), names.create_person("Bob", "tests")
    film = document(1, directors=[{"id": ann, "name": "Bob"}, {"id": 900, "name": "Cyd"}, {"id": 900, "name": "Dan"}])

    run(catalogue_home, film)

    directors = client.get("/v1/movies/1").json()["directors"]
    assert [person["name"] for person in directors] == ["Bob", "Cyd", "Dan"]
    assert [person["id"] for person in directors] == [bob, 900, 901]
    assert Person.objects.get(pk=ann).name == "Ann"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"id": 0}, "`int` >= 1 - at `$.id`"),
        ({"id": -5}, "`int` >= 1 - at `$.id`"),
        ({"id": MAX_ID + 1}, f"`int` <= {MAX_ID} - at `$.id`"),
        ({"id": "1"}, "got `str` - at `$.id`"),
        ({"version": 0}, "at `$.version`"),
        ({"version": 10**30}, "at `$.version`"),
        ({"position": -1}, "at `$.position`"),
        ({"position": 2**53}, "at `$.position`"),
        ({"position": 2**63}, "at `$.position`"),
        ({"updated_at": "9999-12-31T23:59:59.999999Z"}, "/updated_at: must be in the years 1970 to 2200"),
        ({"updated_at": "1969-12-31T23:59:59Z"}, "/updated_at: must be in the years 1970 to 2200"),
        ({"updated_at": "2201-01-01T01:00:00+01:00"}, "/updated_at: must be in the years 1970 to 2200"),
        ({"updated_at": "2016-12-31T23:59:60Z"}, "at `$.updated_at`"),
        ({"released": "10000-01-01"}, "at `$.released`"),
        ({"popularity": 1e308}, "/popularity: "),
        ({"title": "\u3164"}, "/title: must show something"),
        ({"updated_at": "2024-05-17T10:00:00"}, "timezone component - at `$.updated_at`"),
        ({"updated_at": "yesterday"}, "at `$.updated_at`"),
        ({"updated_at": "0001-01-01T00:00:00+05:00"}, "/updated_at: must be in the years 1970 to 2200"),
        ({"directors": [{"id": 2**53, "name": "Ann"}]}, "/directors/0/id: "),
        ({"directors": [{"id": None, "name": None}]}, "at `$.directors[0].id`"),
        ({"year": "1979"}, "at `$.year`"),
        ({"overview": "\x00"}, "/overview: must not be blank"),
    ],
)
def test_a_document_that_no_catalogue_can_have_written_is_rejected_with_the_place(
    catalogue_home: Path, wrong: dict[str, Any], reason: str
) -> None:
    report = run(catalogue_home, document(1, **wrong), document(2, "Good"))

    assert (report.added, report.rejected, len(reasons(catalogue_home))) == (1, 1, 1)
    assert reason in reasons(catalogue_home)[0]
    assert contradictions(catalogue_home) == []


@pytest.mark.parametrize("own_id", [MAX_ID, MAX_ADOPTED_ID + 1])
def test_an_id_that_leaves_no_room_for_others_is_not_taken_over(catalogue_home: Path, own_id: int) -> None:
    report = run(
        catalogue_home, document(own_id, "Last", directors=[{"id": MAX_PERSON_ID, "name": "Ann"}]), b'{"title":"Next"}'
    )
    again = run(catalogue_home, document(own_id, "Last", directors=[{"id": MAX_PERSON_ID, "name": "Ann"}]))

    assert (report.added, again.unchanged, ids_and_titles()) == (2, 1, [(1, "Last"), (2, "Next")])
    assert list(Person.objects.values_list("id", "name")) == [(1, "Ann")]


@pytest.mark.parametrize("number", [MAX_POSITION + 1, 2**53 - 1])
def test_a_position_and_a_version_that_leave_no_room_for_others_are_not_taken_over(catalogue_home: Path, number: int) -> None:
    report = run(catalogue_home, document(1, position=number, version=number))

    found = Movie.objects.get()
    assert (report.added, found.position, found.version) == (1, 1, MAX_POSITION)
    assert contradictions(catalogue_home) == []


def test_a_row_of_an_older_version_with_an_impossible_time_is_shown(catalogue_home: Path, client: Client) -> None:
    run(catalogue_home, document(1, "Alien"), document(2, "Aliens"))
    for pk, moment_s in ((1, 253_402_300_800), (2, -62_135_596_800)):
        MovieDocument.objects.filter(pk=pk).update(updated_at_s=moment_s)

    pages = [client.get(f"/v1/{path}") for path in ("movies/1", "movies/2", "movies", "search?q=alien", "movies?ids=1,2")]

    assert [page.status_code for page in pages] == [200] * 5
    assert [page.headers["last-modified"] for page in pages[:2]] == [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
    ]


def test_positions_go_on_after_the_largest_one_that_was_taken_over(catalogue_home: Path) -> None:
    run(catalogue_home, document(1, position=MAX_POSITION), document(2, "Second", position=5))

    assert LogHead.objects.get().position == MAX_POSITION + 1
    assert contradictions(catalogue_home) == []


def test_a_film_that_the_file_states_with_and_without_its_id_is_one_film(catalogue_home: Path) -> None:
    lines = [b'{"imdb_id":"tt0000001","title":"A","year":1999}', b'{"title":"A","year":1999,"runtime_min":90}']

    report = run(catalogue_home, *lines)
    again = run(catalogue_home, *lines)

    assert (report.added, report.changed, again.unchanged) == (1, 1, 2)
    assert list(Movie.objects.values_list("runtime_min", flat=True)) == [90]


def test_a_file_that_knows_one_id_of_a_film_leaves_the_others(catalogue_home: Path, client: Client) -> None:
    run(catalogue_home, b'{"imdb_id":"tt0000001","tmdb_id":2,"title":"A"}')

    report = run(catalogue_home, b'{"imdb_id":"tt0000001","wikidata_id":"Q3","title":"A"}')

    ids = client.get("/v1/movies/1").json()["ids"]
    assert report.changed == 1
    assert (ids["imdb"], ids["tmdb"], ids["wikidata"]) == ("tt0000001", "2", "Q3")


def test_ids_that_belong_to_two_films_are_rejected_with_both(catalogue_home: Path) -> None:
    run(catalogue_home, b'{"imdb_id":"tt0000001","title":"A"}', b'{"tmdb_id":2,"title":"B"}')

    report = run(catalogue_home, b'{"imdb_id":"tt0000001","tmdb_id":2,"title":"C"}')

    assert (report.rejected, ids_and_titles()) == (1, [(1, "A"), (2, "B")])
    assert reasons(catalogue_home) == ["its ids imdb:tt0000001, tmdb:2 belong to the movies [1, 2]; merge them first"]


def test_a_line_without_an_end_is_rejected_and_the_next_one_is_read(catalogue_home: Path) -> None:
    endless = b'{"title":"' + b"x" * ndjson.MAX_LINE_BYTES + b'"}'

    report = run(catalogue_home, endless, b'{"title":"Good"}')

    assert (report.added, report.rejected) == (1, 1)
    assert reasons(catalogue_home) == [f"the line is longer than {ndjson.MAX_LINE_BYTES} bytes"]


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"title":' + b'{"a":' * 900 + b"1" + b"}" * 901, b"\xff", b"null", b"5", b'"x"']
)
def test_json_that_is_no_film_is_rejected(catalogue_home: Path, line: bytes) -> None:
    report = run(catalogue_home, line, b'{"title":"Good"}')

    assert (report.added, report.rejected) == (1, 1)


@pytest.mark.parametrize("director", [5, ["Ann"], {"name": "Ann"}])
def test_a_fynd_director_that_is_no_name_is_rejected(catalogue_home: Path, director: Any) -> None:
    text = json.dumps([{"name": "A", "director": director}, {"name": "B", "director": None}]).encode()

    report = run(catalogue_home, text, read=fynd.read)

    assert (report.added, reasons(catalogue_home)) == (1, ["a fynd record's director is a name"])


def test_a_fynd_name_of_any_length_has_an_id(catalogue_home: Path) -> None:
    films = [{"name": "x" * count + " y" * 150, "director": "Ann"} for count in range(1, 5)]

    report = run(catalogue_home, json.dumps(films).encode(), read=fynd.read)

    assert (report.added, report.rejected) == (4, 0)
