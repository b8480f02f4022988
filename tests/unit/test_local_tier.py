"""The local tier beside the log of changes: what is believed, and that nothing of another history is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from matinee.cache.local import LocalTier
from matinee.cache.policy import make_policy
from matinee.domain.change_log import ChangeLog, LogRow

pytestmark = pytest.mark.unit


@dataclass
class Kept:
    """A movie that was read at position 1."""

    subject: int = 7
    stamp: int = 1
    histories: int = 0
    size_bytes: int = 100
    expires_s: float = math.inf
    absence: object | None = None


def begun() -> tuple[ChangeLog, LocalTier[Kept]]:
    log = ChangeLog()
    log.begin(LogRow(1, "movie", 7, "then"))
    return log, LocalTier(make_policy("s3fifo", 100_000), log, page_grace_s=2.0)


def test_a_movie_is_believed_until_the_log_shows_a_change_of_it() -> None:
    log, tier = begun()
    movie = Kept()
    tier.keep("a", movie, 0.0, log.histories)
    before = tier.get("a", 0.0)

    log.append([LogRow(2, "movie", 7, "now")], 0.0)

    assert [before, tier.get("a", 0.0), tier.peek("a")] == [(movie, "fresh"), (movie, "no"), movie]


def test_what_is_of_another_history_is_as_if_it_were_not_there_until_it_is_replaced() -> None:
    log, tier = begun()
    tier.keep("a", Kept(), 0.0, log.histories)

    log.begin(LogRow(1, "movie", 7, "another"))

    assert (tier.get("a", 0.0), tier.peek("a")) == ((None, "no"), None)
    assert tier.keep("a", new := Kept(), 0.0, log.histories)
    assert tier.get("a", 0.0) == (new, "fresh")


def test_what_was_read_before_the_history_changed_is_not_kept() -> None:
    log, tier = begun()
    before = log.histories
    log.begin(LogRow(1, "movie", 7, "another"))

    assert not tier.keep("a", Kept(), 0.0, before)
    assert tier.peek("a") is None


def test_keys_count_and_the_bound_is_shared_with_absences_and_loads() -> None:
    log, tier = begun()
    tier.keep("k" * 5_000, Kept(), 0.0, log.histories)
    tier.keep("gone", Kept(absence="nothing there"), 0.0, log.histories)
    before = tier.used_bytes

    reserved_bytes = tier.reserve("another key")

    assert (tier.bound_bytes, len(tier), tier.used_bytes) == (100_000, 2, before + reserved_bytes)
    assert before > 5_000
    assert (tier.get("gone", 0.0), tier.absent("gone", 0.0) is None) == ((None, "no"), False)
    tier.release(reserved_bytes)
    assert tier.used_bytes == before


def test_loads_in_flight_evict_what_is_kept_but_reserve_half_of_the_bound_at_most() -> None:
    log, tier = begun()
    for number in range(200):
        tier.keep(str(number), Kept(), 0.0, log.histories)
    held = len(tier)

    reserved = [tier.reserve(f"load {number}") for number in range(50)]

    assert len(tier) < held
    assert tier.used_bytes <= tier.bound_bytes
    assert sum(reserved) <= tier.bound_bytes / 2
    for size_bytes in reserved:
        tier.release(size_bytes)
    assert tier.policy.bound_bytes == tier.bound_bytes - tier.absences.bound_bytes
