"""Which clients have a request under way, by the address of their connection.

Called by the front for each request that is no hit of the local cache. The thread of the connection guard reads it: such a
connection is not idle, whatever the kernel's figures say.
"""

from __future__ import annotations

from typing import Any


class UnderWay:
    """How many requests are under way on each connection; HTTP/2 has several."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def begin(self, scope: Any) -> None:
        """Count a request that begins."""
        if address := scope.get("client"):
            self._counts[address] = self._counts.get(address, 0) + 1

    def end(self, scope: Any) -> None:
        """Count a request that has ended."""
        if not (address := scope.get("client")):
            return
        if (left := self._counts[address] - 1) > 0:
            self._counts[address] = left
        else:
            del self._counts[address]

    def has(self, address: tuple[str, str]) -> bool:
        """Return whether a request of this address is under way. Any thread may call it."""
        return address in self._counts
