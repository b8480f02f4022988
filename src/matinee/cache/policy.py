"""What stays in a tier that is bounded in bytes: the protocol of a policy, and the policies by their names.

Called by the tiers and by simulation.py. A policy is the mapping itself, from key to value, so that a hit is one look-up. It
counts an entry as the size that it is told and an overhead that was measured; their sum never passes the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

from matinee.cache.lru import Lru
from matinee.cache.s3fifo import S3Fifo
from matinee.cache.topn import TopN


class Policy(Protocol):
    """A mapping that decides itself what it keeps. A value is never None, which says that there is none."""

    bound_bytes: int
    overhead_bytes: int
    used_bytes: int
    evictions: int

    def __len__(self) -> int:
        """Return how many entries are held."""
        ...

    def get(self, key: Hashable) -> Any | None:
        """Return the value, or None; the request is counted."""
        ...

    def peek(self, key: Hashable) -> Any | None:
        """Return the value, or None; nothing is counted."""
        ...

    def put(self, key: Hashable, value: Any, size_bytes: int) -> bool:
        """Keep a value instead of the one before it, evicting what must make room; return whether it is held."""
        ...

    def delete(self, key: Hashable) -> bool:
        """Drop one key; return whether it was held. No eviction is counted."""
        ...

    def set_bound(self, bound_bytes: int) -> None:
        """Change the bound, and evict what is above it."""
        ...

    def clear(self) -> None:
        """Drop everything, and what was learnt of the requests."""
        ...

    def hottest(self, limit: int) -> list[Hashable]:
        """Return the keys that are held most firmly, the firmest first."""
        ...


_MAKERS: dict[str, Callable[..., Policy]] = {"lru": Lru, "topn": TopN, "s3fifo": S3Fifo}
POLICIES = tuple(_MAKERS)
DEFAULT = "s3fifo"


def make_policy(name: str, bound_bytes: int) -> Policy:
    """Return the policy of a name, for values that lie in memory."""
    return _MAKERS[name](bound_bytes)


def make_counting_policy(name: str, entries: int) -> Policy:
    """Return the policy of a name, bounded in entries: each is put with the size 1. For simulations."""
    return _MAKERS[name](entries, overhead_bytes=0, largest_share=1.0)
