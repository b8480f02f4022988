"""An export read back: no record is lost, none becomes another one, and a second run changes nothing."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matinee.domain.movie import parse_content
from matinee.errors import RequestError
from matinee.importers import ndjson
from matinee.storage.models import Facet, LogHead, Movie, Person
from matinee.write import movies, names
from tests.integration.test_imports import empty_again, export, run

TITLES = (
    "Untitled", "UNTITLED", "Ame\u0301lie", "Amélie", "Amelie", "शोले", "शाला", "ハハ", "パパ", "ﾊﾊ", "Straße", "Strasse", "$",
    "8½", "İstanbul", "ς", "A\u200dB", "Пётр", "Петр", "...",
)  # fmt: skip
PEOPLE = ("John Smith", "john smith", "Zoë", "Zoe", "カス", "ガス")
FACETS = ("カス商事", "ガス商事", "Drama", "drama", "Comédie", "Comedie")
movie = st.fixed_dictionaries(
    {"title": st.sampled_from(TITLES)},
    optional={
        "year": st.sampled_from([1975, 1999]),
        "genres": st.lists(st.sampled_from(FACETS), max_size=3),
        "companies": st.lists(st.sampled_from(FACETS), max_size=3),
        "directors": st.lists(st.integers(1, 9), max_size=2),
        "cast": st.lists(st.integers(1, 9), max_size=2),
        "overview": st.sampled_from(["one", "two"]),
        "popularity": st.floats(0, 1e6),
        "imdb": st.integers(1, 6),
        "tmdb": st.integers(1, 6),
    },
)
places = st.tuples(st.integers(0, 20), st.integers(0, 20))
steps = st.one_of(
    st.tuples(st.just("delete"), places),
    st.tuples(st.just("merge"), places),
    st.tuples(st.just("swap ids"), places),
    st.tuples(st.just("retitle"), places),
    st.tuples(st.just("rename person"), places),
)
catalogues = st.tuples(st.lists(movie, max_size=12), st.lists(steps, max_size=8))
bounded = settings(
    derandomize=True,
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def build(stated: list[dict[str, Any]], changes: list[Any]) -> None:
    """Make a catalogue; what it refuses is left out."""
    empty_again()
    people = [names.create_person(name, "tests") for name in (*PEOPLE, *PEOPLE[:3])]  # three of them twice
    for one in stated:
        ids = {
            scheme: f"tt{one[scheme]:07}" if scheme == "imdb" else str(one[scheme])
            for scheme in ("imdb", "tmdb")
            if scheme in one
        }
        credited = {role: [{"id": people[number - 1]} for number in one.get(role, [])] for role in ("directors", "cast")}
        plain = {name: value for name, value in one.items() if name not in ("imdb", "tmdb")}
        with contextlib.suppress(RequestError):
            movies.create(parse_content(plain | credited | {"ids": ids}), "tests")
    for change, (one, other) in changes:
        with contextlib.suppress(RequestError):
            apply(change, one, other)


def apply(change: str, one: int, other: int) -> None:
    ids = list(Movie.objects.order_by("id").values_list("id", flat=True))
    if change == "rename person":
        person = Person.objects.order_by("id")[one % 9]
        names.rename_person(person.pk, PEOPLE[other % len(PEOPLE)], person.version, "tests")
    elif not ids:
        return
    elif change == "delete":
        movies.delete(ids[one % len(ids)], "tests", None)
    elif change == "merge":
        movies.merge(ids[one % len(ids)], ids[other % len(ids)], "tests")
    elif change == "retitle":
        movies.patch(ids[one % len(ids)], {"title": TITLES[other % len(TITLES)]}, "tests", None)
    else:
        swap_ids(ids[one % len(ids)], ids[other % len(ids)])


def swap_ids(one: int, other: int) -> None:
    before = [movies.patch(pk, {}, "tests", None).document for pk in (one, other)]
    held = [{scheme: getattr(found.ids, scheme) for scheme in ("imdb", "tmdb")} for found in before if found]
    movies.patch(one, {"ids": {"imdb": None, "tmdb": None}}, "tests", None)
    movies.patch(other, {"ids": held[0]}, "tests", None)
    movies.patch(one, {"ids": held[1]}, "tests", None)


@bounded
@given(catalogue=catalogues, batch_rows=st.sampled_from([1, 3, 50]))
def test_any_export_read_into_an_empty_catalogue_is_exported_the_same(
    catalogue_home: Path, catalogue: Any, batch_rows: int
) -> None:
    build(*catalogue)
    first = export(catalogue_home)
    empty_again()

    report = run(first, catalogue_home, batch_rows=batch_rows)

    assert (report.added, report.rejected) == (len(first.splitlines()), 0)
    assert export(catalogue_home) == first


@bounded
@given(catalogue=catalogues, batch_rows=st.sampled_from([1, 3, 50]), killed_after=st.integers(0, 12))
def test_a_run_that_was_killed_and_begun_again_adds_each_movie_once(
    catalogue_home: Path, catalogue: Any, batch_rows: int, killed_after: int
) -> None:
    build(*catalogue)
    lines = export(catalogue_home).splitlines(keepends=True)
    empty_again()
    others = [json.dumps({"title": f"Here first {number}"}).encode() + b"\n" for number in range(5)]
    run(others, catalogue_home)  # they have the ids of the first five

    run(lines[:killed_after], catalogue_home, batch_rows=batch_rows)
    again = run(lines, catalogue_home, batch_rows=batch_rows)
    third = run(lines, catalogue_home, batch_rows=7)

    assert again.added == len(lines) - len(lines[:killed_after])
    assert (third.unchanged, Movie.objects.count()) == (len(lines), len(lines) + len(others))


def test_companies_whose_names_fold_alike_stay_two(catalogue_home: Path) -> None:
    lines = [b'{"title":"One","production":["\xe3\x82\xab\xe3\x82\xb9\xe5\x95\x86\xe4\xba\x8b"]}\n',
             b'{"title":"Two","production":["\xe3\x82\xac\xe3\x82\xb9\xe5\x95\x86\xe4\xba\x8b"]}\n']  # fmt: skip

    run(lines, catalogue_home, ndjson.read)

    assert sorted(Facet.objects.values_list("name", "movies")) == [("カス商事", 1), ("ガス商事", 1)]
    assert LogHead.objects.get().last_facet_id == 2
