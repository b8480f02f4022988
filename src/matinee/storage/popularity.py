"""Add to the scores of how much movies are asked for. Called by the write room only, inside a transaction.

Scores are logarithms: domain/popularity.py says what they mean and how two are joined, this is the same in each engine's words.
It stands beside the log of changes: no position is taken, and nothing of the catalogue is touched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import connection

# Django gives SQLite the functions LN and POWER. PostgreSQL refuses a power that is too small for its numbers, hence the bound,
# beyond which the smaller one of two scores counts for nothing.
_JOINED = {
    "sqlite": "max({0}, {1}) + LN(1 + POWER(2.0, -min(abs({0} - {1}), 60.0))) / LN(2.0)",
    "postgresql": "greatest({0}, {1}) + ln(1 + power(2::float8, -least(abs({0} - {1}), 60))) / ln(2::float8)",
}
_GIVEN = {
    "sqlite": "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') "
    "FROM json_each(%s) WHERE TRUE",
    "postgresql": "SELECT * FROM unnest(%s::bigint[], %s::float8[], %s::float8[])",
}


def add(scores: Sequence[tuple[int, float, float]]) -> None:
    """Add to the scores of these movies, by day and by week, in one statement; each id stands once."""
    engine = connection.vendor
    day, week = (_JOINED[engine].format(f"movie_popularity.{name}", f"excluded.{name}") for name in ("day", "week"))
    text = (
        f"INSERT INTO movie_popularity (movie_id, day, week) {_GIVEN[engine]} "
        f"ON CONFLICT (movie_id) DO UPDATE SET day = {day}, week = {week}"
    )
    values = [json.dumps(scores)] if engine == "sqlite" else [list(column) for column in zip(*scores, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(text, values)
