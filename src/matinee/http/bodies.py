"""Bound the memory of all request bodies that are still arriving. Called by the front for each piece of a body.

A body is in memory until it is complete, and slow ones would add up: a thousand connections with a megabyte each. Beyond the
bound the body that began first ends with 408, as if its time were over: a client that sends fast has long finished.
"""

from __future__ import annotations

from typing import Protocol

_LEAST_BYTES = 64 * 1024 * 1024


class Arriving(Protocol):
    """A request whose body is not complete."""

    def end_body(self) -> None:
        """Stop waiting for the rest."""


class Bodies:
    """The bodies that are arriving, in the order in which they began."""

    __slots__ = ("_bytes", "_most_bytes", "total_bytes")

    def __init__(self, max_body_bytes: int) -> None:
        self._most_bytes = max(_LEAST_BYTES, 2 * max_body_bytes)
        self._bytes: dict[Arriving, int] = {}
        self.total_bytes = 0

    def add(self, request: Arriving, count: int) -> None:
        """Count a piece of a body; end others when all are too much together."""
        self._bytes[request] = self._bytes.get(request, 0) + count
        self.total_bytes += count
        while self.total_bytes > self._most_bytes:
            oldest = next(iter(self._bytes))
            self.remove(oldest)
            oldest.end_body()

    def remove(self, request: Arriving) -> None:
        """Forget a body: it is complete, or its request has ended."""
        self.total_bytes -= self._bytes.pop(request, 0)
