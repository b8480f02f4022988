"""What is remembered of keys that are not held: how much each was asked for lately, in a table of fixed size.

Called by topn.py and s3fifo.py. A key costs 8 bytes here, where a dict would take 130: what is remembered must not crowd out
what is held. The table is rows of four places; a key belongs to one row, and takes the place of the weakest in it. Of a
key's hash only 32 bits are kept: two keys of one row are taken for each other once in four thousand million times.

A score halves with every half-life that passes, and none is touched for it: the weight of what is added grows instead.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable

_PLACES = 4
_SLACK = 1.25  # the caller may hold so many times the keys that the table was made for
_HEAVIEST = 2.0**64  # far from where 32-bit floats end, 2^128
_32_BITS = 0xFFFFFFFF


class Ghosts:
    """Scores of four times as many keys as the caller holds, and what one request weighs at this moment."""

    __slots__ = ("_growth", "_half_life", "_limit", "_marks", "_rows", "_scores", "weight")

    def __init__(self, half_life: int) -> None:
        """Make a table that grows with its caller; the half-life is in calls of `tick` for each key that the caller holds."""
        self._half_life = half_life
        self.weight = 1.0
        self._fit(0)

    def _fit(self, keys: int) -> None:
        """Begin anew with a table for a caller that holds so many keys."""
        self._rows = keys | 1  # odd: the hash of a number is the number, and numbers often have a power of two between them
        self._limit = keys * _SLACK
        self._growth = 2.0 ** (1 / (self._half_life * keys)) if keys else 1.0
        self._marks = array("I", bytes(4 * _PLACES * self._rows))
        self._scores = array("f", bytes(4 * _PLACES * self._rows))

    def tick(self, keys: int) -> float:
        """Let time pass for a caller that holds so many keys; return what all scores are divided by from now on, mostly 1."""
        if keys > self._limit:
            self._fit(keys)
        self.weight *= self._growth
        return self._lighten() if self.weight > _HEAVIEST else 1.0

    def _lighten(self) -> float:
        unit, self.weight = self.weight, 1.0
        self._scores = array("f", [score / unit for score in self._scores])
        return unit

    def score(self, key: Hashable) -> float:
        """Return what is remembered of a key; 0.0 when it is nothing."""
        hashed = hash(key)
        mark = hashed & _32_BITS
        first = hashed % self._rows * _PLACES
        row = self._marks[first : first + _PLACES]
        return self._scores[first + row.index(mark)] if mark in row else 0.0

    def add(self, key: Hashable) -> None:
        """Count a key once more."""
        self._scores[self._place(key)] += self.weight

    def remember(self, key: Hashable, score: float) -> None:
        """Give a key this score."""
        self._scores[self._place(key)] = score

    def _place(self, key: Hashable) -> int:
        """Return the place of a key; the weakest of its row makes room for it."""
        hashed = hash(key)
        mark = hashed & _32_BITS
        first = hashed % self._rows * _PLACES
        row = self._marks[first : first + _PLACES]
        if mark in row:
            return first + row.index(mark)
        scores = self._scores[first : first + _PLACES]
        place = first + scores.index(min(scores))
        self._marks[place] = mark
        self._scores[place] = 0.0
        return place
