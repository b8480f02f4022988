"""What all policies share: the bound, the exact sum of what is held, and the way of a value into the cache.

Called by lru.py, topn.py and s3fifo.py, which say what a request does, what comes in, and what leaves. Not for several threads:
the event loop that owns a tier calls it, so a hit takes no lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, MutableMapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

# One value never takes more than this share of the bound: it would drive out too much that others ask for.
LARGEST_SHARE = 0.25


class Entry(Struct, gc=False, eq=False):
    """One value that is held. The garbage collector leaves it out: it would walk over all of them, and hold up the loop."""

    key: Hashable
    value: Any
    size_bytes: int


E = TypeVar("E", bound=Entry)


class Bounded(ABC, Generic[E]):
    """A mapping that holds at most `bound_bytes`, each entry counted as its own size and `overhead_bytes`."""

    __slots__ = ("_entries", "_largest_bytes", "bound_bytes", "evictions", "overhead_bytes", "used_bytes")

    def __init__(self, bound_bytes: int, overhead_bytes: int, largest_share: float = LARGEST_SHARE) -> None:
        self.bound_bytes = bound_bytes
        self.overhead_bytes = overhead_bytes
        self.used_bytes = 0
        self.evictions = 0
        self._largest_bytes = int(bound_bytes * largest_share)
        self._entries: MutableMapping[Hashable, E] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: Hashable) -> Any | None:
        """Return the value without counting it as asked for."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def put(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        """Keep a value, in the place of the one before it; what makes room for it is evicted. Return whether it is held.

        A value that is too large is not kept, and neither is the older one under its key.
        """
        size_bytes += self.overhead_bytes
        if size_bytes > self._largest_bytes:
            self.delete(key)
            return False
        entry = self._entries.get(key)
        if entry is None:
            return self._add(key, value, size_bytes)
        self._resize(entry, size_bytes)
        entry.value = value
        self._make_room(0)
        return key in self._entries

    def set_bound(self, bound_bytes: int) -> None:
        """Change the bound, and evict what is above it. The largest size of one value stays as it was."""
        self.bound_bytes = bound_bytes
        self._make_room(0)

    def _resize(self, entry: E, size_bytes: int) -> None:
        self.used_bytes += size_bytes - entry.size_bytes
        entry.size_bytes = size_bytes

    @abstractmethod
    def _add(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        """Take in what is not held; return whether it was."""

    @abstractmethod
    def _make_room(self, needed_bytes: int) -> None:
        """Evict until so many bytes more are within the bound."""

    @abstractmethod
    def delete(self, key: Hashable) -> bool:
        """Drop one key; return whether it was held."""
