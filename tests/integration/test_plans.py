"""What reads cost: no statement walks a table, no page depends on how deep it is, no search on how many movies match."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from matinee.domain.ids import ExternalId
from matinee.domain.movie import Awards, Critics, Ids, MovieDocument, Person, Rating
from matinee.domain.popularity import WINDOWS
from matinee.domain.query import SORTS, FacetFilter, Filters, ListQuery, PersonFilter, SearchQuery, Sort
from matinee.storage import page_sql
from matinee.storage.page_sql import FEW_ROWS, FacetDirectory, Statement
from matinee.storage.sql import named_queries
from tests.conformance.catalogues import catalogue_copy

pytestmark = pytest.mark.sqlite_only("its plans; those of PostgreSQL stand in test_postgres_plans.py")
MANY, TENTH = 20_000, 2_000
GENRES = {"common": 1, "wide": 2, "rare": 3}
ORDERS = [Sort(name, descending) for name in SORTS for descending in (True, False)]


def document(number: int, chance: random.Random) -> MovieDocument:
    """Return one of many movies: three in four are common, one in a thousand is rare, each has Common in its title."""

    def unknown_or(known: range) -> int | None:
        return None if chance.random() < 0.3 else chance.choice(known)

    genres = [name for name, share in (("common", 0.75), ("wide", 0.5), ("rare", 0.001)) if chance.random() < share]
    return MovieDocument(
        id=number, version=1, position=number, ids=Ids(imdb=f"tt{number:07}"), original_title=None, released=None,
        title=f"{chance.choice(('The', 'A', ''))} Common {chance.choice(('Star', 'War', 'Day'))} {number % 997}".strip(),
        year=unknown_or(range(1960, 2000)), runtime_min=chance.randint(60, 180), genres=genres,
        directors=[Person(number % 500 + 1, f"Common Person {number % 500}")], writers=[], cast=[],
        languages=["common"], countries=[], companies=[], overview=None, tagline=None, certificate=None,
        rating=Rating(unknown_or(range(11)), unknown_or(range(1_000))), critics=Critics(),
        popularity=unknown_or(range(300)), box_office_usd=None, awards=Awards(), poster=None,
        updated_at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip


def fill(size: int) -> None:
    """Write so many movies with the encoders of the write path, past its matching of records, which takes longer."""
    from django.db import transaction

    from matinee.storage import documents, models, rows

    chance = random.Random(size)
    movies = [document(number, chance) for number in range(1, size + 1)]
    people = {person.id: person.name for movie in movies for person in movie.directors}
    facet_ids = {("genre", name): number for name, number in GENRES.items()} | {("language", "common"): 4}
    with transaction.atomic():
        models.Person.objects.bulk_create(
            [models.Person(id=pk, name=name, name_fold=name.lower()) for pk, name in people.items()]
        )
        for (kind, name), pk in facet_ids.items():
            count = sum(name in movie.genres for movie in movies) if kind == "genre" else size
            models.Facet.objects.create(id=pk, kind=kind, name=name, name_fold=name, movies=count)
        companies = [models.Facet(id=pk, kind="company", name=str(pk), name_fold=str(pk)) for pk in range(10, 510)]
        models.Facet.objects.bulk_create(companies)
        rows.store(movies, facet_ids, [])
        documents.write(movies, facet_ids, [])


@pytest.fixture(scope="module")
def files(empty_catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Return a catalogue of 20,000 movies and one of 2,000."""
    made = {}
    for size in (MANY, TENTH):
        made[size] = tmp_path_factory.mktemp("plans") / "catalogue.sqlite3"
        with catalogue_copy(empty_catalogue, made[size]):
            fill(size)
    return made


@pytest.fixture(scope="module")
def many(files: dict[int, Path]) -> Iterator[sqlite3.Connection]:
    """Return a connection to the large catalogue."""
    with closing(sqlite3.connect(files[MANY])) as connection:
        yield connection


@pytest.fixture(scope="module")
def analyzed(many: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Return the same with statistics, as somebody's own ANALYZE leaves them: the plans must not hang on their absence."""
    with closing(sqlite3.connect(":memory:")) as copy:
        many.backup(copy)
        copy.execute("ANALYZE")
        yield copy


def directory(connection: sqlite3.Connection) -> FacetDirectory:
    rows = connection.execute(named_queries()["facets"])
    return FacetDirectory.of(rows)


def plan(connection: sqlite3.Connection, text: str, values: dict[str, Any]) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]


