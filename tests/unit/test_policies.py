"""The policies: exact bytes and never over the bound, whatever is done to them; and what each is chosen for."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Iterable
from itertools import chain, repeat
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from matinee.cache.ghosts import Ghosts
from matinee.cache.lru import Lru
from matinee.cache.policy import DEFAULT, POLICIES, Policy, make_counting_policy, make_policy
from matinee.cache.s3fifo import S3Fifo
from matinee.cache.topn import TopN

BOUND_BYTES, OVERHEAD_BYTES = 1_000, 10
KEYS = st.integers(0, 30)


class Caching(RuleBasedStateMachine):
    """A policy beside a model: what was put last under each key, and whether that was refused."""

    maker: type[Lru | S3Fifo | TopN]

    def __init__(self) -> None:
        super().__init__()
        self.policy: Any = self.maker(BOUND_BYTES, OVERHEAD_BYTES)
        self.newest: dict[int, tuple[int, int]] = {}
        self.puts = self.evictions = 0

    @rule(key=KEYS, size_bytes=st.integers(0, 300))
    def put(self, key: int, size_bytes: int) -> None:
        self.puts += 1
        self.newest[key] = (self.puts, size_bytes)

        is_held = self.policy.put(key, self.puts, size_bytes)

        assert self.policy.peek(key) == (self.puts if is_held else None)
        assert not (is_held and size_bytes + OVERHEAD_BYTES > BOUND_BYTES / 4)

    @rule(key=KEYS, times=st.integers(1, 4))
    def get(self, key: int, times: int) -> None:
        for _ in range(times):
            assert self.policy.get(key) == self.policy.peek(key)

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        was_held = self.policy.peek(key) is not None

        assert self.policy.delete(key) == was_held
        assert self.policy.peek(key) is None

    @rule()
    def clear(self) -> None:
        self.policy.clear()

        assert (len(self.policy), self.policy.used_bytes, self.policy.hottest(9)) == (0, 0, [])

    @invariant()
    def the_bytes_are_exact_and_within_the_bound(self) -> None:
        held = {key: value for key in range(31) if (value := self.policy.peek(key)) is not None}

        assert held == {key: self.newest[key][0] for key in held}
        assert self.policy.used_bytes == sum(self.newest[key][1] + OVERHEAD_BYTES for key in held) <= BOUND_BYTES
        assert len(self.policy) == len(held)
        assert set(self.policy.hottest(31)) == set(held)

    @invariant()
    def the_queues_of_s3fifo_are_what_it_counts(self) -> None:
        if isinstance(self.policy, S3Fifo):
            live = [entry for entry in self.policy._entries.values() if entry in self.policy._small]

            assert self.policy._small_bytes == sum(entry.size_bytes for entry in live)
            assert len(self.policy._small) + len(self.policy._main) == len(self.policy) + self.policy._gone


@pytest.mark.parametrize("maker", [Lru, S3Fifo, TopN])
def test_a_policy_holds_exactly_what_it_says_within_its_bound(maker: Any) -> None:
    machine = type("Caching", (Caching,), {"maker": maker})

    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, stateful_step_count=80, derandomize=True, deadline=None)
    )


def ask(policy: Policy, keys: Iterable[Any]) -> int:
    """Ask for keys, put those that are missed, and return how many were hits."""
    hits = 0
    for key in keys:
        if policy.get(key) is None:
            policy.put(key, key, 1)
        else:
            hits += 1
    return hits


def held(policy: Policy, keys: Iterable[Any]) -> int:
    """Return how many of the keys are held."""
    return sum(policy.peek(key) is not None for key in keys)


def names(prefix: str, count: int) -> list[str]:
    """Return keys of one kind."""
    return [f"{prefix}{number}" for number in range(count)]


@pytest.mark.parametrize("name", POLICIES)
def test_a_value_that_is_too_large_is_not_kept_and_the_older_one_is_gone(name: str) -> None:
    policy = make_policy(name, 100_000)
    policy.put("alien", b"old", 1_000)

    is_held = policy.put("alien", b"too large", 25_000)

    assert (is_held, policy.peek("alien"), len(policy), policy.used_bytes, policy.evictions) == (False, None, 0, 0, 0)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("entries", [1, 2, 3, 5])
def test_a_policy_of_a_handful_of_entries_holds_so_many_and_has_hits(name: str, entries: int) -> None:
    policy = make_counting_policy(name, entries)
    random = Random(entries)

    hits = ask(policy, (min(int(random.expovariate(0.5)), 9) for _ in range(2_000)))

    assert len(policy) == policy.used_bytes == entries
    assert hits > 2_000 * (1 - 0.7**entries) * 0.6


@pytest.mark.parametrize("name", POLICIES)
def test_a_replaced_value_keeps_its_place_and_its_new_size_is_counted(name: str) -> None:
    policy = make_policy(name, 100_000)
    policy.put("alien", b"first", 1_000)
    policy.put("heat", b"other", 500)

    policy.put("alien", b"second", 3_000)

    assert policy.used_bytes == 3_000 + 500 + 2 * policy.overhead_bytes
    assert (policy.get("alien"), policy.get("heat"), len(policy)) == (b"second", b"other", 2)


@pytest.mark.parametrize("name", POLICIES)
def test_what_is_deleted_leaves_nothing_behind(name: str) -> None:
    policy: Any = make_counting_policy(name, 1_000)
    ask(policy, range(300))

    for key in chain.from_iterable(repeat(range(1_000, 1_050), 400)):
        policy.put(key, key, 1)
        policy.delete(key)

    kept = [len(getattr(policy, part)) for part in ("_small", "_main", "_heap") if hasattr(policy, part)]
    assert (len(policy), policy.evictions) == (300, 0)
    assert all(length <= 2 * 300 + 64 for length in kept)


@pytest.mark.parametrize("name", POLICIES)
def test_all_that_a_policy_allocates_stays_within_its_bound(name: str) -> None:
    policy = make_policy(name, 4_000_000)
    random = Random(3)
    tracemalloc.start()

    for _ in range(30_000):
        key = f"/v1/movies/{int(20_000 * random.random() ** 3)}"
        if policy.get(key) is None:
            size_bytes = random.randint(300, 2_000)
            policy.put(key, bytes(size_bytes), size_bytes)

    allocated_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert policy.used_bytes > 3_990_000
    assert 0.75 * 4_000_000 < allocated_bytes < 4_000_000


def test_the_least_recently_used_leaves() -> None:
    policy = make_counting_policy("lru", 3)

    ask(policy, ["alien", "heat", "jaws", "alien", "ran"])

    assert (policy.hottest(9), policy.evictions) == (["ran", "alien", "jaws"], 1)


@pytest.mark.parametrize(("name", "fewest"), [("s3fifo", 95), ("topn", 95), ("lru", 0)])
def test_favourites_stay_while_a_crawler_walks_by_except_with_lru(name: str, fewest: int) -> None:
    policy = make_counting_policy(name, 200)
    favourites = names("favourite", 100)
    ask(policy, favourites * 5)

    ask(policy, range(600))

    assert (held(policy, favourites) >= fewest, held(policy, favourites) == 0) == (True, name == "lru")


def test_a_ghost_that_left_twice_comes_back_into_the_main_queue() -> None:
    policy = make_counting_policy(DEFAULT, 100)
    ask(policy, names("favourite", 100) * 3)
    ask(policy, range(200))

    ask(policy, ["once", *range(1_000, 1_100), "once", "twice", *range(2_000, 2_100), "twice", *range(3_000, 3_100), "twice"])
    ask(policy, range(4_000, 4_100))

    assert (held(policy, ["once"]), held(policy, ["twice"])) == (0, 1)


def test_what_is_deleted_from_the_main_queue_has_its_place_again_when_it_comes_back() -> None:
    policy = make_counting_policy(DEFAULT, 100)
    favourites = names("favourite", 95)
    ask(policy, [*favourites * 3, *range(300)])

    policy.delete("favourite7")
    ask(policy, ["favourite7", *range(1_000, 1_300)])

    assert held(policy, ["favourite7"]) == 1


def test_the_small_queue_grows_when_what_left_it_is_asked_for_again() -> None:
    policy = make_counting_policy(DEFAULT, 100)
    soon_again = chain.from_iterable((number, number - 6) for number in range(20_000))

    hits = ask(policy, soon_again)

    assert hits > 15_000
    assert policy._target_bytes > 10


def test_new_favourites_replace_those_of_yesterday_in_top_n() -> None:
    policy = make_counting_policy("topn", 60)
    random = Random(5)

    for favourites in (names("yesterday", 50), names("today", 50)):
        ask(policy, (random.choice(favourites) if random.random() < 0.6 else random.randrange(10_000) for _ in range(20_000)))

    assert (held(policy, names("yesterday", 50)), held(policy, names("today", 50))) == (0, 50)


def test_top_n_refuses_what_is_asked_for_less_than_the_weakest_and_goes_on_counting_it() -> None:
    policy = make_counting_policy("topn", 2)
    ask(policy, ["alien", "heat"] * 4)

    is_held = [policy.get("jaws") is None and policy.put("jaws", "jaws", 1) for _ in range(4)]

    assert is_held == [False, False, False, True]
    assert (len(policy), policy.evictions) == (2, 1)


@pytest.mark.parametrize(("name", "old_favourites"), [("s3fifo", 1), ("topn", 0)])
def test_scores_survive_that_their_unit_is_made_lighter(name: str, old_favourites: int) -> None:
    policy: Any = make_counting_policy(name, 4)

    for number in range(6_000):
        ask(policy, ["alien", number, "alien"])
    for number in range(10_000, 10_500):
        ask(policy, ["heat", number, "heat"])

    assert policy._ghosts.weight < 2.0**65
    assert (held(policy, ["alien"]), held(policy, ["heat"])) == (old_favourites, 1)


def test_ghosts_halve_with_time_and_the_weakest_gives_way() -> None:
    ghosts = Ghosts(half_life=10)
    ghosts.tick(1)  # one row of four places
    for key, times in (("alien", 3), ("heat", 2), ("jaws", 4), ("ran", 5), ("new", 1)):
        for _ in range(times):
            ghosts.add(key)

    found = {key: ghosts.score(key) for key in ("alien", "heat", "jaws", "ran", "new")}
    before = ghosts.weight
    for _ in range(10):
        ghosts.tick(1)

    assert found == pytest.approx({"alien": 3 * before, "heat": 0.0, "jaws": 4 * before, "ran": 5 * before, "new": before})
    assert ghosts.score("alien") / ghosts.weight == pytest.approx(1.5)


@pytest.mark.parametrize("name", POLICIES)
def test_no_policy_holds_on_to_the_key_or_value_of_what_left(name: str) -> None:
    class Weighed(str):
        """A key or a value that a weak reference can watch."""

    policy = make_policy(name, 20_000)
    keys = [Weighed(f"key {number}") for number in range(200)]
    left = [weakref.ref(key) for key in keys]
    for key in keys:
        policy.get(key)
        policy.put(key, Weighed("value"), 500)
    for key in keys[::3]:
        policy.delete(key)
    del key, keys

    assert sum(ref() is not None for ref in left) == len(policy)
