"""Query strings: what they mean, and what each fault is told with."""

from __future__ import annotations

import pytest

from matinee.domain.ids import ExternalId
from matinee.domain.query import (
    LIST_PARAMETERS,
    SEARCH_PARAMETERS,
    FacetFilter,
    Filters,
    ListQuery,
    PersonFilter,
    SearchQuery,
    Sort,
    parse_list,
    parse_search,
)
from matinee.errors import InvalidParameter, MatineeError, UnknownParameter

Pairs = list[tuple[str, str]]


def test_a_list_without_parameters_is_the_twenty_most_popular_movies() -> None:
    assert parse_list([]) == ListQuery(Filters(None, (), (), ()), Sort("popularity", descending=True), 20, None)


def test_a_search_needs_only_its_words() -> None:
    assert parse_search([("q", "alien")]) == SearchQuery("alien", Filters(), None, 20, None)


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("popularity", Sort("popularity", descending=True)),
        ("year", Sort("year", descending=True)),
        ("title", Sort("title", descending=False)),
        ("-title", Sort("title", descending=True)),
        ("+year", Sort("year", descending=False)),
        (" year", Sort("year", descending=False)),
        ("-added", Sort("added", descending=True)),
    ],
)
def test_a_sign_says_the_direction_and_a_bare_plus_arrives_as_a_blank(text: str, sort: Sort) -> None:
    assert parse_list([("sort", text)]).sort == sort


def test_a_repeated_facet_asks_for_all_and_a_bar_for_any() -> None:
    query = parse_list([("genre", "Sci-Fi|Drama|drama"), ("genre", "Horror"), ("country", "Côte d’Ivoire")])

    assert query.filters == Filters(
        facets=(
            FacetFilter("genre", ("sci-fi", "drama")),
            FacetFilter("genre", ("horror",)),
            FacetFilter("country", ("côte d’ivoire",)),
        )
    )


def test_people_are_asked_for_by_id_or_by_folded_name() -> None:
    query = parse_list([("person", "Penélope Cruz"), ("director", "12"), ("person", "9" * 30)])

    assert query.filters.people == (
        PersonFilter(12, "director"),
        PersonFilter("penelope cruz", None),
        PersonFilter(2**63 - 1, None),
    )


def test_bounds_are_whole_numbers_and_ratings_thousandths() -> None:
    query = parse_list([
        ("year_to", "1999"), ("rating_min", "7.25"), ("year", "1979"), ("votes_min", "0"), ("year_from", "1970"),
        ("runtime_max", "120"), ("runtime_min", "90"),
    ])  # fmt: skip

    assert query.filters == Filters(
        bounds=(
            ("year", 1979), ("rating_min", 7250), ("year_from", 1970), ("year_to", 1999), ("votes_min", 0),
            ("runtime_min", 90), ("runtime_max", 120),
        )
    )  # fmt: skip


def test_the_year_of_a_search_ranks_and_does_not_filter() -> None:
    query = parse_search([("q", "alien"), ("year", "1979"), ("year_from", "1970")])

    assert query == SearchQuery("alien", Filters(bounds=(("year_from", 1970),)), 1979)


def test_ids_come_in_the_order_asked_each_once() -> None:
    query = parse_list([("ids", "4, imdb:tt0078748,4"), ("ids", "1"), ("genre", "Drama")])

    assert query.filters.ids == (4, ExternalId("imdb", "tt0078748"), 1)
    assert query.filters.facets == (FacetFilter("genre", ("drama",)),)


def test_a_hundred_ids_are_taken_and_all_are_on_one_page_unless_a_limit_is_given() -> None:
    ids = ("ids", ",".join(map(str, range(1, 101))))

    whole, parted = parse_list([ids]), parse_list([ids, ("limit", "7"), ("cursor", "abc")])

    assert whole == ListQuery(Filters(ids=tuple(range(1, 101))), limit=100)
    assert parted == ListQuery(Filters(ids=tuple(range(1, 101))), limit=7, cursor="abc")


