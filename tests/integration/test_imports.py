"""Imports and exports: nothing is lost, nothing comes twice, and what cannot be read is told with its line."""

from __future__ import annotations

import asyncio
import io
import json
import lzma
import tracemalloc
from collections.abc import Iterator
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from matinee import config as configuration
from matinee import runtime
from matinee.errors import OperatorError
from matinee.importers import fynd, importing, ndjson
from matinee.importers.source import open_source
from matinee.storage.models import Change, LogHead, Movie, Person
from matinee.write import movies, names
from matinee.write.movies import parse_content
from tests.client import Client

EVERYTHING = ("credit", "movie_facet", "external_id", "movie", "movie_document", "movie_search", "person", "facet", "change",
              "tombstone")  # fmt: skip
SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"
FYND = [
    {"99popularity": 83.0, "director": "Victor Fleming", "genre": ["Adventure", " Family"], "imdb_score": 8.3,
     "name": "The Wizard of Oz"},
    {"99popularity": 61.0, "director": "Larry Semon", "genre": ["Comedy"], "imdb_score": 6.1, "name": "The Wizard of Oz"},
    {"99popularity": 76.0, "director": "Tim Burton", "genre": ["Action"], "imdb_score": 7.6, "name": "Batman"},
    {"99popularity": 64.0, "director": "Leslie H. Martinson", "genre": [" Action"], "imdb_score": 6.4, "name": "Batman"},
    {"99popularity": 69, "director": "Rob Reiner", "genre": ["Drama"], "imdb_score": 6.9, "name": "A Few Good Mens Wives"},
]  # fmt: skip


def sample_lines(count: int) -> list[bytes]:
    """Return the first films of the sample that ships."""
    with (resources.files("matinee.sample") / "movies.ndjson.xz").open("rb") as packed, lzma.open(packed) as file:
        return list(islice(file, count))


def run(lines: list[bytes] | bytes, home: Path, read: Any = ndjson.read, batch_rows: int = 50) -> importing.Report:
    """Import lines and return the report."""
    text = lines if isinstance(lines, bytes) else b"".join(lines)
    records = read(io.BytesIO(text))
    return importing.run(records, actor="tests", batch_rows=batch_rows, rejected_path=home / "rejected.ndjson")


def export(home: Path) -> bytes:
    """Return the catalogue as `export ndjson` writes it."""

    async def collect() -> bytes:
        catalogue = runtime.build(configuration.load(home=home)).catalogue
        return b"".join([body + b"\n" async for body in catalogue.documents()])

    return asyncio.run(collect())


def empty_again() -> None:
    """Take everything out of the catalogue, as if it had just been made."""
    from django.db import connection

    with connection.cursor() as cursor:
        for table in EVERYTHING:
            cursor.execute(f"DELETE FROM {table}")
    LogHead.objects.update(position=0, last_movie_id=0, last_person_id=0, last_facet_id=0)


def test_an_export_into_an_empty_catalogue_exports_the_same_bytes_again(catalogue_home: Path) -> None:
    run(sample_lines(300), catalogue_home)
    movies.delete(5, "tests", "*")
    movies.merge(6, 7, "tests")
    movies.patch(8, {"tagline": "changed", "cast": [{"name": "A", "character": "B", "order": 0}]}, "tests", "*")
    names.rename_person(Person.objects.earliest("id").pk, "Somebody Else", 1, "tests")
    first = export(catalogue_home)

    empty_again()
    report = run(first, catalogue_home)

    assert (report.added, report.rejected) == (298, 0)
    assert export(catalogue_home) == first


def test_people_of_the_same_name_stay_two_people_through_an_export(catalogue_home: Path) -> None:
    namesake = [names.create_person("John Smith", "tests") for _ in range(2)]
    for person in namesake:
        movies.create(parse_content({"title": f"Film of {person}", "directors": [{"id": person}]}), "tests")
    first = export(catalogue_home)

    empty_again()
    run(first, catalogue_home)

    assert export(catalogue_home) == first
    assert Person.objects.filter(name="John Smith").count() == 2


def test_the_same_file_twice_changes_nothing_the_second_time(catalogue_home: Path) -> None:
    lines = sample_lines(200)
    first = run(lines, catalogue_home)
    before = (export(catalogue_home), Change.objects.count(), LogHead.objects.get().position)

    second = run(lines, catalogue_home, batch_rows=7)

    assert (first.added, second.added, second.changed, second.unchanged) == (200, 0, 0, 200)
    assert (export(catalogue_home), Change.objects.count(), LogHead.objects.get().position) == before


def test_the_flat_form_says_all_that_a_document_does(catalogue_home: Path) -> None:
    flat = {
        "imdb_id": "tt0029284", "title": "My Favorite Wife", "year": 1940, "released": "1940-01-01", "runtime_min": 89,
        "certificate": "PG", "genres": ["Romance"], "directors": ["Garson Kanin"], "writers": ["Bella Spewack"],
        "cast": ["Cary Grant"], "languages": ["English"], "countries": ["United States"], "production": ["RKO"],
        "critic_score": 86, "critic_average": 6.8, "critic_reviews": 150, "metascore": 70,
        "box_office_usd": 30_000_000, "oscars": 2,
    }  # fmt: skip

    run([json.dumps(flat).encode()], catalogue_home)

    (line,) = export(catalogue_home).splitlines()
    document = json.loads(line)
    assert document["ids"]["imdb"] == "tt0029284"
    assert document["critics"] == {"score": 86, "average": 6.8, "reviews": 150, "metascore": 70}
    assert (document["companies"], document["awards"], document["popularity"]) == (["RKO"], {"oscars": 2}, 35 + 12 + 1)
    assert [person["name"] for person in document["cast"]] == ["Cary Grant"]


