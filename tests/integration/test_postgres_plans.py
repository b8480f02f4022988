"""What reads cost on PostgreSQL, with 300,000 movies: no table is walked, nothing big is sorted, few rows are read for a page.

Every order in both directions, with every common filter and pair of filters, at the first page and deep in the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from matinee.domain.ids import ExternalId
from matinee.domain.query import SORTS, FacetFilter, Filters, ListQuery, PersonFilter, SearchQuery, Sort
from matinee.storage import page_sql
from matinee.storage.page_sql import FacetDirectory
from matinee.storage.postgres import READ_SETTINGS, plain_text
from matinee.storage.sql import Statement, named_queries
from tests import postgres
from tests.conftest import INSTANCE
from tests.integration.many_movies import fill

pytestmark = [
    pytest.mark.skipif(not postgres.wanted(), reason="PostgreSQL only: SQLite's plans stand in test_plans.py"),
]
SIZE = 300_000
ORDERS = [Sort(name, descending) for name in SORTS for descending in (True, False)]
# Rows that a page of 20 may read, in all tables together: each of its 21 rows is a row of an index, of a facet and of a
# document, and those that a filter passes over come on top: of the filters here, the rarest has one movie in two hundred.
MOST_ROWS = 9_000
# Entries of an index that holds all keys, of which no row is looked at: a fifth of a microsecond each.
MOST_ENTRIES = 40_000
# A person's or a rare facet's movies are few, and sorted on the way; so are those of a bound that almost nothing passes.
MOST_SORTED_ROWS = 2_500


def genre(*names: str) -> FacetFilter:
    return FacetFilter("genre", tuple(f"genre{name}" for name in names))


LANGUAGE = FacetFilter("language", ("language22",))
FILTERS = {
    "none": Filters(),
    "common genre": Filters(facets=(genre("1"),)),
    "rare genre": Filters(facets=(genre("19"),)),
    "either of two genres": Filters(facets=(genre("2", "3"),)),
    "two genres": Filters(facets=(genre("1"), genre("2"))),
    "genre, language": Filters(facets=(genre("2"), LANGUAGE)),
    "rare genre, rare language": Filters(facets=(genre("19"), FacetFilter("language", ("language39",)))),
    "genre, year": Filters(facets=(genre("1"),), bounds=(("year", 1980),)),
    "genre, years": Filters(facets=(genre("1"),), bounds=(("year_from", 1980), ("year_to", 1989))),
    "genre, rating": Filters(facets=(genre("1"),), bounds=(("rating_min", 7_000),)),
    "year": Filters(bounds=(("year", 1980),)),
    "years": Filters(bounds=(("year_from", 1980), ("year_to", 1989))),
    "rating": Filters(bounds=(("rating_min", 7_000),)),
    "votes": Filters(bounds=(("votes_min", 1_000),)),
    "runtime": Filters(bounds=(("runtime_min", 90), ("runtime_max", 120))),
    "years, good rating": Filters(bounds=(("year_from", 1950), ("year_to", 1959), ("rating_min", 9_000))),
    "years, rating": Filters(bounds=(("year_from", 1980), ("year_to", 1989), ("rating_min", 7_000))),
    "hardly any votes": Filters(bounds=(("votes_min", 99_000_000),)),
    "hardly any runtime": Filters(bounds=(("runtime_min", 180),)),
    "person": Filters(people=(PersonFilter(1),)),
    "person, genre": Filters(facets=(genre("1"),), people=(PersonFilter(1, "director"),)),
}


@pytest.fixture(scope="module")
def many(empty_catalogue: Any) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection to the many movies."""
    assert INSTANCE is not None
    name = INSTANCE.new_database()
    fill(INSTANCE.url(name), SIZE)
    options = " ".join(f"-c {setting}={value}" for setting, value in READ_SETTINGS.items())
    with psycopg.connect(INSTANCE.url(name), autocommit=True, options=options) as session:
        yield session
    INSTANCE.drop(name)


def directory(session: psycopg.Connection[Any]) -> FacetDirectory:
    rows = session.execute(named_queries("postgresql")["facets"]).fetchall()
    return FacetDirectory.of(rows)


def plan(session: psycopg.Connection[Any], statement: Statement) -> dict[str, Any]:
    """Return a statement's plan as it was run, with what each step did."""
    text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {plain_text(statement.text)}"
    ((found,),) = session.execute(text, statement.values, prepare=False).fetchall()
    root: dict[str, Any] = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    return root


def steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's steps."""
    yield node
    for below in node.get("Plans", ()):
        yield from steps(below)


def rows_read(root: dict[str, Any]) -> int:
    """Return how many rows all scans have looked at, those included that a condition passed over."""
    scans = [step for step in steps(root) if "Scan" in step["Node Type"] and step["Node Type"] != "Subquery Scan"]
    return _read_by(step for step in scans if step["Node Type"] != "Index Only Scan")


def entries_read(root: dict[str, Any]) -> int:
    """Return how many entries were read of indexes alone, those included that a condition passed over."""
    return _read_by(step for step in steps(root) if step["Node Type"] == "Index Only Scan")