@pytest.mark.parametrize(
    ("pairs", "detail"),
    [
        ([("genre", "")], "genre is empty; give it a value or leave it out."),
        ([("limit", "1"), ("limit", "2")], "limit stands 2 times; give it once."),
        ([("genre", "a")] * 21, "genre stands 21 times; 20 are allowed."),
        ([("cursor", "x" * 1_201)], "cursor has 1201 characters; 1200 are allowed."),
        ([("person", "x" * 301)], "person has 301 characters; 300 are allowed."),
        (
            [("sort", "populrity")],
            "sort 'populrity' is no order; did you mean 'popularity'? Orders: popularity, rating, votes, year, title, added.",
        ),
        ([("sort", "-")], "sort '-' is no order. Orders: popularity, rating, votes, year, title, added."),
        ([("ids", "1"), ("sort", "year")], "sort cannot stand with ids: they come in the order asked."),
        ([("ids", "1,,2")], "ids '' is not a movie's id; use our whole number, as 42, or imdb:tt0078748."),
        ([("ids", "1," * 100 + "1")], "ids has 101 ids; 100 are allowed. Ask for the rest in another request."),
        ([("rating_min", "8,5")], "rating_min '8,5' is not a number from 0 to 10."),
        ([("rating_min", "nan")], "rating_min 'nan' is not a number from 0 to 10."),
        ([("votes_min", "-1")], "votes_min '-1' is not a whole number from 0 to 2000000000."),
        (
            [("genre", "|".join(map(str, range(21))))],
            f"genre {'|'.join(map(str, range(21)))!r} has 21 choices; 20 are allowed.",
        ),
    ],
)
def test_a_fault_is_told_with_what_is_allowed(pairs: Pairs, detail: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_list(pairs)

    assert caught.value.detail == detail


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.0", "1e1", " 1", "1 ", "1_0", "٣", "²", "0x1", "x", "9" * 5_000])
def test_a_limit_is_a_plain_whole_number_from_1_to_100(text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_list([("limit", text)])

    assert caught.value.detail == f"limit {text[:60]!r} is not a whole number from 1 to 100."


def test_an_unknown_parameter_is_refused_with_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(UnknownParameter) as caught:
        parse_list([("genr", "Drama")])

    known = ", ".join(parameter.name for parameter in LIST_PARAMETERS)
    assert caught.value.detail == f"There is no parameter 'genr'; did you mean 'genre'? Known: {known}."


@pytest.mark.parametrize("name", ["sort", "ids", "offset"])
def test_a_search_takes_only_its_own_parameters(name: str) -> None:
    with pytest.raises(UnknownParameter, match=f"There is no parameter '{name}'"):
        parse_search([("q", "alien"), (name, "1")])

    assert name not in {parameter.name for parameter in SEARCH_PARAMETERS}


@pytest.mark.parametrize(
    ("pairs", "detail"),
    [
        ([], "q is missing; say what to search for, as ?q=alien."),
        ([("q", "")], "q is empty; give it a value or leave it out."),
        ([("q", "x" * 201)], "q has 201 characters; 200 are allowed."),
        ([("q", "a"), ("q", "b")], "q stands 2 times; give it once."),
    ],
)
def test_the_words_of_a_search_must_stand_once(pairs: Pairs, detail: str) -> None:
    with pytest.raises(MatineeError) as caught:
        parse_search(pairs)

    assert caught.value.detail == detail


def test_the_digest_is_the_same_for_the_same_filters_in_another_order_and_another_size() -> None:
    pairs = [("genre", "Drama"), ("year_from", "1970"), ("person", "Ripley"), ("sort", "title")]

    digests = {
        parse_list(pairs).digest(),
        parse_list(pairs[::-1]).digest(),
        parse_list([*pairs, ("limit", "7"), ("cursor", "abc")]).digest(),
        parse_list([("genre", "DRAMA"), *pairs[1:3], ("sort", "+title")]).digest(),
    }

    assert len(digests) == 1


def test_the_digest_differs_with_every_filter_and_order() -> None:
    queries: list[Pairs] = [
        [], [("genre", "1")], [("language", "1")], [("genre", "1|2")], [("genre", "1"), ("genre", "2")], [("person", "1")],
        [("director", "1")], [("person", "x")], [("year", "1")], [("year_from", "1")], [("year_to", "1")], [("ids", "1")],
        [("sort", "title")], [("sort", "-title")], [("sort", "year")],
    ]  # fmt: skip

    digests = {parse_list(query).digest() for query in queries}

    assert len(digests) == len(queries)


def test_the_digest_of_a_search_is_of_its_words_as_they_are_written_and_year() -> None:
    same = {parse_search([("q", text), ("limit", "5")]).digest() for text in ("Spider-Man", "SPIDER-MAN", " spider-man ")}
    others = {parse_search([("q", "spider-man"), *more]).digest() for more in ([("year", "2002")], [("genre", "Action")])}

    assert len(same) == 1
    assert len(same | others | {parse_list([]).digest()}) == 4
