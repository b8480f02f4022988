"""What is asked of the shared tier in one tick of the event loop, gathered into one round trip. No I/O.

One MGET for all keys of a tick is 6.5 times as fast as a GET for each. Called by remote.py.
"""

from __future__ import annotations

import asyncio

from matinee.cache.link import Entry, Found, Lease

MOST_WAITING_WRITES = 1_000
MOST_WAITING_BYTES = 8 * 2**20
_WRITES_AT_ONCE = 128
_BYTES_AT_ONCE = 2**20  # of one round trip, so that no read waits behind it for long


class ReadBatch:
    """The keys and leases that are asked for in one round trip. As many wait as there are requests in flight.

    Every waiter has a future of its own, so one that is cancelled takes nothing from the others; a key stands here once.
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s  # when the first one began to wait
        self._keys: dict[str, list[asyncio.Future[bytes | None]]] = {}
        self._leases: list[tuple[Lease, asyncio.Future[bool]]] = []

    @property
    def keys(self) -> list[str]:
        """Return the keys, each once."""
        return list(self._keys)

    @property
    def leases(self) -> list[Lease]:
        """Return the leases; those of one key in the order in which they were asked for."""
        return [lease for lease, _ in self._leases]

    def want(self, key: str, waiter: asyncio.Future[bytes | None]) -> None:
        """Ask for a key."""
        waiters = self._keys.get(key)
        if waiters is None:
            self._keys[key] = [waiter]
        else:
            waiters.append(waiter)

    def want_lease(self, lease: Lease, waiter: asyncio.Future[bool]) -> None:
        """Ask for a lease."""
        self._leases.append((lease, waiter))

    def waiting(self) -> tuple[int, int]:
        """Return how many wait for values and for leases."""
        return sum(map(len, self._keys.values())), len(self._leases)

    def answer(self, found: Found) -> int:
        """Tell everybody what was found; return how many waited for a value that is there."""
        hits = 0
        for value, waiters in zip(found.values, self._keys.values(), strict=True):
            hits += len(waiters) if value is not None else 0
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(value)
        for is_given, (_, waits) in zip(found.leases, self._leases, strict=True):
            if not waits.done():
                waits.set_result(is_given)
        return hits

    def give_up(self) -> None:
        """Tell everybody that nothing is there and that they are to load what they want themselves."""
        self.answer(Found([None] * len(self._keys), [True] * len(self._leases)))


class WriteQueue:
    """The values that wait to be sent, and the keys that are to be forgotten; bounded, and a key stands here once."""

    def __init__(self) -> None:
        self._writes: dict[str, Entry | None] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, key: str, entry: Entry | None) -> bool:
        """Add a write, in place of an earlier one of that key; return whether there was room."""
        size_bytes = _size_bytes(key, entry)
        if len(self._writes) >= MOST_WAITING_WRITES or self._bytes + size_bytes > MOST_WAITING_BYTES:
            return False
        if key in self._writes:
            self._bytes -= _size_bytes(key, self._writes.pop(key))
        self._writes[key] = entry
        self._bytes += size_bytes
        return True

    def take(self) -> dict[str, Entry | None]:
        """Take out what goes into one round trip, the oldest first."""
        taken: dict[str, Entry | None] = {}
        taken_bytes = 0
        while self._writes and len(taken) < _WRITES_AT_ONCE and taken_bytes < _BYTES_AT_ONCE:
            key = next(iter(self._writes))
            taken[key] = self._writes.pop(key)
            taken_bytes += _size_bytes(key, taken[key])
        self._bytes -= taken_bytes
        return taken

    def clear(self) -> int:
        """Drop everything; return how many writes that were."""
        dropped = len(self._writes)
        self._writes.clear()
        self._bytes = 0
        return dropped


def _size_bytes(key: str, entry: Entry | None) -> int:
    return len(key) + (len(entry.value) if entry is not None else 0)