def run(connection: sqlite3.Connection, statement: Statement | None) -> tuple[list[Any], int]:
    """Return a statement's rows, and how many steps SQLite's virtual machine took, those within the full-text index too."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    assert statement is not None
    connection.set_progress_handler(step, 1)
    try:
        rows = connection.execute(statement.text, statement.values).fetchall()
    finally:
        connection.set_progress_handler(None, 0)
    return rows, steps


def genre(*names: str) -> FacetFilter:
    return FacetFilter("genre", names)


FILTERS = {
    "none": Filters(),
    "common genre": Filters(facets=(genre("common"),)),
    "rare genre": Filters(facets=(genre("rare"),)),
    "either of two genres": Filters(facets=(genre("common", "wide"),)),
    "two genres": Filters(facets=(genre("common"), genre("wide"))),
    "person": Filters(people=(PersonFilter(7),)),
    "director by name": Filters(people=(PersonFilter("common person 7", "director"),)),
    "two people": Filters(people=(PersonFilter(7), PersonFilter("common person 7"))),
    "person and genre": Filters(facets=(genre("common"),), people=(PersonFilter(7),)),
    "year": Filters(bounds=(("year", 1979),)),
    "years": Filters(bounds=(("year_from", 1970), ("year_to", 1995))),
    "rating": Filters(bounds=(("rating_min", 3_000),)),
    "votes": Filters(bounds=(("votes_min", 300),)),
    "length": Filters(bounds=(("runtime_min", 70), ("runtime_max", 170))),
    "genre, year": Filters(facets=(genre("common"),), bounds=(("year", 1979),)),
    "genre, years": Filters(facets=(genre("common"),), bounds=(("year_from", 1970), ("year_to", 1995))),
}
# Sorted on the way are: the few movies of a person or a rare facet, and those of one year in an order that has no index
# within the year.
SORTED = {"person", "director by name", "two people", "person and genre"}
SORTED_BY = {"rare genre": {"title"}, "year": {"title"}, "genre, year": {"title"}}


def is_sorted(name: str, order: Sort) -> bool:
    return name in SORTED or order.name in SORTED_BY.get(name, ())


def full_scans(steps: list[str]) -> list[str]:
    """Return the steps that walk a whole table: those that name no index, and are not of rows that were found before."""
    scans = [step for step in steps if step.startswith("SCAN")]
    return [
        step for step in scans if not re.search(r"USING (COVERING )?INDEX|VIRTUAL TABLE|SCAN (few|m|\(subquery-\d+\))$", step)
    ]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_no_page_walks_a_table_or_sorts_more_than_it_must(
    many: sqlite3.Connection, analyzed: sqlite3.Connection, order: Sort
) -> None:
    facets = directory(many)
    wrong = {}
    for connection, (name, filters) in itertools.product((many, analyzed), FILTERS.items()):
        for after in (None, ("m" if order.name == "title" else 5, 5), (-1, 5)):
            statement = page_sql.list_statement(ListQuery(filters, order), after, facets)
            steps = plan(connection, statement.text, statement.values)
            if full_scans(steps) or ("USE TEMP B-TREE FOR ORDER BY" in steps and not is_sorted(name, order)):
                wrong[name, after, connection is analyzed] = steps

    assert wrong == {}


TRENDING = [f"trending_by_{window}" for window in WINDOWS]


def whole_statements() -> list[str]:
    return [name for name, text in named_queries().items() if text.startswith("SELECT") and "{" not in text]


def test_no_named_statement_walks_a_table(many: sqlite3.Connection) -> None:
    values = {
        "id": 1,
        "scheme": "imdb",
        "value": "tt1",
        "since": 1,
        "before": 9,
        "ids": "[1]",
        "limit": 20,
        "digest": "",
        "after": 0,
    }

    plans = {name: plan(many, named_queries()[name], values) for name in whole_statements()}

    assert len(plans) == 16
    assert {name: steps for name, steps in plans.items() if full_scans(steps)} == {}
    # One is for the command line, and walks an index from end to end because that is what was asked for.
    walking = {name for name, steps in plans.items() if "SCAN" in str(steps).replace("SCAN json_each", "")}
    assert walking - {"log_newest", "log_from", "log_before"} == {"count_documents"}
    # Two begin where their index is plausible, sort nothing, and stop when they have enough.
    indexes = [f"SEARCH movie_popularity USING INDEX popularity_{window} ({window}<?)" for window in WINDOWS]
    assert [plans[name][0].replace("COVERING ", "") for name in TRENDING] == indexes
    assert "TEMP B-TREE" not in str([plans[name] for name in TRENDING])


def test_no_search_and_no_list_of_ids_walks_a_table(many: sqlite3.Connection) -> None:
    facets, limited = (
        directory(many),
        Filters(facets=(genre("common", "wide"),), people=(PersonFilter(7),), bounds=(("year_to", 1979),)),
    )
    by_id = replace(limited, ids=(1, ExternalId("imdb", "tt0000001")))
    statements = {
        "ids": page_sql.ids_statement(ListQuery(by_id), None, facets),
        "search": page_sql.search_statement(SearchQuery("common st", limited, 1979), None, facets),
        "deep search": page_sql.search_statement(SearchQuery("common st", limited, 1979), (3, 5), facets),
        "titles": page_sql.titles_statement("comm", 10),
        "people": page_sql.people_statement("common pers", 10),
    }
    statements["ids"].values["refs"] = '[{"i": 1}]'

    plans = {name: plan(many, statement.text, statement.values) for name, statement in statements.items()}

    allowed = {"SCAN asked VIRTUAL TABLE INDEX 1:"}
    assert {name: scans for name, steps in plans.items() if (scans := set(full_scans(steps)) - allowed)} == {}


def test_nothing_is_asked_for_by_offset(many: sqlite3.Connection) -> None:
    facets = directory(many)
    texts = list(named_queries().values())
    for filters in FILTERS.values():
        texts += [page_sql.list_statement(ListQuery(filters, order), (5, 5), facets).text for order in ORDERS]

    assert [text for text in texts if "OFFSET" in text.upper()] == []


def test_the_genres_of_these_tests_are_common_and_rare(many: sqlite3.Connection) -> None:
    facets = directory(many)
    sizes = {name: facets.sizes[pk] for (kind, name), pk in facets.exact.items() if kind == "genre"}

    assert sizes["rare"] < 50 < FEW_ROWS < sizes["wide"] < sizes["common"] < MANY


# Filters that hold for one movie in three or more, or whose movies lie side by side in the index of each order.
DENSE = ["none", "common genre", "either of two genres", "two genres", "year", "years", "rating", "votes", "genre, years"]


def keys_of(connection: sqlite3.Connection, name: str, order: Sort) -> list[tuple[Any, int]]:
    """Return the keys of the whole list, at which a page may begin."""
    statement = page_sql.list_statement(ListQuery(FILTERS[name], order, MANY), None, directory(connection))
    return connection.execute(f"SELECT sort_key, movie_id FROM ({statement.text})", statement.values).fetchall()


def page(connection: sqlite3.Connection, name: str, order: Sort, after: tuple[Any, int] | None) -> tuple[list[Any], int]:
    return run(connection, page_sql.list_statement(ListQuery(FILTERS[name], order), after, directory(connection)))


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_page_costs_the_same_however_deep_it_is(many: sqlite3.Connection, order: Sort) -> None:
    dear = {}
    for name in DENSE:
        keys = keys_of(many, name, order)
        # Against the second page: from there on, the key that a page goes on from is compared with each of its rows.
        begins = [keys[20], *(keys[int(len(keys) * share)] for share in (0.25, 0.5, 0.75, 0.9))]
        found = [page(many, name, order, after) for after in begins]
        assert {len(rows) for rows, _ in found} == {21}
        costs = [steps for _, steps in found]
        if max(costs) > 1.5 * costs[0]:
            dear[name] = costs

    assert dear == {}


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_end_of_a_list_is_found_without_looking_beyond_it(many: sqlite3.Connection, order: Sort) -> None:
    bounded = {"year": ["years", "genre, years"], "rating": ["rating"], "votes": ["votes"]}
    dear = {}
    for name in ("none", "common genre", "rare genre", "person", "year", *bounded.get(order.name, ())):
        keys = keys_of(many, name, order)
        rows, steps = page(many, name, order, keys[-2])
        assert [(sort_key, movie_id) for movie_id, sort_key, *_ in rows] == keys[-1:]
        first = page(many, name, order, None)[1]
        if steps > 1.5 * first:
            dear[name] = steps, first

    assert dear == {}


def searches() -> dict[str, Statement | None]:
    limited = Filters(facets=(genre("common"),))
    facets = FacetDirectory.of([("genre", "common", 1, MANY)])
    return {
        "a word of every title": page_sql.search_statement(SearchQuery("common"), None, facets),
        "a word that every third title begins with": page_sql.search_statement(SearchQuery("the"), None, facets),
        "a letter": page_sql.search_statement(SearchQuery("c"), None, facets),
        "a word within a genre": page_sql.search_statement(SearchQuery("common", limited), None, facets),
        "titles": page_sql.titles_statement("com", 10),
        "people": page_sql.people_statement("common", 10),
    }


@pytest.mark.parametrize("name", searches())
def test_a_search_stops_when_its_page_is_full(files: dict[int, Path], name: str) -> None:
    costs = {}
    for size, path in files.items():
        with closing(sqlite3.connect(path)) as connection:
            rows, costs[size] = run(connection, searches()[name])
            assert len(rows) >= 10

    assert costs[MANY] <= 1.5 * costs[TENTH], costs
