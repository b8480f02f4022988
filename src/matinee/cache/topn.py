"""Top N: every request is counted, and the most asked for stay. What is new gets in when it is asked for more than the weakest.

Called by policy.py. Requests for keys that are not held are counted too (ghosts.py). So that yesterday's favourites leave, a
request counts half as much after ten misses for each entry that is held. Best while popularity hardly moves; a new favourite
waits long at the door.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush, nlargest
from typing import Any

from matinee.cache.bounded import LARGEST_SHARE, Bounded, Entry
from matinee.cache.ghosts import Ghosts

OVERHEAD_BYTES = 600  # measured with bench/policies.py: as in lru.py, and the heap and the ghosts
_HALF_LIFE = 10  # in misses, for each entry that is held
_SPARE = 64  # so many more than twice the entries may stand in the heap, before it is made anew


class _Counted(Entry, gc=False, eq=False):
    score: float


class TopN(Bounded[_Counted]):
    """The entries, and a heap of their scores: what it says of an entry may be old, and is then too low, never too high."""

    __slots__ = ("_ghosts", "_heap", "_pushes")

    def __init__(self, bound_bytes: int, overhead_bytes: int = OVERHEAD_BYTES, largest_share: float = LARGEST_SHARE) -> None:
        super().__init__(bound_bytes, overhead_bytes, largest_share)
        self.clear()

    def get(self, key: Hashable) -> Any | None:
        """Return the value, or None; either way the request is counted."""
        entry = self._entries.get(key)
        if entry is None:
            self._miss(key)
            return None
        entry.score += self._ghosts.weight
        return entry.value

    def delete(self, key: Hashable) -> bool:
        """Drop one key, not what was counted of it; return whether it was held."""
        entry = self._entries.get(key)
        if entry is not None:
            self._drop(entry)
        return entry is not None

    def clear(self) -> None:
        """Drop everything, and what was counted."""
        self._entries = {}
        self._heap: list[tuple[float, int, _Counted]] = []
        self._pushes = self.used_bytes = 0
        self._ghosts = Ghosts(_HALF_LIFE)

    def hottest(self, limit: int) -> list[Hashable]:
        """Return the keys that are asked for most."""
        return [entry.key for entry in nlargest(limit, self._entries.values(), key=lambda entry: entry.score)]

    def _miss(self, key: Hashable) -> None:
        unit = self._ghosts.tick(len(self._entries))
        self._ghosts.add(key)
        if unit != 1.0:
            for entry in self._entries.values():
                entry.score /= unit
            self._rebuild()

    def _add(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        score = self._ghosts.score(key) or self._ghosts.weight
        while self.used_bytes + size_bytes > self.bound_bytes:
            weakest = self._weakest()
            if weakest.score >= score:
                return False
            self._evict(weakest)
        entry = self._entries[key] = _Counted(key, value, size_bytes, score)
        self.used_bytes += size_bytes
        self._push(entry)
        return True

    def _make_room(self, needed_bytes: int) -> None:
        while self.used_bytes + needed_bytes > self.bound_bytes:
            self._evict(self._weakest())

    def _weakest(self) -> _Counted:
        """Return the entry with the lowest score, and bring the top of the heap up to date on the way."""
        while True:
            score, _, entry = self._heap[0]
            held = self._entries.get(entry.key) is entry
            if held and entry.score == score:
                return entry
            heappop(self._heap)
            if held:
                self._push(entry)

    def _push(self, entry: _Counted) -> None:
        self._pushes += 1  # of equal scores the oldest is the weakest
        heappush(self._heap, (entry.score, self._pushes, entry))
        if len(self._heap) > 2 * len(self._entries) + _SPARE:
            self._rebuild()

    def _evict(self, entry: _Counted) -> None:
        self._drop(entry)
        self.evictions += 1

    def _drop(self, entry: _Counted) -> None:
        del self._entries[entry.key]
        self.used_bytes -= entry.size_bytes
        self._ghosts.remember(entry.key, entry.score)
        entry.key = entry.value = None  # the heap refers to the entry until it reaches the top

    def _rebuild(self) -> None:
        self._heap = [(entry.score, number, entry) for number, entry in enumerate(self._entries.values())]
        self._pushes = len(self._heap)
        heapify(self._heap)
