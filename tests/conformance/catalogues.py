"""Catalogues for the tests of readers: generated ones with many ties and unknowns, and copies of them in memory."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from matinee import config as configuration
from matinee import runtime
from matinee.domain.ids import ExternalId
from matinee.domain.movie import MovieDocument
from matinee.domain.representation import Tombstone
from matinee.storage.memory import Contents, MemoryReader
from matinee.storage.reader import ChangeRow, KeyRow, PersonRow, Reader
from tests.movies import record

TITLES = (
    "The Star", "Star", "Star Wars", "A Star Is Born", "The Star Witness", "Star-Crossed", "Starcrossed", "Wall·E", "Wall-E",
    "Rock & Rule", "Rock and Rule", "Amélie", "Amelie", "Don't Look Now", "Dont Look", "Näkymätön Star", "2001", "!!!",
    "star", "Stár", "8½", "$", "ハハ", "パパ", "スター・ウォーズ", "星に願いを", "शोले", "기생충",
)  # fmt: skip
# Two of them fold alike and are two people; one folds to nothing; one is a title's word.
NAMES = (
    "Ann Lee",
    "Ánn Lee",
    "Jean-Pierre O'Brien",
    "Star Jones",
    "Lee Van Cleef",
    "Jo",
    "Wall Jo",
    "***",
    "Bo Lee",
    "宮崎駿",
    "Rock Rule",
)
GENRES = ("Drama", "Sci-Fi", "Sci Fi", "Film Noir", "Comédie", "War", "Wár", "?!")
LANGUAGES = ("English", "Français", "Old English")
COUNTRIES = ("France", "Côte d'Ivoire")
YEARS = (None, 1977, 1978, 1979, 1980, 1982)
# The last two are one number in the search rank, which keeps 32 bits of it.
POPULARITIES = (None, 0, 1.5, 80, 80.0000001)


@contextmanager
def django_at(name: Path | str) -> Iterator[None]:
    """Point Django's connection at a file, or at a database of PostgreSQL."""
    from django.db import connections

    connections.close_all()
    before = connections.settings["default"]["NAME"]
    connections.settings["default"]["NAME"] = connections["default"].settings_dict["NAME"] = name
    try:
        yield
    finally:
        connections.close_all()
        connections.settings["default"]["NAME"] = connections["default"].settings_dict["NAME"] = before


class Pair(NamedTuple):
    """Two readers of the same movies."""

    engine: Reader
    memory: MemoryReader


def engine_reader(home: Path) -> Reader:
    """Return a reader of a data folder's catalogue, on the engine of this run."""
    OPENED.append(runtime.reader(configuration.load(home=home, read_timeout_ms=60_000)))
    return OPENED[-1]


OPENED: list[Reader] = []  # what `engine_reader` has made, for who closes it


@contextmanager
def catalogue_copy(empty: Path, path: Path) -> Iterator[Path]:
    """Make a catalogue file of an empty one, and point Django's connection at it."""
    shutil.copy(empty, path)
    with django_at(path):
        yield path


def stated(chance: random.Random, number: int) -> dict[str, Any]:
    """Return what is stated of one generated movie; most of it is stated of many others too."""

    def some(choices: tuple[str, ...], most: int) -> list[str]:
        return chance.sample(choices, chance.randint(0, most))

    return {
        "ids": {"imdb": f"tt{number:07}"},
        "title": chance.choice(TITLES),
        "original_title": chance.choice((None, None, *TITLES)),
        "year": chance.choice(YEARS),
        "runtime_min": chance.choice((None, 90, 117)),
        "genres": some(GENRES, 3),
        "languages": some(LANGUAGES, 2),
        "countries": some(COUNTRIES, 2),
        "directors": some(NAMES, 1),
        "writers": some(NAMES, 1),
        "cast": some(NAMES, 3),
        "rating": {"average": chance.choice((None, 0, 7.5, 7.501)), "votes": chance.choice((None, 0, 10, 1_000))},
        "popularity": chance.choice(POPULARITIES),
    }


def fill(size: int, seed: int) -> None:
    """Write a generated catalogue, then delete, merge, change and rename some of it."""
    from matinee.storage import models
    from matinee.write import batches, keys, movies, names, popularity, purges

    chance = random.Random(seed)
    batches.write([record(number, **stated(chance, number)) for number in range(1, size + 1)], "tests")
    first, second, third, *_, last = chance.sample(range(1, size + 1), 9)
    movies.delete(first, "tests", None)
    movies.merge(second, third, "tests")
    movies.merge(third, last, "tests")
    movies.patch(last, {"popularity": 80, "overview": "Naïve — “quoted”, <b>, 😀"}, "tests", None)
    drama, jo = models.Facet.objects.get(name="Drama"), models.Person.objects.get(name="Jo")
    names.rename_genre(drama.id, "Tragédie", drama.version, "tests")
    names.rename_person(jo.id, "Joe", jo.version, "tests")
    names.create_person("Nobody's Name", "tests")
    names.create_genre("Empty", "tests")
    purges.purge(last, "tests")
    purges.purge(None, "tests")
    keys.revoke(keys.create("old", "read", "tests").prefix, "tests")
    keys.create("good", "write", "tests")
    # More than there are, and those that are gone among them.
    counts = {movie_id: chance.randrange(2, 100_000) for movie_id in range(1, size + 10)}
    counted = [item for item in counts.items() if chance.random() < 0.7 or item[0] in (first, second)]
    popularity.add(counted, time.time())


def in_memory() -> MemoryReader:
    """Return the catalogue that Django's connection points at as a reader in memory, made from its documents and its log."""
    from matinee.storage import models

    decode = msgspec.json.Decoder(MovieDocument).decode
    movies = [decode(bytes(body)) for body in models.MovieDocument.objects.values_list("body", flat=True)]
    stones = [Tombstone(*row) for row in models.Tombstone.objects.values_list("movie_id", "position", "merged_into")]
    owned = models.ExternalIdRow.objects.filter(movie_id__in=[stone.id for stone in stones])
    live_keys = models.ApiKey.objects.filter(revoked_at=None)
    contents = Contents(
        tombstones=stones,
        former_ids={ExternalId(row.scheme, row.value): row.movie_id for row in owned},
        people=[PersonRow(*row) for row in models.Person.objects.values_list("id", "name")],
        genre_ids=dict(models.Facet.objects.filter(kind="genre").values_list("name", "id")),
        changes=[_change(row) for row in models.Change.objects.all()],
        keys={key.digest: KeyRow(key.id, key.name, key.prefix, key.scope, key.quota) for key in live_keys},
        popularity={row.movie_id: {"day": row.day, "week": row.week} for row in models.MoviePopularity.objects.all()},
    )
    return MemoryReader(movies, contents)


def _change(row: Any) -> ChangeRow:
    detail = row.detail if isinstance(row.detail, dict) else json.loads(row.detail)
    at = row.at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    fields = sorted(detail.get("fields", ()))
    return ChangeRow(row.position, row.subject, row.subject_id, row.kind, row.version, at, fields, detail.get("into"))