def test_records_that_cannot_be_imported_are_told_with_line_and_reason_and_the_rest_goes_on(catalogue_home: Path) -> None:
    lines = [b'{"title":"Good","year":1999}\n', b"not json\n", b"\n", b'{"title":"Bad","year":"soon"}\n', b'{"year":1999}\n',
             b'{"title":"X","directors":[{"id":7}]}\n', b'{"title":"Fine"}']  # fmt: skip

    report = run(lines, catalogue_home)

    told = [json.loads(line) for line in (catalogue_home / "rejected.ndjson").read_bytes().splitlines()]
    assert (report.read, report.added, report.rejected) == (6, 2, 4)
    assert {item["line"] for item in told} == {2, 4, 5, 6}
    assert next(item["reason"] for item in told if item["line"] == 4) == "/year: Expected `int | null`, got `str`"
    assert set(Movie.objects.values_list("title", flat=True)) == {"Good", "Fine"}


def test_a_record_changes_only_what_it_names(catalogue_home: Path) -> None:
    run([b'{"imdb_id":"tt0000001","title":"A","year":1999,"genres":["Drama"]}'], catalogue_home)

    report = run([b'{"imdb_id":"tt0000001","title":"B"}'], catalogue_home)

    document = json.loads(export(catalogue_home))
    assert (report.changed, document["title"], document["year"], document["genres"]) == (1, "B", 1999, ["Drama"])


def test_a_movie_that_stands_twice_in_a_file_is_one_movie(catalogue_home: Path) -> None:
    line = b'{"imdb_id":"tt0000001","title":"A"}\n'

    report = run([line, line, b'{"title":"No id"}\n', b'{"title":"No id"}\n'], catalogue_home)

    assert (report.added, report.unchanged, Movie.objects.count()) == (2, 2, 2)


def test_fynd_keeps_films_of_one_name_apart_and_imports_once(catalogue_home: Path) -> None:
    text = json.dumps(FYND).encode()

    first, second = (run(text, catalogue_home, fynd.read) for _ in range(2))

    assert (first.added, second.added, second.unchanged) == (5, 0, 5)
    with Client(configuration.load(home=catalogue_home)) as client:
        oz = client.get("/v1/search?q=the wizard of oz").json()["items"]
        assert [(item["directors"][0]["name"], item["popularity"]) for item in oz] == [
            ("Victor Fleming", 83.0),
            ("Larry Semon", 61.0),
        ]
        assert client.titles("/v1/movies?genre=Family") == ["The Wizard of Oz"]


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="the real fynd file lies beside the repository on some machines only")
@pytest.mark.parametrize("name", ["fynd_movies.json", "fynd_movies_rawstyle.json"])
def test_all_248_records_of_the_real_fynd_file_are_there_and_stay_248(catalogue_home: Path, name: str) -> None:
    for file in ("fynd_movies.json", name):
        report = run((SHARED_DATA / file).read_bytes(), catalogue_home, fynd.read)
        assert report.rejected == 0

    assert Movie.objects.count() == 248


@pytest.mark.parametrize("text", [b"[1]", b'[{"name": 5}]', b'[{"name":"A","genre":"Drama"}]', b'[{"name":"A","x":1}]'])
def test_what_is_no_fynd_record_is_told(catalogue_home: Path, text: bytes) -> None:
    report = run(text, catalogue_home, fynd.read)

    assert (report.read, report.rejected) == (1, 1)


@pytest.mark.parametrize("text", [b"", b"{}", b"[", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_fynd_array_is_refused_as_a_whole(catalogue_home: Path, text: bytes) -> None:
    with pytest.raises(OperatorError, match="not a JSON array"):
        run(text, catalogue_home, fynd.read)


def test_a_cut_off_archive_is_told_and_what_came_before_is_there(catalogue_home: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.ndjson.xz"
    path.write_bytes(lzma.compress(b"".join(sample_lines(2000)))[:60_000])

    with pytest.raises(OperatorError, match="damaged or cut off"), open_source(str(path)) as source:
        importing.run(ndjson.read(source.stream), actor="tests", batch_rows=20, rejected_path=tmp_path / "r")

    assert Movie.objects.count() > 0


def test_memory_does_not_grow_with_the_file() -> None:
    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        stream = io.BufferedReader(Lines(count))
        assert sum(1 for _ in ndjson.read(stream)) == count
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_bytes(10)  # what is loaded once

    assert peak_bytes(4_000) < peak_bytes(400) + 200_000


class Lines(io.RawIOBase):
    """A file of many lines that is nowhere as a whole."""

    def __init__(self, count: int) -> None:
        self._lines: Iterator[bytes] = (b'{"title":"Film %d","overview":"%s"}\n' % (n, b"x" * 2000) for n in range(count))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._lines, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