def _read_by(scans: Iterable[dict[str, Any]]) -> int:
    return sum(round((step["Actual Rows"] + step.get("Rows Removed by Filter", 0)) * step["Actual Loops"]) for step in scans)


# Votes rise with popularity, so that upwards the movies with many votes come last of all, and the planner takes the two for
# independent: 0.3 s here. The other two read index entries only, 10 to 15 ms.
KNOWN = {
    ("votes", "popularity", False), ("votes", "popularity", True), ("hardly any votes", "popularity", False),
    ("hardly any runtime", "rating", False), ("hardly any runtime", "votes", False),
}  # fmt: skip


def faults(root: dict[str, Any], most_rows: int = MOST_ROWS) -> list[str]:
    """Return what is wrong with a plan; of a good one, nothing."""
    found = [
        f"walks {step['Relation Name']}"
        for step in steps(root)
        if step["Node Type"] == "Seq Scan" and step["Relation Name"] not in ("facet", "log_head")
    ]
    sorts = [step for step in steps(root) if step["Node Type"] in ("Sort", "Incremental Sort")]
    sorted_rows = [sum(below["Actual Rows"] * below["Actual Loops"] for below in step["Plans"]) for step in sorts]
    found += [f"sorts {rows} rows" for rows in sorted_rows if rows > MOST_SORTED_ROWS]
    found += [f"reads {rows_read(root)} rows"] if rows_read(root) > most_rows else []
    return found + ([f"reads {entries_read(root)} entries"] if entries_read(root) > MOST_ENTRIES else [])


def deep_key(session: psycopg.Connection[Any], sort: Sort) -> tuple[Any, int]:
    """Return the keys of the movie in the middle of a list."""
    key, way = page_sql.KEYS[sort.name], "DESC" if sort.descending else "ASC"
    known = "" if sort.name in ("title", "added") else f"WHERE {key} >= 0"
    text = f"SELECT {key}, movie_id FROM movie_document {known} ORDER BY {key} {way}, movie_id {way} OFFSET 100000 LIMIT 1"
    return session.execute(text).fetchone()  # type: ignore[return-value]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_no_page_walks_a_table_sorts_much_or_reads_much_more_than_it_answers(
    many: psycopg.Connection[Any], order: Sort
) -> None:
    facets, wrong = directory(many), {}
    for name, filters in FILTERS.items():
        for after in (None, deep_key(many, order)):
            statement = page_sql.list_statement(ListQuery(filters, order), after, facets, "postgresql")
            assert statement is not None
            found = faults(plan(many, statement))
            if found and (name, order.name, order.descending) not in KNOWN:
                wrong[name, "deep" if after else "first"] = found

    assert wrong == {}


def test_no_named_statement_walks_a_table(many: psycopg.Connection[Any]) -> None:
    values = {
        "id": 1,
        "scheme": "imdb",
        "value": "tt00000001",
        "since": 100_000,
        "before": 9_000,
        "ids": "[1, 2]",
        "limit": 20,
        "digest": "",
        "after": 100_000,
    }
    sql = named_queries("postgresql")
    whole = [
        name for name, text in sql.items() if re.match("SELECT", text) and "{" not in text and not name.startswith("report")
    ]
    # For the command line: it walks everything because that is what was asked for.
    asked = [name for name in whole if name not in ("count_documents", "leader_samplers")]

    wrong = {name: found for name in asked if (found := faults(plan(many, Statement(sql[name], values)), 500))}

    assert len(asked) > 8
    assert wrong == {}


SEARCHES = {
    "a word of every title": "common",
    "a rare word": "c4ca4 1",
    "a rare word's beginning": "c4c",
    "a common word and a rare one": "common 500",
    "two letters": "co",
    "a person's name": "person 5",
    "a whole title": "common c4ca4 1",
    "nothing": "zebra",
}


@pytest.mark.parametrize("q", SEARCHES.values(), ids=SEARCHES)
def test_no_search_walks_a_table_or_reads_much_more_than_it_answers(many: psycopg.Connection[Any], q: str) -> None:
    facets, limited = directory(many), Filters(facets=(genre("1"),))
    statements = {
        "search": page_sql.search_statement(SearchQuery(q), None, facets, "postgresql"),
        "search with a genre": page_sql.search_statement(SearchQuery(q, limited), None, facets, "postgresql"),
        "titles": page_sql.titles_statement(q, 10, "postgresql"),
        "people": page_sql.people_statement(q, 10, "postgresql"),
    }

    wrong = {name: found for name, statement in statements.items() if statement and (found := faults(plan(many, statement)))}

    assert wrong == {}


def test_a_list_of_ids_is_looked_up(many: psycopg.Connection[Any]) -> None:
    asked = Filters(ids=(1, 500, ExternalId("imdb", "tt00000007")), facets=(genre("1"),))
    statement = page_sql.ids_statement(ListQuery(asked), None, directory(many), "postgresql")

    assert statement is not None
    assert faults(plan(many, statement), 200) == []
