"""What clients were answered while faults went on, and the checks that are made of it afterwards, against the leader's log.

Recorded by crowd.py, checked by test_coherence.py. The truth is the leader's table of changes; by when a change was committed
is known from the writers: a position that was acknowledged means that all positions before it had been committed, too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from math import inf
from typing import NamedTuple

OWN_WORD_TOLERANCE_S = 0.05  # the staleness that an answer tells is rounded, and clocks of two processes are read

Change = tuple[int, int, int]  # position, movie, version


class Read(NamedTuple):
    """One answer. `seen` are the movies on it with their versions; `shown` is the position that the request showed.

    `keeps` says whether the client shows what it has seen, so that it must never be answered from before that.
    """

    client: int
    keeps: bool
    server: int
    began_s: float
    took_s: float
    status: int
    is_page: bool
    seen: tuple[tuple[int, int], ...]
    shown: int
    position: int
    staleness_s: float
    is_verified: bool
    cache: str
    detail: str = ""


class Acknowledged(NamedTuple):
    """A write whose writer was told that it is done."""

    at_s: float
    position: int


class Truth:
    """The changes of the movies in the order of their commits, and by when each is known to have been committed."""

    def __init__(self, changes: Iterable[Change], acknowledged: Iterable[Acknowledged]) -> None:
        self._positions: dict[int, list[int]] = defaultdict(list)
        self._versions: dict[int, list[int]] = defaultdict(list)
        for position, movie, version in sorted(changes):
            self._positions[movie].append(position)
            self._versions[movie].append(version)
        told = sorted(acknowledged, key=lambda item: item.position)
        self._told = [item.position for item in told]
        self._by_s = list(accumulate((item.at_s for item in reversed(told)), min))[::-1]

    def version_at(self, movie: int, position: int) -> int:
        """Return the version that a movie had at a position, 0 before there was one."""
        index = bisect_right(self._positions[movie], position) - 1
        return self._versions[movie][index] if index >= 0 else 0

    def committed_by_s(self, position: int) -> float:
        """Return the moment by which a position was committed, as far as any writer has been told."""
        index = bisect_left(self._told, position)
        return self._by_s[index] if index < len(self._told) else inf

    def overdue_s(self, read: Read) -> float:
        """Return for how long something newer had been committed when a read began; less than 0 when there was nothing."""
        return max((read.began_s - self._replaced_s(movie, version) for movie, version in read.seen), default=-inf)

    def _replaced_s(self, movie: int, version: int) -> float:
        index = bisect_right(self._versions[movie], version)
        positions = self._positions[movie]
        return self.committed_by_s(positions[index]) if index < len(positions) else inf


# The checks. Each returns what is wrong; of a good history, nothing.


def failed(reads: Sequence[Read]) -> list[Read]:
    """Return the reads that were not answered."""
    return [read for read in reads if read.status not in (200, 304)]


def behind_what_was_shown(reads: Sequence[Read]) -> list[Read]:
    """Return the answers from before the position that the request showed."""
    return [read for read in reads if read.status and read.position < read.shown]


def not_as_told(reads: Sequence[Read], truth: Truth) -> list[Read]:
    """Return the answers that do not show the movies as they were at the position that the answer tells."""
    return [read for read in reads if any(truth.version_at(movie, read.position) != version for movie, version in read.seen)]


def gone_back(reads: Sequence[Read]) -> list[tuple[Read, Read]]:
    """Return, of clients that show what they have seen, the answers with an older version of a movie than one before."""
    wrong: list[tuple[Read, Read]] = []
    newest: dict[tuple[int, int], tuple[int, Read]] = {}
    for read in sorted((read for read in reads if read.keeps), key=lambda read: read.began_s):
        for movie, version in read.seen:
            before = newest.get((read.client, movie))
            if before is not None and before[0] > version:
                wrong.append((before[1], read))
            else:
                newest[read.client, movie] = version, read
    return wrong


def staler_than_told(reads: Sequence[Read], truth: Truth) -> list[Read]:
    """Return the answers that lack something which had been committed for longer than they say they may be stale."""
    return [read for read in reads if read.is_verified and truth.overdue_s(read) > read.staleness_s + OWN_WORD_TOLERANCE_S]


def older_than(reads: Sequence[Read], truth: Truth, bound_s: Callable[[Read], float]) -> list[Read]:
    """Return the answers that lack something which had been committed for longer than a bound."""
    return [read for read in reads if truth.overdue_s(read) > bound_s(read)]


def figures(reads: Sequence[Read], truth: Truth) -> list[str]:
    """Return, a line for each tier that answers name: the reads, those that lacked something, and the oldest such lack."""
    overdue_s: dict[str, list[float]] = defaultdict(list)
    for read in reads:
        overdue_s[f"{'page' if read.is_page else 'movie'}  {read.cache}"].append(truth.overdue_s(read))
    return [
        f"{name}: {len(lacks)} reads, {sum(lack > 0 for lack in lacks)} lacked something, by {max(0.0, *lacks):.3f} s at most"
        for name, lacks in sorted(overdue_s.items())
    ]
