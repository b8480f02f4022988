"""Least recently used: what was not asked for longest leaves. The plain policy that the others are measured against.

Called by policy.py. A crawler that walks through the catalogue once drives everything else out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Any

from matinee.cache.bounded import LARGEST_SHARE, Bounded, Entry

OVERHEAD_BYTES = 450  # measured with bench/policies.py: the entry, its key, its place in the mapping, the value's own header


class Lru(Bounded[Entry]):
    """The entries in the order of their last requests."""

    __slots__ = ()
    _entries: OrderedDict[Hashable, Entry]

    def __init__(self, bound_bytes: int, overhead_bytes: int = OVERHEAD_BYTES, largest_share: float = LARGEST_SHARE) -> None:
        super().__init__(bound_bytes, overhead_bytes, largest_share)
        self.clear()

    def get(self, key: Hashable) -> Any | None:
        """Return the value, or None; it becomes the newest."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def delete(self, key: Hashable) -> bool:
        """Drop one key; return whether it was held."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.used_bytes -= entry.size_bytes
        return True

    def clear(self) -> None:
        """Drop everything."""
        self._entries = OrderedDict()
        self.used_bytes = 0

    def hottest(self, limit: int) -> list[Hashable]:
        """Return the keys that were asked for last."""
        return list(islice(reversed(self._entries), limit))

    def _add(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        self._make_room(size_bytes)
        self._entries[key] = Entry(key, value, size_bytes)
        self.used_bytes += size_bytes
        return True

    def _make_room(self, needed_bytes: int) -> None:
        while self.used_bytes + needed_bytes > self.bound_bytes:
            _, entry = self._entries.popitem(last=False)
            self.used_bytes -= entry.size_bytes
            self.evictions += 1
