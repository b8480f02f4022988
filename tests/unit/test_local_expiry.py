"""What the log does not tell of leaves the local tier by its age: it is served until a moment, and counted apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matinee.cache.local import PAGE, LocalTier
from matinee.cache.policy import make_policy
from matinee.domain.change_log import ChangeLog, LogRow


@dataclass
class Kept:
    """A value of a hundred bytes."""

    subject: int
    expires_s: float = math.inf
    absence: object | None = None
    stamp: int = 1
    histories: int = 0
    size_bytes: int = 100


def tier() -> LocalTier[Kept]:
    log = ChangeLog()
    log.begin(LogRow(1, "movie", 1, "then"))
    return LocalTier(make_policy("lru", 10_000), log, page_grace_s=2.0)


def test_a_page_is_served_until_its_end_and_not_after_it() -> None:
    kept, page = tier(), Kept(PAGE, expires_s=110.0)
    assert kept.keep("/v1/trending", page, 100.0, 1)

    beliefs = [kept.get("/v1/trending", now_s) for now_s in (100.0, 109.9, 110.0, 500.0)]

    assert beliefs == [(page, "fresh"), (page, "fresh"), (page, "no"), (page, "no")]


def test_what_has_ended_already_is_not_kept() -> None:
    assert not tier().keep("/v1/trending", Kept(PAGE, expires_s=99.0), 100.0, 1)


def test_misses_are_counted_by_what_was_wrong_with_what_was_held() -> None:
    kept = tier()

    for before in (None, Kept(PAGE, expires_s=99.0), Kept(PAGE), Kept(7)):
        kept.missed(before, 100.0)

    assert (kept.misses, kept.expiries, kept.invalidations) == (4, 1, 2)
