"""Sort keys: one order for every list, and the number that search is ordered by."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.domain.ids import MAX_ID
from matinee.domain.ranking import UNKNOWN, movie_id_of, number_key, popularity_key, rating_key, search_rank, title_key

MOVIE_IDS = st.integers(1, MAX_ID)
POPULARITIES = st.floats(0, 1_000_000, width=32)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(POPULARITIES, POPULARITIES, MOVIE_IDS, MOVIE_IDS)
def test_the_more_popular_a_movie_is_the_smaller_is_its_rank(one: float, other: float, first: int, second: int) -> None:
    higher, lower = max(one, other), min(one, other)

    ranks = search_rank(higher, first), search_rank(lower, second)

    assert ranks[0] < ranks[1] or higher == lower


@settings(derandomize=True, max_examples=100, deadline=None)
@given(POPULARITIES, MOVIE_IDS, MOVIE_IDS)
def test_among_equals_the_newer_movie_comes_first(popularity: float, one: int, other: int) -> None:
    newer, older = max(one, other), min(one, other)

    ranks = search_rank(popularity, newer), search_rank(popularity, older)

    assert ranks[0] < ranks[1] or newer == older


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.none() | st.floats(0, 1_000_000), MOVIE_IDS)
def test_a_rank_tells_its_movie_and_fits_a_row_number(popularity: float | None, movie_id: int) -> None:
    rank = search_rank(popularity, movie_id)

    assert movie_id_of(rank) == movie_id
    assert 0 <= rank < 2**63


def test_unknown_zero_and_minus_zero_rank_alike() -> None:
    ranks = {search_rank(popularity, 7) for popularity in (None, 0.0, -0.0, 0)}

    assert ranks == {search_rank(0.0, 7)}
    assert 0 <= search_rank(-0.0, 7) < 2**63


def test_the_two_ends_of_popularity_and_id_have_ranks() -> None:
    assert search_rank(0.0, 1) == (0x7FFFFFFF << 32) | (2**32 - 2)
    assert [movie_id_of(search_rank(1_000_000, movie_id)) for movie_id in (1, MAX_ID)] == [1, MAX_ID]


def test_unknown_keys_are_below_every_known_one() -> None:
    unknown = (rating_key(None), number_key(None), popularity_key(None))

    assert unknown == (UNKNOWN, UNKNOWN, float(UNKNOWN))
    assert (rating_key(0.0), number_key(0), popularity_key(0.0)) == (0, 0, 0.0)
    assert UNKNOWN < 0


@pytest.mark.parametrize(("average", "key"), [(8.5, 8500), (7.1234, 7123), (10, 10_000), (0.0005, 0), (8.1, 8100)])
def test_a_rating_is_kept_in_whole_thousandths(average: float, key: int) -> None:
    assert rating_key(average) == key


@pytest.mark.parametrize(
    ("title", "key"), [("Amélie", "amelie"), ("...", "..."), ("!" * 300, "!" * 200), ("A" * 300, "a" * 200)]
)
def test_titles_are_ordered_by_their_folded_words_or_else_by_their_signs(title: str, key: str) -> None:
    assert title_key(title) == key
