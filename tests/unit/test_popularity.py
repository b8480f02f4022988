"""How much movies are asked for: scores that lose weight with time, stay in order, and never overflow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.domain.popularity import FUTURE_S, HALF_LIVES_S, WINDOWS, Window, joined, mended, score, worth

NOW_S = 1_800_000_000.0
COUNTS = st.integers(2, 10**9)
MOMENTS_S = st.floats(1_600_000_000, 5_000_000_000)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_count_is_worth_itself_now_half_after_a_half_life_and_double_before_it(window: Window) -> None:
    of_score, half_life_s = score(100, NOW_S, window), HALF_LIVES_S[window]

    worths = [worth(of_score, NOW_S + half_lives * half_life_s, window) for half_lives in (0, 1, 2, 10, -1)]

    assert worths == pytest.approx([100, 50, 25, 100 / 1024, 200])


@given(one=COUNTS, other=COUNTS, one_s=MOMENTS_S, other_s=MOMENTS_S, later_s=st.floats(0, 10**9))
def test_two_scores_compare_as_what_they_are_worth_at_any_later_moment(
    one: int, other: int, one_s: float, other_s: float, later_s: float
) -> None:
    scores = score(one, one_s, "week"), score(other, other_s, "week")
    seen_s = max(one_s, other_s) + later_s
    weights = [math.log2(count) - (seen_s - at_s) / HALF_LIVES_S["week"] for count, at_s in ((one, one_s), (other, other_s))]

    assert scores[0] - scores[1] == pytest.approx(weights[0] - weights[1], abs=1e-6)


@given(counts=st.lists(st.tuples(COUNTS, st.floats(0, 10**7)), min_size=2, max_size=20))
def test_joined_scores_are_worth_the_sum_in_whatever_order_they_come(counts: list[tuple[int, float]]) -> None:
    scores = [score(count, NOW_S - ago_s, "day") for count, ago_s in counts]
    forwards = backwards = scores[0]
    for one, other in zip(scores[1:], reversed(scores[1:]), strict=True):
        forwards, backwards = joined(forwards, one), joined(other, backwards)

    expected = sum(count * 2 ** (-ago_s / HALF_LIVES_S["day"]) for count, ago_s in counts)
    assert [worth(forwards, NOW_S, "day"), worth(backwards, NOW_S, "day")] == pytest.approx([expected, expected], rel=1e-6)


@given(of_score=st.floats(0, 10**8), count=COUNTS)
def test_a_score_never_gets_smaller_by_a_count_and_stays_a_number(of_score: float, count: int) -> None:
    more = joined(of_score, score(count, NOW_S, "day"))

    assert of_score <= more < math.inf
    assert 0 <= worth(of_score, NOW_S, "day") < math.inf


@given(count=COUNTS, ahead_s=st.floats(FUTURE_S + 1, 10**9))
def test_a_count_of_the_future_is_worth_itself_when_it_is_mended(count: int, ahead_s: float) -> None:
    at_s = NOW_S + ahead_s

    assert worth(mended(score(count, at_s, "day"), at_s, NOW_S, "day"), NOW_S, "day") == pytest.approx(count, rel=1e-6)


@pytest.mark.parametrize("of_score", [math.inf, math.nan, 1e300])
def test_what_is_too_large_or_no_number_becomes_two_accesses(of_score: float) -> None:
    assert worth(mended(of_score, 0.0, NOW_S, "week"), NOW_S, "week") == pytest.approx(2)
