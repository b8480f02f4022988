"""Which movie a record of an import is: not one that contradicts it, not one of another document, not one that was merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from matinee.importers import fynd
from matinee.storage.models import ExternalIdRow, Movie
from matinee.write import movies
from tests.client import Client
from tests.cluster.catalogue_file import contradictions
from tests.integration.test_import_documents import document, ids_and_titles, reasons, run


def counts(report: Any) -> tuple[int, int, int, int]:
    """Return what an import did: added, changed, unchanged, rejected."""
    return report.added, report.changed, report.unchanged, report.rejected


def redirect(client: Client, path: str) -> str:
    """Return the path that a request is redirected to."""
    return str(urlsplit(client.get(path).headers["location"]).path)


def test_a_document_of_another_catalogue_does_not_replace_the_film_of_its_id(catalogue_home: Path, client: Client) -> None:
    run(catalogue_home, document(1, "Alien", year=1979, ids={"imdb": "tt0078748"}))

    report = run(catalogue_home, document(1, "Alien", year=1979, ids={"imdb": "tt9999999"}))

    assert (counts(report), ids_and_titles()) == ((1, 0, 0, 0), [(1, "Alien"), (2, "Alien")])
    assert client.get("/v1/movies/1").json()["ids"]["imdb"] == "tt0078748"


def test_a_document_with_an_id_of_another_scheme_is_the_film_of_its_own_id(catalogue_home: Path) -> None:
    run(catalogue_home, document(1, "Alien", ids={"imdb": "tt0078748"}))

    report = run(catalogue_home, document(1, "Alien", ids={"tmdb": "348"}))

    assert (counts(report), ids_and_titles()) == ((0, 1, 0, 0), [(1, "Alien")])


@pytest.mark.parametrize("batch_rows", [1, 50])
def test_the_second_of_two_documents_with_one_external_id_is_rejected_by_name(catalogue_home: Path, batch_rows: int) -> None:
    lines = [document(own_id, title, ids={"imdb": "tt0000001"}) for own_id, title in ((1, "One"), (2, "Other"))]

    report = run(catalogue_home, *lines, batch_rows=batch_rows)

    assert (counts(report), ids_and_titles()) == ((1, 0, 0, 1), [(1, "One")])
    (reason,) = reasons(catalogue_home)
    assert reason.startswith("imdb:tt0000001 is in the document 1 of this input, too; correct the one that is wrong")


def test_the_exports_of_two_catalogues_one_after_the_other_are_one_film(catalogue_home: Path) -> None:
    reports = [run(catalogue_home, document(own_id, ids={"imdb": "tt0000001"}, year=1999)) for own_id in (1, 2)]

    assert [counts(report) for report in reports] == [(1, 0, 0, 0), (0, 0, 1, 0)]


@pytest.mark.parametrize("ids", [{"imdb": "tt0000002"}, {"tmdb": "2"}, {}])
def test_a_merged_film_does_not_come_back_with_its_file(catalogue_home: Path, client: Client, ids: dict[str, str]) -> None:
    lines = document(1, "Stays", ids={"imdb": "tt0000001"}), document(2, "Merged", ids=ids)
    run(catalogue_home, *lines)
    movies.merge(2, 1, "tests")
    before = client.get("/v1/movies/1").json()

    report = run(catalogue_home, *lines)

    assert (counts(report), ids_and_titles()) == ((0, 0, 2, 0), [(1, "Stays")])
    assert client.get("/v1/movies/1").json() == before
    assert redirect(client, "/v1/movies/2") == "/v1/movies/1"
    assert contradictions(catalogue_home) == []


def test_an_id_of_a_merged_film_still_redirects_after_its_line_was_imported_again(catalogue_home: Path, client: Client) -> None:
    lines = b'{"imdb_id":"tt0000001","title":"Stays"}', b'{"imdb_id":"tt0000002","title":"Merged"}'
    run(catalogue_home, *lines)
    movies.merge(2, 1, "tests")

    report = run(catalogue_home, *lines)

    assert (counts(report), ids_and_titles()) == ((0, 0, 2, 0), [(1, "Stays")])
    assert redirect(client, "/v1/movies/imdb:tt0000002") == "/v1/movies/1"


def test_a_line_with_ids_of_a_merged_film_and_of_a_third_one_is_rejected(catalogue_home: Path) -> None:
    run(catalogue_home, *(b'{"imdb_id":"tt000000%d","tmdb_id":%d,"title":"A"}' % (number, number) for number in (1, 2, 3)))
    movies.merge(2, 1, "tests")

    report = run(catalogue_home, b'{"imdb_id":"tt0000002","tmdb_id":3,"title":"A"}')

    assert (counts(report), len(ids_and_titles())) == ((0, 0, 0, 1), 2)
    assert reasons(catalogue_home) == ["its ids imdb:tt0000002, tmdb:3 belong to the movies [1, 3]; merge them first"]


def test_another_film_with_the_number_of_a_merged_one_is_added(catalogue_home: Path) -> None:
    run(catalogue_home, document(1, "Stays"), document(2, "Merged"))
    movies.merge(2, 1, "tests")

    report = run(catalogue_home, document(2, "From elsewhere"))

    assert (counts(report), ids_and_titles()) == ((1, 0, 0, 0), [(1, "Stays"), (3, "From elsewhere")])


def test_a_deleted_film_comes_back_under_a_new_number_and_takes_its_ids_along(catalogue_home: Path, client: Client) -> None:
    line = document(1, "Deleted", ids={"imdb": "tt0000001"})
    run(catalogue_home, line)
    movies.delete(1, "tests", None)

    report = run(catalogue_home, line)

    assert (counts(report), ids_and_titles()) == ((1, 0, 0, 0), [(2, "Deleted")])
    assert client.get("/v1/movies/imdb:tt0000001").json()["id"] == 2


def fynd_text(*films: tuple[str, str]) -> bytes:
    """Return a file of the fynd format."""
    return json.dumps([{"name": name, "director": director} for name, director in films]).encode()


def as_before(film: tuple[str, str], former: str) -> None:
    """Give the only movie of this title the id of fynd of an earlier version, and a year that somebody has added."""
    movie_id = Movie.objects.get(title=film[0]).pk
    movies.patch(movie_id, {"year": 2001, "ids": {"fynd": former}}, "tests", None)


def test_a_film_with_an_id_of_fynd_of_an_earlier_version_is_found_and_gets_the_new_one(catalogue_home: Path) -> None:
    film = ("Amélie", "Jean-Pierre Jeunet")
    run(catalogue_home, fynd_text(film), read=fynd.read)
    as_before(film, "amelie-jean-pierre-jeunet")

    first, second = (run(catalogue_home, fynd_text(film), read=fynd.read) for _ in range(2))

    assert [counts(first), counts(second)] == [(0, 1, 0, 0), (0, 0, 1, 0)]
    assert list(ExternalIdRow.objects.values_list("value", flat=True)) == ["amelie-jean-pierre-jeunet-bbb6c5ddd2"]
    assert list(Movie.objects.values_list("year", flat=True)) == [2001]


def test_a_merged_film_with_an_id_of_fynd_of_an_earlier_version_does_not_come_back(catalogue_home: Path) -> None:
    film, other = ("Amélie", "Jean-Pierre Jeunet"), ("Delicatessen", "Marc Caro")
    run(catalogue_home, fynd_text(other, film), read=fynd.read)
    as_before(film, "amelie-jean-pierre-jeunet")
    movies.merge(2, 1, "tests")

    report = run(catalogue_home, fynd_text(other, film), read=fynd.read)

    assert (counts(report), ids_and_titles()) == ((0, 0, 2, 0), [(1, "Delicatessen")])


def test_a_film_whose_own_id_was_the_former_one_of_another_stays_as_it_is(catalogue_home: Path) -> None:
    plain, marked = ("Batman", "Ann Lee"), ("Batman!", "Ann Lee")
    run(catalogue_home, fynd_text(plain), read=fynd.read)

    report = run(catalogue_home, fynd_text(marked, plain), read=fynd.read)

    assert (counts(report), ids_and_titles()) == ((1, 0, 1, 0), [(1, "Batman"), (2, "Batman!")])


def test_films_whose_names_and_directors_are_the_same_words_are_two(catalogue_home: Path) -> None:
    text = fynd_text(("Alien Two", "Ridley Scott"), ("Alien", "Two Ridley Scott"))

    reports = [run(catalogue_home, text, read=fynd.read) for _ in range(2)]

    assert [counts(report) for report in reports] == [(2, 0, 0, 0), (0, 0, 2, 0)]
