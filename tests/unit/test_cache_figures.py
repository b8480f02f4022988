"""What `cache stats` makes of the text of /metrics."""

from __future__ import annotations

import pytest

from matinee.cli.cache_figures import BESIDE, SHARED, Key, look_at
from matinee.errors import OperatorError

LOCAL = Key("local", "lru")
TEXT = """\
# TYPE matinee_cache_hits counter
matinee_cache_hits_total{policy="lru",tier="local"} 30.0
# TYPE matinee_cache_misses counter
matinee_cache_misses_total{policy="lru",tier="local"} 10.0
# TYPE matinee_cache_bytes gauge
matinee_cache_bytes{policy="lru",tier="local"} 2048.0
# TYPE matinee_shared_cache_operations counter
matinee_shared_cache_operations_total{operation="get",result="hit"} 5.0
# TYPE matinee_shared_cache_up gauge
matinee_shared_cache_up 1.0
# TYPE matinee_shared_cache_round_trip_seconds histogram
matinee_shared_cache_round_trip_seconds_bucket{kind="read",le="+Inf"} 4.0
matinee_shared_cache_round_trip_seconds_count{kind="read"} 4.0
matinee_shared_cache_round_trip_seconds_sum{kind="read"} 0.002
# TYPE matinee_http_requests counter
matinee_http_requests_total{method="GET",route="/v1/movies",status="200"} 40.0
"""
UNHEARD = """\
# TYPE matinee_cache_zeal counter
matinee_cache_zeal_total{policy="lru",tier="local"} 7.0
# TYPE matinee_cache_expiries counter
matinee_cache_expiries_total{policy="lru",tier="local"} 8.0
# TYPE matinee_cache_warmed gauge
matinee_cache_warmed{state="done"} 1.0
# TYPE matinee_popularity_flushes counter
matinee_popularity_flushes_total 9.0
"""


def later(text: str, hits: int, misses: int) -> str:
    return text.replace('"} 30.0', f'"}} {hits}').replace('"} 10.0', f'"}} {misses}')


def test_figures_are_told_apart_by_tier_and_policy() -> None:
    found = look_at(TEXT).figures

    assert found[LOCAL] == {"hits": 30.0, "misses": 10.0, "bytes": 2048.0, "hit_ratio": 0.75}
    assert found[SHARED] == {
        "operations get hit": 5.0,
        "up": 1.0,
        "round_trip_seconds_count read": 4.0,
        "round_trip_seconds_sum read": 0.002,
        "round_trip_mean_ms read": 0.5,
    }
    assert set(found) == {LOCAL, SHARED}


def test_a_metric_that_nobody_has_heard_of_is_shown_after_the_known_ones() -> None:
    lines = [(key, name) for key, name, _ in look_at(TEXT + UNHEARD).lines()]

    assert [name for key, name in lines if key == LOCAL] == ["hits", "misses", "hit_ratio", "bytes", "expiries", "zeal"]
    assert lines[-2:] == [(BESIDE, "cache_warmed done"), (BESIDE, "popularity_flushes")]


def test_rates_are_of_what_only_grows_and_the_ratio_of_the_time_between() -> None:
    before, now = look_at(TEXT), look_at(later(TEXT, 39, 11))

    rates = {name: now.rate(LOCAL, name, before, 2.0) for name in ("hits", "misses", "hit_ratio", "bytes")}

    assert rates == {"hits": 4.5, "misses": 0.5, "hit_ratio": 0.9, "bytes": None}


def test_a_server_that_was_started_anew_has_no_rate_below_nothing() -> None:
    before, now = look_at(TEXT), look_at(later(TEXT, 3, 0))

    assert (now.rate(LOCAL, "hits", before, 1.0), now.rate(LOCAL, "hit_ratio", before, 1.0)) == (0.0, None)


@pytest.mark.parametrize("text", ["", "<html>", "# TYPE go_threads gauge\ngo_threads 7\n"])
def test_what_is_no_matinee_is_told(text: str) -> None:
    with pytest.raises(OperatorError, match="These are no metrics of a Matinee"):
        look_at(text)
