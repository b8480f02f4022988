"""A bound that almost no movie passes is cheap in every order: its few movies are sorted, and no other order is walked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from matinee.domain.query import SORTS, FacetFilter, Filters, ListQuery, Sort
from matinee.storage import page_sql
from tests.conformance.catalogues import catalogue_copy
from tests.integration.test_plans import directory, fill, run

pytestmark = pytest.mark.sqlite_only("PostgreSQL's planner knows how many rows pass; see test_postgres_plans.py")
SIZE = 8_000
MOST_STEPS = 20_000  # most of them count 2,001 movies that pass another bound; to walk all movies takes 30,000 and more
BOUNDS = {
    "runtime": (("runtime_min", 99_999),),
    "runtime and votes": (("votes_min", 1), ("runtime_min", 99_999)),
    "votes": (("votes_min", 1_999_999_999),),
    "rating": (("rating_min", 10_001),),
    "years": (("year_from", 1900), ("year_to", 1920)),
    "short": (("runtime_max", 1),),
}
ORDERS = [Sort(name, descending) for name in SORTS for descending in (True, False)]


@pytest.fixture(scope="module")
def many(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Return a connection to some thousands of movies."""
    path = tmp_path_factory.mktemp("bounds") / "catalogue.sqlite3"
    with catalogue_copy(empty_catalogue, path):
        fill(SIZE)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def steps(connection: sqlite3.Connection, query: ListQuery) -> int:
    """Return the steps of SQLite's virtual machine for a page: to count the movies that pass, then to read them."""
    sizes, few, counting = page_sql.bound_sizes_statement(query), None, 0
    if sizes is not None:
        (row,), counting = run(connection, sizes)
        few = page_sql.few_by_bounds(query, row)
    rows, reading = run(connection, page_sql.list_statement(query, None, directory(connection), "sqlite", few))
    assert rows == []
    return counting + reading


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("facets", [(), (FacetFilter("genre", ("common",)),)], ids=["no genre", "common genre"])
def test_a_bound_that_no_movie_passes_does_not_cost_a_walk_of_all_movies(
    many: sqlite3.Connection, order: Sort, facets: tuple[FacetFilter, ...]
) -> None:
    costs = {name: steps(many, ListQuery(Filters(facets=facets, bounds=bounds), order)) for name, bounds in BOUNDS.items()}

    assert {name: cost for name, cost in costs.items() if cost > MOST_STEPS} == {}


def test_movies_that_pass_a_bound_are_sorted_only_where_that_is_cheaper_than_to_walk() -> None:
    query = ListQuery(Filters(bounds=(("runtime_min", 100),)))

    found = [page_sql.few_by_bounds(query, (newest_id, 500)) for newest_id in (10_000, 15_000, 1_000_000)]

    assert found == [None, ("runtime_key", 500), ("runtime_key", 500)]
    assert page_sql.few_by_bounds(query, (10**9, page_sql.FEW_ROWS + 1)) is None


def test_nothing_is_counted_for_a_list_that_begins_at_its_bound() -> None:
    own = ListQuery(Filters(bounds=(("votes_min", 10),)), Sort("votes"))
    year = ListQuery(Filters(bounds=(("year", 1999),)))

    assert page_sql.bound_sizes_statement(own) is page_sql.bound_sizes_statement(year) is None
