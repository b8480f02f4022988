"""What all processes together have counted of accesses: the protocol, the null one, one in memory, one over a database.

Each process counts for itself and hands its counts over now and then (counting.py). They are summed in Redis when there is one
(redis_counts.py), else in the database. Invariants: nothing here raises, no request waits for longer than the shared tier's
deadline or a read's, and nobody needs it for a correct answer: it may be empty, old, or lost.
Made by runtime; called by counting.py, by the read room for what is trending, and for warming.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from heapq import nlargest
from typing import Protocol

from matinee.cache.shared import SharedTier
from matinee.domain.popularity import FUTURE_S, WINDOWS, Window, joined, mended, score, worth
from matinee.errors import MatineeError

Top = list[tuple[int, float]]  # movies by id, the most asked-for first, each with how many accesses of now it is worth
Counted = Sequence[tuple[int, int]]  # movies by id, each with its accesses


class Counts(Protocol):
    """The counts of all processes, decayed by the half-lives of domain/popularity.py."""

    name: str  # "none", "redis", "database", "memory"
    is_null: bool  # nothing is counted
    most_movies: int  # that one call of `add` takes

    async def add(self, counted: Mapping[int, int], now_s: float) -> str | None:
        """Add what one process has counted, by movie; return None, or as the end of a sentence why it was not taken.

        `now_s` is in seconds since 1970. Nothing is to be added again: part of it may have been.
        """
        ...

    async def top(self, window: Window, limit: int) -> Top:
        """Return the most asked-for movies; the last list that was known, or none, while they cannot be asked for.

        Movies that are gone may be among them.
        """
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class NullCounts:
    """Nothing is counted: MATINEE_POPULARITY is off."""

    name, is_null, most_movies = "none", True, 0

    async def add(self, counted: Mapping[int, int], now_s: float) -> str | None:  # noqa: ARG002 - it keeps nothing
        """Add nothing."""
        return None

    async def top(self, window: Window, limit: int) -> Top:  # noqa: ARG002 - it keeps nothing
        """Return nothing."""
        return []

    async def close(self) -> None:
        """End nothing."""


class MemoryCounts:
    """Counts in this process's memory, for tests; `away` makes them as some that cannot be reached."""

    name, is_null, most_movies = "memory", False, 1_000

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.away: str | None = None
        self._clock = clock
        self._scores: dict[Window, dict[int, float]] = {window: {} for window in WINDOWS}
        self._at_s: dict[int, float] = {}

    async def add(self, counted: Mapping[int, int], now_s: float) -> str | None:
        """Add counts to the scores."""
        if self.away is not None:
            return self.away
        clock_s = self._clock()
        at_s = min(now_s, clock_s)
        for movie_id, count in counted.items():
            before_s = self._at_s.get(movie_id, 0.0)
            for window, scores in self._scores.items():
                added = score(count, at_s, window)
                known = movie_id in scores
                scores[movie_id] = joined(mended(scores[movie_id], before_s, clock_s, window), added) if known else added
            self._at_s[movie_id] = at_s if before_s > clock_s + FUTURE_S else max(before_s, at_s)
        return None

    async def top(self, window: Window, limit: int) -> Top:
        """Return the movies with the largest scores."""
        latest_s = self._clock() + FUTURE_S
        present = (
            (movie_id, of_score) for movie_id, of_score in self._scores[window].items() if self._at_s[movie_id] <= latest_s
        )
        found = nlargest(limit, present, key=lambda item: item[1])
        return [] if self.away is not None else worths(found, self._clock(), window)

    async def close(self) -> None:
        """End nothing."""


class DatabaseCounts:
    """Counts in the catalogue's database: written through the leader, read as everything is. Both are the caller's to know."""

    name, is_null = "database", False
    most_movies = 1_000  # of one statement: its locks are held for a few milliseconds

    def __init__(
        self,
        write: Callable[[Counted, float], Awaitable[None]],
        read: Callable[[Window, int], Awaitable[Top]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`write` and `read` may raise what the leader and the readers raise."""
        self._write, self._read, self._clock = write, read, clock

    async def add(self, counted: Mapping[int, int], now_s: float) -> str | None:
        """Add counts to the scores, in one statement; not while the leader is away."""
        # In the order of their ids, so that two processes which write the same movies never wait for each other in a ring.
        try:
            await self._write(sorted(counted.items()), now_s)
        except MatineeError as error:
            return error.for_operators
        return None

    async def top(self, window: Window, limit: int) -> Top:
        """Return the movies with the largest scores."""
        try:
            found = await self._read(window, limit)
        except MatineeError:
            return []  # whoever shows them meets the same, and says so
        return worths(found, self._clock(), window)

    async def close(self) -> None:
        """End nothing: reader and writer are closed by whoever made them."""


def worths(scores: Sequence[tuple[int, float]], now_s: float, window: Window) -> Top:
    """Return what scores are worth now, in the same order."""
    return [(movie_id, worth(of_score, now_s, window)) for movie_id, of_score in scores]


def chosen_counts(*, is_on: bool, redis_url: str, shared: SharedTier, deadline_s: float, database: Counts) -> Counts:
    """Return where the settings say that accesses are counted: with the shared tier's Redis, else in the database."""
    if not is_on:
        return NullCounts()
    if redis_url:
        # As the driver itself: only by who has a Redis, and not before the server has said where its workers count together.
        from matinee.cache.redis_counts import redis_counts

        return redis_counts(redis_url, shared, deadline_s)
    return database
