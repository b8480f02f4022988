"""A catalogue of a million movies that are the sample over and over, and requests for it. Called by local_memory.py.

The bodies are the sample's own, so their sizes are those of real movies; only the id that is asked for differs. Nothing is
written.
"""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import Any

from matinee.domain.freshness import Demand
from matinee.storage.source import Answered
from matinee.storage.sql import Statement
from matinee.storage.sqlite import SqliteFile

MOVIES = 1_000_000
_ZIPF = 0.9
_SORTS = ("popularity", "-year", "title", "added", "rating")
_GENRES = ("Drama", "Comedy", "Thriller", "Horror", "Western", "Romance", "Action", "Crime")
_ENCODINGS = (b"br", b"br", b"br", b"gzip", None)
_SPREAD = 611_953  # a prime: the movies that are asked for most are not the first ones

Request = tuple[str, bytes, bytes | None]  # path, query string, Accept-Encoding


class RepeatedSample(SqliteFile):
    """Answers for a million ids out of the sample's rows."""

    def __init__(self, path: Path, ids: list[int]) -> None:
        super().__init__(path)
        self._ids = ids

    async def rows(self, statement: Statement, demand: Demand) -> Answered:
        """Return the rows of a statement; those of a movie under the id that was asked for."""
        if statement.name == "movie_by_id" and statement.values["id"] <= MOVIES:
            asked = statement.values["id"]
            one = Statement(statement.text, {"id": self._ids[asked % len(self._ids)]}, statement.name)
            (row,), as_of = await super().rows(one, demand)
            return Answered([(asked, *row[1:])], as_of)
        return await super().rows(statement, demand)


class Visitors:
    """A day's visitors: mostly movies (Zipf 0.9), some pages, some movies that are not there."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._weights = list(accumulate((rank + 1) ** -_ZIPF for rank in range(MOVIES)))

    def requests(self, count: int) -> list[Request]:
        """Return their next requests."""
        ranks = self._chance.choices(range(MOVIES), cum_weights=self._weights, k=count)
        return [_request(self._chance, rank) for rank in ranks]


def _request(chance: random.Random, rank: int) -> Request:
    kind, encoding = chance.random(), chance.choice(_ENCODINGS)
    if kind < 0.03:
        return "/v1/movies", _page_query(chance), encoding
    missing = MOVIES if kind < 0.05 else 0
    return f"/v1/movies/{rank * _SPREAD % MOVIES + 1 + missing}", b"", encoding


def _page_query(chance: random.Random) -> bytes:
    year, genre = 2020 - int(chance.paretovariate(1.2)) % 80, chance.choice(_GENRES)
    return f"genre={genre}&year={year}&sort={chance.choice(_SORTS)}&limit={chance.choice((20, 50, 100))}".encode()


def scope(request: Request) -> dict[str, Any]:
    """Return a request as ASGI has it."""
    path, query, encoding = request
    headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"bench"), (b"accept", b"*/*")]
    if encoding is not None:
        headers.append((b"accept-encoding", encoding))
    return {"type": "http", "method": "GET", "scheme": "http", "path": path, "query_string": query, "headers": headers}
