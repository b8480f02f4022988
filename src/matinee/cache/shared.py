"""The shared tier: bytes under keys that all processes share, in Redis or memcached; the protocol, the null one, one in memory.

Invariants: it never raises and nobody waits for it past a deadline. It may be stale, empty, or restored from yesterday: no old
value is believed, because the reader judges each by a stamp inside it. So nothing here is needed for a correct answer.
Called by runtime, which makes one for each process, and by the read path; on the event loop's thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol


class SharedTier(Protocol):
    """A bounded store of bytes that other processes see too."""

    name: str  # "none", "redis", "memcached", "memory"
    is_null: bool  # it never holds anything: whoever asks may leave out leases and encoding altogether

    async def get(self, key: str) -> bytes | None:
        """Return the value; None when it is not there, or when the tier is away or too slow."""
        ...

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep a value for so long. It is sent in the background, nobody waits, and it may be lost."""
        ...

    async def lease(self, key: str, ttl_ms: int) -> bool:
        """Return whether the caller is the one that is to load a value: the first who asks for this key in so long.

        The answer is yes whenever the tier is away, so that nobody waits on a dead one. A lease is an entry of its own: give
        it a key that no value has; `delete` gives it back.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Forget values or give leases back, in the background."""
        ...

    def trouble(self) -> str | None:
        """Return in a sentence why it is not used right now; None when all is well."""
        ...

    async def ping(self) -> str | None:
        """Ask it now; return None when it is well, else in a sentence why not and what to do."""
        ...

    async def close(self) -> None:
        """Give its connections back; what waits to be sent is lost."""
        ...


class NullTier:
    """The tier of an installation that has none."""

    name = "none"
    is_null = True

    async def get(self, key: str) -> bytes | None:  # noqa: ARG002 - it holds nothing under any key
        """Return nothing."""
        return None

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep nothing."""

    async def lease(self, key: str, ttl_ms: int) -> bool:  # noqa: ARG002 - nobody else could hold it
        """Return that the caller is to load the value."""
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Forget nothing."""

    def trouble(self) -> str | None:
        """Return that all is well."""
        return None

    async def ping(self) -> str | None:
        """Return that all is well."""
        return None

    async def close(self) -> None:
        """End nothing."""


class MemoryTier:
    """A tier in this process's memory, for tests; `away` makes it as one that cannot be reached."""

    name = "memory"
    is_null = False

    def __init__(self, most_entries: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self.away: str | None = None
        self._most_entries, self._clock = most_entries, clock
        self._entries: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str) -> bytes | None:
        """Return the value while it is fresh."""
        value, ends_s = self._entries.get(key, (None, 0.0))
        return value if self.away is None and ends_s > self._clock() else None

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep a value; the oldest entry makes room for it."""
        self._keep(key, value, ttl_s)

    async def lease(self, key: str, ttl_ms: int) -> bool:
        """Return whether nobody holds the lease; then the caller does."""
        if self.away is None and await self.get(key) is not None:
            return False
        self._keep(key, b"1", ttl_ms / 1000)
        return True

    def delete(self, keys: Iterable[str]) -> None:
        """Forget entries."""
        for key in keys if self.away is None else ():
            self._entries.pop(key, None)

    def trouble(self) -> str | None:
        """Return what `away` was set to."""
        return self.away

    async def ping(self) -> str | None:
        """Return what `away` was set to."""
        return self.away

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def _keep(self, key: str, value: bytes, ttl_s: float) -> None:
        if self.away is not None:
            return
        self._entries.pop(key, None)
        self._entries[key] = value, self._clock() + ttl_s
        if len(self._entries) > self._most_entries:
            del self._entries[next(iter(self._entries))]


def shared_tier(redis_url: str, memcached_url: str, deadline_s: float) -> SharedTier:
    """Return the tier that the settings name; nothing is opened before it is first asked. Both URLs are never given.

    Raises: ConfigError when the URL cannot be read.
    """
    # Drivers, and what they count, are imported only by who has a tier, and not before the server has said where its workers
    # count together.
    if redis_url:
        from matinee.cache.redis import redis_driver
        from matinee.cache.remote import RemoteTier

        return RemoteTier(redis_driver(redis_url), deadline_s)
    if memcached_url:
        from matinee.cache.memcached import memcached_driver
        from matinee.cache.remote import RemoteTier

        return RemoteTier(memcached_driver(memcached_url), deadline_s)
    return NullTier()
