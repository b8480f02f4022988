"""Add to the scores of how much movies are asked for. Called by the write room only, inside a transaction.

Scores are logarithms: domain/popularity.py says what they mean, how two are joined, and how one of the future is mended; this
is the same in each engine's words. No position is taken, and nothing of the catalogue changes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from django.db import connection

from matinee.domain.popularity import FUTURE_S, HALF_LIVES_S, MOST_BITS, RESET_BITS, WINDOWS, Window, score

_LOOKED_AT = 1_000  # scores, the largest ones, at each flush: those of the future are among them
# Django gives SQLite the functions LN and POWER. PostgreSQL refuses a power that is too small for its numbers, hence the bound,
# beyond which the smaller one of two scores counts for nothing.
_JOINED = {
    "sqlite": "max({0}, {1}) + LN(1 + POWER(2.0, -min(abs({0} - {1}), 60.0))) / LN(2.0)",
    "postgresql": "greatest({0}, {1}) + ln(1 + power(2::float8, -least(abs({0} - {1}), 60))) / ln(2::float8)",
}
_GIVEN = {
    "sqlite": "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
    "json_extract(value, '$[3]') FROM json_each(%s) WHERE TRUE",
    "postgresql": "SELECT * FROM unnest(%s::bigint[], %s::float8[], %s::float8[], %s::float8[])",
}


def add(counted: Sequence[tuple[int, int]], at_s: float) -> None:
    """Add accesses to the scores of these movies, of a moment in seconds since 1970; each id stands once.

    The moment counts as the leader's now when it is later: so one server's clock that is ahead changes nothing.
    """
    engine, now_s = connection.vendor, _now_s()
    at_s = min(at_s, now_s)
    rows = [(movie_id, *(score(count, at_s, window) for window in WINDOWS), at_s) for movie_id, count in counted]
    joined = [_JOINED[engine].format(f"({_mended(window, now_s)})", f"excluded.{window}") for window in WINDOWS]
    seen = f"CASE WHEN movie_popularity.at > {now_s + FUTURE_S!r} THEN excluded.at ELSE movie_popularity.at END"
    text = (
        f"INSERT INTO movie_popularity (movie_id, day, week, at) {_GIVEN[engine]} "
        f"ON CONFLICT (movie_id) DO UPDATE SET day = {joined[0]}, week = {joined[1]}, "
        f"at = CASE WHEN excluded.at > {seen} THEN excluded.at ELSE {seen} END"
    )
    values = [json.dumps(rows)] if engine == "sqlite" else [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def mend() -> int:
    """Bring scores back to the present that a clock which was ahead has written; return how many. Readers pass them over."""
    now_s = _now_s()
    is_wrong = f"(at > {now_s + FUTURE_S!r} OR day > {_most(WINDOWS[0], now_s)!r} OR week > {_most(WINDOWS[1], now_s)!r})"
    largest = f"SELECT movie_id FROM movie_popularity ORDER BY day DESC, movie_id DESC LIMIT {_LOOKED_AT}"
    # Without waiting for a row: two processes that write the same movies must never wait for each other in a ring.
    unlocked = "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else ""
    day, week = (_mended(window, now_s) for window in WINDOWS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE movie_popularity SET day = {day}, week = {week}, at = CASE WHEN at > {now_s!r} THEN {now_s!r} ELSE at END "
            f"WHERE movie_id IN (SELECT movie_id FROM movie_popularity WHERE movie_id IN ({largest}) AND {is_wrong} {unlocked})"
        )
        return int(cursor.rowcount)


def _mended(window: Window, now_s: float) -> str:
    """Return a row's score as domain/popularity.py's `mended` does; the numbers are our own, so they stand in the text."""
    table, half_life_s = "movie_popularity", HALF_LIVES_S[window]
    ahead = f"CASE WHEN {table}.at > {now_s + FUTURE_S!r} THEN ({table}.at - {now_s!r}) / {half_life_s}.0 ELSE 0 END"
    moved, reset = f"({table}.{window} - {ahead})", now_s / half_life_s + RESET_BITS
    return f"CASE WHEN {moved} > {_most(window, now_s)!r} THEN {reset!r} ELSE {moved} END"


def _most(window: Window, now_s: float) -> float:
    return now_s / HALF_LIVES_S[window] + MOST_BITS


def _now_s() -> float:
    """Return the leader's own clock: one for all servers."""
    if connection.vendor != "postgresql":
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(cursor.fetchone()[0])
