"""S3-FIFO: newcomers pass a small queue; what is asked for again goes on to the main one. Resists crawlers, follows what moves.

Called by policy.py; the default. After Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023): a small
queue, a main queue in which what was asked for goes round once more, and ghosts of those that left. A hit only counts, up to
three. Three things differ:

- One request in the small queue is enough to go on to the main one.
- A ghost counts how often it left, and comes back into the main queue when it did so twice lately. In the paper once is enough,
  and of a long tail much comes back once that is asked for less than what it drives out.
- The small queue's share of the bound, a tenth in the paper, moves between 1 and 90 %: it grows when somebody asks for what has
  just left it, and shrinks when somebody asks for what has just left the main queue. Steady favourites want it small, quickly
  passing ones large.

What they bring stands in docs/caches.md.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from heapq import nlargest
from typing import Any

from matinee.cache.bounded import LARGEST_SHARE, Bounded, Entry
from matinee.cache.ghosts import Ghosts

OVERHEAD_BYTES = 450  # measured with bench/policies.py: as in lru.py, without an order, with ghosts
_SMALL, _MAIN, _GONE = range(3)
_MOST_USES = 3
_SHARE_FIRST, _SHARE_LEAST, _SHARE_MOST = 0.05, 0.01, 0.9  # of the bound, for the small queue
_JUST_LEFT = 0.1  # of the entries: so many that left a queue last have "just" left it
_HALF_LIFE = 4  # of a ghost's count, in evictions for each entry that is held
_OFTEN = 1.2  # having left twice lately counts more than this, having left once counts at most 1
_ONCE_LATELY = 0.6
_FULL = 0.95  # of its share, the main queue is as good as full
_SPARE = 64  # entries that are gone may wait in their queues, so many and as many as are held


class _Queued(Entry, gc=False, eq=False):
    place: int
    uses: int = 0


class S3Fifo(Bounded[_Queued]):
    """Two queues of entries. What was deleted stays in its queue, marked as gone, until it comes to the front."""

    __slots__ = ("_ghosts", "_gone", "_left_main", "_left_small", "_main", "_small", "_small_bytes", "_target_bytes")

    def __init__(self, bound_bytes: int, overhead_bytes: int = OVERHEAD_BYTES, largest_share: float = LARGEST_SHARE) -> None:
        super().__init__(bound_bytes, overhead_bytes, largest_share)
        self.clear()

    def get(self, key: Hashable) -> Any | None:
        """Return the value, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.uses < _MOST_USES:
            entry.uses += 1
        return entry.value

    def delete(self, key: Hashable) -> bool:
        """Drop one key; return whether it was held. When it comes back, as a changed movie does, it has its place again."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        if entry.place == _MAIN:
            self._ghosts.remember(key, 2 * self._ghosts.weight)
        elif entry.place == _SMALL:
            self._small_bytes -= entry.size_bytes
        self.used_bytes -= entry.size_bytes
        entry.place, entry.key, entry.value = _GONE, None, None
        self._gone += 1
        if self._gone > len(self._entries) + _SPARE:
            self._sweep()
        return True

    def clear(self) -> None:
        """Drop everything, and what was remembered."""
        self._entries = {}
        self._small: deque[_Queued] = deque()
        self._main: deque[_Queued] = deque()
        # Hashes, not keys: a key may be kilobytes of a stranger's query, and it is evicted so that its bytes are free again.
        self._left_small: OrderedDict[int, None] = OrderedDict()
        self._left_main: OrderedDict[int, None] = OrderedDict()
        self._ghosts = Ghosts(_HALF_LIFE)
        self._gone = self._small_bytes = self.used_bytes = 0
        self._target_bytes = self.bound_bytes * _SHARE_FIRST

    def hottest(self, limit: int) -> list[Hashable]:
        """Return the keys that were asked for most since their queue went round."""
        return [entry.key for entry in nlargest(limit, self._entries.values(), key=lambda entry: (entry.place, entry.uses))]

    def _add(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        self._move_the_border(key, size_bytes)
        self._make_room(size_bytes)
        if self._is_wanted(key):
            entry = _Queued(key, value, size_bytes, _MAIN)
            self._main.append(entry)
        else:
            entry = _Queued(key, value, size_bytes, _SMALL)
            self._small.append(entry)
            self._small_bytes += size_bytes
        self._entries[key] = entry
        self.used_bytes += size_bytes
        return True

    def _move_the_border(self, key: Hashable, size_bytes: int) -> None:
        """Give more room to a queue that has just lost a key which is wanted after all."""
        hashed = hash(key)
        if hashed in self._left_small:
            del self._left_small[hashed]
            self._target_bytes = min(self._target_bytes + size_bytes, self.bound_bytes * _SHARE_MOST)
        elif hashed in self._left_main:
            del self._left_main[hashed]
            self._target_bytes = max(self._target_bytes - size_bytes, self.bound_bytes * _SHARE_LEAST)

    def _is_wanted(self, key: Hashable) -> bool:
        """Return whether a ghost left often enough; as long as the main queue fills, once is enough."""
        fills = self.used_bytes - self._small_bytes + self._target_bytes < self.bound_bytes * _FULL
        return self._ghosts.score(key) > self._ghosts.weight * (_ONCE_LATELY if fills else _OFTEN)

    def _make_room(self, needed_bytes: int) -> None:
        """Take the oldest of a queue until there is room: on to the main queue, once more around in it, or out."""
        while self.used_bytes + needed_bytes > self.bound_bytes:
            from_small = self._small and (self._small_bytes >= self._target_bytes or not self._main)
            entry = self._small.popleft() if from_small else self._main.popleft()
            if entry.place == _GONE:
                self._gone -= 1
            elif not entry.uses:
                self._evict(entry)
            else:
                self._keep(entry)

    def _keep(self, entry: _Queued) -> None:
        if entry.place == _SMALL:
            entry.place, entry.uses = _MAIN, 0
            self._small_bytes -= entry.size_bytes
        else:
            entry.uses -= 1
        self._main.append(entry)

    def _evict(self, entry: _Queued) -> None:
        del self._entries[entry.key]
        self.used_bytes -= entry.size_bytes
        self.evictions += 1
        self._ghosts.tick(len(self._entries) + 1)
        if entry.place == _SMALL:
            self._small_bytes -= entry.size_bytes
            self._ghosts.add(entry.key)
            left = self._left_small
        else:
            self._ghosts.remember(entry.key, self._ghosts.weight)
            left = self._left_main
        left[hash(entry.key)] = None
        if len(left) > 1 + len(self._entries) * _JUST_LEFT:
            left.popitem(last=False)

    def _resize(self, entry: _Queued, size_bytes: int) -> None:
        if entry.place == _SMALL:
            self._small_bytes += size_bytes - entry.size_bytes
        super()._resize(entry, size_bytes)

    def _sweep(self) -> None:
        """Take those that are gone out of the queues."""
        self._small = deque(entry for entry in self._small if entry.place != _GONE)
        self._main = deque(entry for entry in self._main if entry.place != _GONE)
        self._gone = 0
