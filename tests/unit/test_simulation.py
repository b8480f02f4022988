"""The simulator: OPT is the best there is, traces are what they say, and the policies keep the order they were chosen by."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinee.cache import opt, traces
from matinee.cache.picture import draw
from matinee.cache.policy import POLICIES
from matinee.cache.simulation import OPT, Result, simulate, work

SHORT_TRACES = st.lists(st.integers(0, 4), max_size=12)


def most_hits(keys: list[int], places: int) -> int:
    """Return the most hits of all ways to keep and drop, by trying every one."""

    @cache
    def best(position: int, held: frozenset[int]) -> int:
        if position == len(keys):
            return 0
        have = held | {keys[position]}
        kept = [frozenset(some) for count in range(places + 1) for some in combinations(have, count)]
        return (keys[position] in held) + max(best(position + 1, some) for some in kept)

    return best(0, frozenset())


def test_opt_of_a_trace_made_by_hand() -> None:
    following = opt.next_requests([1, 2, 3, 1, 2, 4, 1, 3])

    assert list(following) == [3, 4, 7, 6, 0, 0, 0, 0]
    assert [opt.count_hits(following, places) for places in (1, 2, 3)] == [2, 3, 4]
    assert opt.count_hits(following, 3, first=4) == 3


@settings(derandomize=True, max_examples=150, deadline=None)
@given(SHORT_TRACES, st.integers(1, 3))
def test_opt_has_as_many_hits_as_the_best_of_all_ways(keys: list[int], places: int) -> None:
    assert opt.count_hits(opt.next_requests(keys), places) == most_hits(keys, places)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=300), st.integers(1, 8))
def test_no_policy_has_more_hits_than_opt(keys: list[int], places: int) -> None:
    found = {result.policy: result.hit_ratio for result in simulate(keys, [places], POLICIES)}

    assert max(found, key=lambda policy: (found[policy], policy == OPT)) == OPT


def test_opt_forgets_stretches_that_are_over() -> None:
    keys = [number // 2 for number in range(10_000)]

    assert opt.count_hits(opt.next_requests(keys), 1) == 5_000


def test_the_requests_of_the_warm_up_only_fill() -> None:
    watched: list[int] = []

    results = simulate(["alien", "heat", "alien", "heat"], [2], ["lru"], warm_up=2, watch=watched.append)

    assert results == [Result("lru", 2, 1.0), Result(OPT, 2, 1.0)]
    assert sum(watched) == work(requests=4, sizes=1, policies=1) == 8


@pytest.mark.parametrize("name", list(traces.MAKERS))
def test_the_same_seed_makes_the_same_trace(name: str) -> None:
    make = traces.MAKERS[name]

    first, second, other = make(5_000, 1_000, 1), make(5_000, 1_000, 1), make(5_000, 1_000, 2)

    assert (first == second, first == other, len(first.ids), first.population) == (True, False, 5_000, 1_000)


def test_popularity_follows_zipf_and_ids_do_not_tell_it() -> None:
    counts = Counter(traces.zipf(200_000, 1_000, 1).ids).most_common()

    assert counts[0][1] / counts[9][1] == pytest.approx(10**0.9, rel=0.1)
    assert [key for key, _ in counts[:5]] != [0, 1, 2, 3, 4]


def test_the_favourites_of_a_drift_change_step_by_step_and_those_of_zipf_do_not() -> None:
    drifting, steady = traces.drift(40_000, 10_000, 1).ids, traces.zipf(40_000, 10_000, 1).ids

    def top(ids: object, start: int) -> set[object]:
        return {key for key, _ in Counter(ids[start : start + 10_000]).most_common(20)}  # type: ignore[index]

    assert len(top(drifting, 0) & top(drifting, 30_000)) < 15 < len(top(steady, 0) & top(steady, 30_000))


def test_a_crawler_makes_30_percent_of_the_requests_and_meets_every_id() -> None:
    made = traces.crawler(10_000, 1_000, 1)

    assert set(made.ids) == set(range(1_000))
    assert Counter(made.ids)[999] >= 3


@pytest.mark.parametrize("name", list(traces.MAKERS))
def test_one_percent_of_the_ids_is_where_s3fifo_and_topn_beat_lru(name: str) -> None:
    ids = traces.MAKERS[name](150_000, 30_000, 1).ids

    lru, topn, s3fifo, best = (result.hit_ratio for result in simulate(ids, [300], ["lru", "topn", "s3fifo"]))

    assert lru + 0.07 < topn < best
    assert lru + 0.07 < s3fifo < best
    assert s3fifo > topn - 0.02


def test_an_access_log_is_read_for_the_movies_that_were_served() -> None:
    lines = [
        '{"event":"request","method":"GET","path":"/v1/movies/603","status":200,"bytes":1200,"level":"info"}',
        '{"event":"request","path":"/v1/movies/imdb:tt0078748","status":304}',
        '{"event":"request","path":"/v1/movies/9","status":404}',
        '{"event":"request","method":"PUT","path":"/v1/movies/603","status":200}',
        '{"event":"request","path":"/v1/movies/603/credits","status":200}',
        '{"event":"request","path":"/v1/movies","status":200}',
        '{"event":"started","port":8000}',
        '{"event":"request","path":"/v1/movies/603","status":200',
        '{"event":"request","path":"/v1/movies/603","status":200}',
    ]

    assert traces.read(lines) == traces.Trace(["603", "imdb:tt0078748", "603"], 2, [8])


def test_lines_of_timestamp_and_id_are_read_and_the_others_are_told() -> None:
    lines = ["timestamp,movie\n", "\n", "964982703,1\n", "964982703.5,tt2 \n", "2026-11-25T10:00:00Z,1\n"]
    wrong = ["yesterday,5\n", "964982703,\n", "964982703\n", "1,1,4.0,964982703\n", "-,-\n"]

    assert traces.read(lines) == traces.Trace(["1", "tt2", "1"], 2, [])
    assert traces.read([*lines, *wrong]) == traces.Trace(["1", "tt2", "1"], 2, [6, 7, 8, 9, 10])


def test_the_picture_has_a_line_for_each_policy_and_dashes_for_the_limit() -> None:
    svg = ET.fromstring(draw("a < b", [10, 0.1], {"lru": [0.5, 0.1], "OPT": [0.8, 0.4]}, "OPT"))

    lines = [element.attrib for element in svg if element.tag.endswith("polyline")]
    texts = [element.text for element in svg if element.tag.endswith("text")]
    assert [("stroke-dasharray" in line, line["points"].count(",")) for line in lines] == [(False, 2), (True, 2)]
    assert {"a < b", "0.1 %", "10 %", "hit ratio", "lru", "OPT"} <= set(texts)
    assert texts.index("OPT") < texts.index("lru")
