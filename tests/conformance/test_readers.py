"""Every reader answers the same: SQLite's, from a file that the write path made, and memory's, from the same movies."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.popularity import WINDOWS, Window
from matinee.domain.query import SORTS, FacetFilter, Filters, ListQuery, PersonFilter, SearchQuery, Sort
from matinee.domain.representation import Tombstone
from matinee.domain.text import fold, identity
from matinee.storage import page_sql
from matinee.storage.reader import CardRows, Reader
from tests.conformance.catalogues import COUNTRIES, GENRES, LANGUAGES, NAMES, OPENED, TITLES, Pair, engine_reader, in_memory
from tests.movies import record

EVERYTHING = 10_000  # a page that holds all
ORDERS = [Sort(name, descending) for name in SORTS for descending in (True, False)]
LOOP = asyncio.new_event_loop()


def run(asked: Coroutine[Any, Any, Any]) -> Any:
    return LOOP.run_until_complete(asked)


@pytest.fixture(autouse=True)
def _closed_readers(pair: Pair) -> Iterator[None]:
    """Close the readers that a test has opened; the pair of the whole folder stays."""
    before = len(OPENED)
    yield
    while len(OPENED) > before:
        run(OPENED.pop().close())


def same(pair: Pair, method: str, *asked: Any) -> Any:
    """Ask both readers, and return what both answered."""
    answers = [run(getattr(reader, method)(*asked)) for reader in pair]
    assert answers[0] == answers[1], (method, asked)
    return answers[0]


def ids_of(rows: CardRows) -> list[int]:
    return [json.loads(card)["id"] for card in rows.cards]


def walk(ask: Any, query: ListQuery | SearchQuery) -> tuple[list[int], list[tuple[Any, ...]]]:
    """Return the ids on all pages, and the keys at which the pages were parted."""
    ids: list[int] = []
    cuts: list[tuple[Any, ...]] = []
    rows = ask(query, None)
    while True:
        ids += ids_of(rows)
        if rows.after is None:
            return ids, cuts
        assert len(rows.cards) == query.limit
        cuts.append(rows.after)
        rows = ask(query, rows.after)


def asking(pair: Pair, method: str) -> Any:
    return lambda query, after: same(pair, method, query, after)


def facet(kind: str, *names: str) -> FacetFilter:
    return FacetFilter(kind, tuple(map(identity, names)))


def test_movies_are_the_same_by_every_id(pair: Pair) -> None:
    refs: list[MovieRef] = [*range(210), *(ExternalId("imdb", f"tt{number:07}") for number in range(210))]

    found = [same(pair, "movie", ref) for ref in refs]

    kinds = {kind: [type(item).__name__ for item in found].count(kind) for kind in ("Representation", "Tombstone", "NoneType")}
    # Of 200 movies, one was deleted and two merged; an id that was merged went on to the movie that stayed if it had none.
    assert kinds == {"Representation": 394, "Tombstone": 6, "NoneType": 20}


def test_a_movie_that_was_merged_twice_leads_to_the_one_that_stayed(pair: Pair) -> None:
    stones = [found for number in range(1, 201) if isinstance(found := same(pair, "movie", number), Tombstone)]

    ends = [stone.merged_into for stone in stones if stone.merged_into is not None]
    assert len(stones) == 3
    assert (len(ends), len(set(ends))) == (2, 1)


@pytest.mark.parametrize("method", ["genres", "position", "count"])
def test_what_takes_no_question_is_the_same(pair: Pair, method: str) -> None:
    assert same(pair, method)


def test_people_are_the_same(pair: Pair) -> None:
    people = [same(pair, "person", number) for number in range(len(NAMES) + 3)]

    renamed = {"Joe" if name == "Jo" else name for name in NAMES}
    assert {person.name for person in people if person} == renamed | {"Nobody's Name"}


def test_changes_are_the_same_from_everywhere(pair: Pair) -> None:
    everything = same(pair, "changes", 0, EVERYTHING)
    steps = [same(pair, "changes", since, 7) for since in range(everything[-1].position + 2)]

    assert {change.kind for change in everything} == {"created", "updated", "deleted", "merged", "purged"}
    assert "key" not in {change.subject for change in everything}
    assert steps[10] == [change for change in everything if change.position > 10][:7]
    assert steps[-1] == []


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_trending_is_the_same_and_lives(pair: Pair, window: Window) -> None:
    everything = same(pair, "trending", window, EVERYTHING)
    first = [same(pair, "trending", window, limit) for limit in (1, 7)]

    assert first == [everything[:1], everything[:7]]
    assert 100 < len(everything) < 198
    assert {movie_id for movie_id, _ in everything} <= set(pair.memory._movies)
    assert [score for _, score in everything] == sorted((score for _, score in everything), reverse=True)


def test_keys_are_the_same(pair: Pair) -> None:
    digests = list(pair.memory._keys)

    assert [same(pair, "api_key", digest).name for digest in digests] == ["good"]
    assert same(pair, "api_key", hashlib.sha256(b"unknown").hexdigest()) is None


def test_a_key_that_was_revoked_is_not_there(catalogue_home: Path) -> None:
    from matinee.write import keys

    key = keys.create("old", "read", "tests")
    keys.revoke(key.prefix, "tests")
    pair = Pair(engine_reader(catalogue_home), in_memory())

    assert same(pair, "api_key", hashlib.sha256(key.text.encode()).hexdigest()) is None


def test_documents_come_in_order_of_position_and_are_the_same(pair: Pair) -> None:
    async def bodies(reader: Reader) -> list[bytes]:
        return [body async for body in reader.documents()]

    first, second = (run(bodies(reader)) for reader in pair)

    assert first == second
    assert len(first) == 197
    assert [json.loads(body)["position"] for body in first] == sorted(json.loads(body)["position"] for body in first)


FILTERS = {
    "a genre": Filters(facets=(facet("genre", "Sci-Fi"),)),
    "a genre that was renamed": Filters(facets=(facet("genre", "tragedie"),)),
    "the old name of a genre": Filters(facets=(facet("genre", "drama"),)),
    "a genre without movies": Filters(facets=(facet("genre", "empty"),)),
    "an unknown genre": Filters(facets=(facet("genre", "nothing"),)),
    "any of two genres": Filters(facets=(facet("genre", "war", "film noir", "nothing"),)),
    "all of two genres": Filters(facets=(facet("genre", "war"), facet("genre", "film noir"))),
    "a language": Filters(facets=(facet("language", "français"),)),
    "a country": Filters(facets=(facet("country", "cote d'ivoire"),)),
    "a person by name": Filters(people=(PersonFilter("ann lee"),)),
    "a person by id": Filters(people=(PersonFilter(1),)),
    "an unknown person": Filters(people=(PersonFilter("nobody known"),)),
    "an unknown id of a person": Filters(people=(PersonFilter(2**63 - 1),)),
    "a director": Filters(people=(PersonFilter("ann lee", "director"),)),
    "two people": Filters(people=(PersonFilter(1), PersonFilter("star jones"))),
    "a year": Filters(bounds=(("year", 1979),)),
    "from a year on": Filters(bounds=(("year_from", 1979),)),
    "up to a year": Filters(bounds=(("year_to", 1979),)),
    "a rating": Filters(bounds=(("rating_min", 7_500),)),
    "any known rating": Filters(bounds=(("rating_min", 0),)),
    "votes": Filters(bounds=(("votes_min", 10),)),
    "any known votes": Filters(bounds=(("votes_min", 0),)),
    "at least so long": Filters(bounds=(("runtime_min", 91),)),
    "at most so long": Filters(bounds=(("runtime_max", 91),)),
}
EMPTY = {
    "the old name of a genre",
    "a genre without movies",
    "an unknown genre",
    "an unknown person",
    "an unknown id of a person",
}


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_alone_is_the_same_in_every_order(pair: Pair, name: str) -> None:
    pages = [same(pair, "page", ListQuery(FILTERS[name], order, EVERYTHING), None) for order in ORDERS]

    assert len({frozenset(ids_of(page)) for page in pages}) == 1
    assert 0 < len(pages[0].cards) < 197 or name in EMPTY
    assert not (name in EMPTY and pages[0].cards)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_unknown_values_come_last_and_ties_go_by_id_in_the_same_direction(pair: Pair, order: Sort) -> None:
    page = same(pair, "page", ListQuery(sort=order, limit=EVERYTHING), None)

    rows = [(shown(json.loads(card), order.name), json.loads(card)["id"]) for card in page.cards]
    known = [row for row in rows if row[0] is not None]
    unknown = [row for row in rows if row[0] is None]
    assert rows == [*sorted(known, reverse=order.descending), *sorted(unknown, reverse=order.descending)]
    assert len(rows) == 197
    assert bool(unknown) == (order.name not in ("title", "added"))


def shown(card: dict[str, Any], order: str) -> Any:
    """Return the value on a card that an order goes by."""
    return {
        "popularity": card["popularity"],
        "rating": card["rating"]["average"],
        "votes": card["rating"]["votes"],
        "year": card["year"],
        "title": fold(card["title"]) or card["title"],
        "added": card["id"],
    }[order]


def texts(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from([fold(choice) for choice in (*choices, "nothing")])


def names_of(*choices: str) -> st.SearchStrategy[str]:
    return st.sampled_from([form(choice) for choice in (*choices, "nothing") for form in (identity, fold)])


facets = st.one_of(
    *(
        st.builds(FacetFilter, st.just(kind), st.lists(names_of(*names), min_size=1, max_size=3, unique=True).map(tuple))
        for kind, names in (("genre", (*GENRES, "Tragédie")), ("language", LANGUAGES), ("country", COUNTRIES))
    )
)
people = st.builds(PersonFilter, st.integers(1, 12) | texts(*NAMES), st.sampled_from([None, None, "director"]))
bounds = st.fixed_dictionaries(
    {},
    optional={
        "year": st.integers(1976, 1983), "year_from": st.integers(1976, 1983), "year_to": st.integers(1976, 1983),
        "rating_min": st.sampled_from([0, 7_500, 7_501]), "votes_min": st.sampled_from([0, 10, 11]),
        "runtime_min": st.sampled_from([0, 91]), "runtime_max": st.sampled_from([91, 117]),
    },
).map(lambda chosen: tuple(chosen.items()))  # fmt: skip
filters = st.builds(
    Filters,
    facets=st.lists(facets, max_size=2).map(tuple),
    people=st.lists(people, max_size=2).map(tuple),
    bounds=st.just(()) | bounds,
)
limits = st.sampled_from([5, 7, 20, 100])
lists = st.builds(ListQuery, filters, st.sampled_from(ORDERS), limits)
words = sorted({word for text in (*TITLES, *NAMES) for word in fold(text).split()} | {"st", "wal", "walle", "obri", "x", "&"})
searches = st.builds(
    SearchQuery,
    st.lists(st.sampled_from([*words, *TITLES]), min_size=1, max_size=2).map(" ".join),
    st.just(Filters()) | filters,
    st.none() | st.integers(1976, 1983),
    limits,
)
# How long an example takes says only how busy the machine is.
repeatable = settings(derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@repeatable
@given(query=lists, few_rows=st.sampled_from([30, page_sql.FEW_ROWS]))
def test_any_list_is_the_same_page_by_page_and_meets_each_movie_once(pair: Pair, query: ListQuery, few_rows: int) -> None:
    with mock.patch.object(page_sql, "FEW_ROWS", few_rows):  # both ways of walking a facet's movies
        ids, _ = walk(asking(pair, "page"), query)

    whole = same(pair, "page", ListQuery(query.filters, query.sort, EVERYTHING), None)
    assert ids == ids_of(whole)
    assert len(ids) == len(set(ids))


@repeatable
@given(query=searches)
def test_any_search_is_the_same_page_by_page_and_meets_each_movie_once(pair: Pair, query: SearchQuery) -> None:
    ids, _ = walk(asking(pair, "search"), query)

    whole = same(pair, "search", SearchQuery(query.q, query.filters, query.year, EVERYTHING), None)
    assert ids == ids_of(whole)
    assert len(ids) == len(set(ids))


@repeatable
@given(refs=st.lists(st.integers(0, 210) | st.integers(1, 210).map(lambda n: ExternalId("imdb", f"tt{n:07}"))), only=filters)
def test_any_list_of_ids_is_the_same(pair: Pair, refs: list[MovieRef], only: Filters) -> None:
    asked = Filters(tuple(dict.fromkeys(refs)), only.facets, only.people, only.bounds)

    page = same(pair, "page", ListQuery(asked, limit=100), None)
    found, _ = walk(asking(pair, "page"), ListQuery(asked, limit=3))

    assert ids_of(page) == found == list(dict.fromkeys(found))


def test_a_list_of_all_ids_has_each_movie_once_where_it_was_first_asked_for(pair: Pair) -> None:
    refs: list[MovieRef] = [*range(200, 0, -1), *(ExternalId("imdb", f"tt{number:07}") for number in range(1, 201))]

    found, _ = walk(asking(pair, "page"), ListQuery(Filters(tuple(refs)), limit=70))

    stones = {number: same(pair, "movie", number) for number in range(1, 201)}
    ends = [stone.merged_into if isinstance(stone, Tombstone) else number for number, stone in stones.items()]
    assert found == list(dict.fromkeys(end for end in reversed(ends) if end))


@repeatable
@given(q=st.lists(st.sampled_from(words), min_size=1, max_size=2).map(" ".join), limit=st.integers(1, 10))
def test_any_suggestion_is_the_same(pair: Pair, q: str, limit: int) -> None:
    cards, found = same(pair, "suggest", q, limit)

    assert len(cards) <= limit
    assert len(found) <= limit


def test_people_are_suggested_of_the_fifty_most_popular_movies_that_match(catalogue_home: Path) -> None:
    from matinee.write import batches

    casts = [["Ann Often"]] * 49 + [["Ann Often", "Ann Fiftieth"], ["Ann Beyond"]]
    movies = [record(place, title=f"M{place}", popularity=100 - place, cast=cast) for place, cast in enumerate(casts)]
    batches.write(movies, "tests")
    pair = Pair(engine_reader(catalogue_home), in_memory())

    assert [person.name for person in same(pair, "suggest", "ann", 10)[1]] == ["Ann Often", "Ann Fiftieth"]


@pytest.mark.parametrize("year", [None, 1979])
def test_a_search_goes_on_in_every_tier(pair: Pair, year: int | None) -> None:
    query = SearchQuery("star", year=year, limit=1)

    ids, cuts = walk(asking(pair, "search"), query)

    tiers = [0, 1, 2, 3] if year is None else list(range(8))
    assert sorted({tier for tier, _ in cuts}) == tiers
    assert [ids_of(same(pair, "search", query, cut))[0] for cut in cuts] == ids[1:]


def test_a_search_of_a_year_keeps_the_years_beside_it_below_each_tier(pair: Pair) -> None:
    page = same(pair, "search", SearchQuery("star", year=1979, limit=EVERYTHING), None)

    years = [json.loads(card)["year"] for card in page.cards]
    assert set(years) == {1978, 1979, 1980}
    assert years.index(1979) == 0


@pytest.mark.parametrize("q", ["-", "'", " ", "\x00", "᳀"])
def test_a_search_without_words_is_empty(pair: Pair, q: str) -> None:
    assert same(pair, "search", SearchQuery(q), None) == CardRows([], None)
    assert same(pair, "suggest", q, 10) == ([], [])


def walk_while_adding(ask: Any, query: ListQuery | SearchQuery) -> tuple[list[int], list[int]]:
    """Return the ids that were there from the start, and those that were met while movies were added before each next page."""
    from matinee.write import batches

    before = ids_of(run(ask(replace(query, limit=EVERYTHING), None)))
    met: list[int] = []
    rows = run(ask(query, None))
    while rows.after is not None:
        met += ids_of(rows)
        added = {"title": f"Star {len(met)}", "year": 1980, "popularity": 85, "rating": {"average": 8.3, "votes": 5}}
        batches.write([record(1, **added), record(2, title="Star", original_title=f"The Star {len(met)}")], "tests")
        rows = run(ask(query, rows.after))
    return before, met + ids_of(rows)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_list_meets_each_movie_once_while_movies_are_added(small_catalogue: Path, order: Sort) -> None:
    reader = engine_reader(small_catalogue)

    before, met = walk_while_adding(reader.page, ListQuery(sort=order, limit=5))

    assert [movie_id for movie_id in met if movie_id in before] == before
    assert len(met) == len(set(met))


def test_a_search_meets_each_movie_once_while_movies_are_added(small_catalogue: Path) -> None:
    from matinee.write import batches

    batches.write([record(line, title=f"Star {'Wars' * (line % 2)}", year=1900 + line) for line in range(1, 20)], "tests")
    reader = engine_reader(small_catalogue)

    before, met = walk_while_adding(reader.search, SearchQuery("star", limit=5))

    assert [movie_id for movie_id in met if movie_id in before] == before
    assert len(met) == len(set(met))


def test_an_empty_catalogue_answers_everything_with_nothing(catalogue_home: Path) -> None:
    pair = Pair(engine_reader(catalogue_home), in_memory())

    assert [same(pair, "position"), same(pair, "count"), same(pair, "genres"), same(pair, "changes", 0, 5)] == [0, 0, [], []]
    assert same(pair, "page", ListQuery(), None) == same(pair, "search", SearchQuery("a"), None) == CardRows([], None)
    assert (same(pair, "movie", 1), same(pair, "person", 1), same(pair, "suggest", "a", 10)) == (None, None, ([], []))
