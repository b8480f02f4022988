"""Bound the memory of all request bodies that are still arriving. Called by the front for each piece of a body.

A body is in memory until it is complete, and slow ones would add up: a thousand connections with a megabyte each. Beyond the
bound the client whose bodies take the most memory loses its largest one, with 408, so a client with one upload pays for no
flood of others. Pieces that are read and dropped are not counted.
"""

from __future__ import annotations

from typing import Protocol

_LEAST_BYTES = 64 * 1024 * 1024


class Arriving(Protocol):
    """A request whose body is not complete."""

    @property
    def client(self) -> str:
        """Return the client that bodies are counted by."""

    def end_body(self) -> None:
        """Stop waiting for the rest."""


class Bodies:
    """The bodies that are arriving, by client."""

    __slots__ = ("_of_client", "_totals", "most_bytes", "total_bytes")

    def __init__(self, max_body_bytes: int) -> None:
        self.most_bytes = max(_LEAST_BYTES, 2 * max_body_bytes)
        self._of_client: dict[str, dict[Arriving, int]] = {}
        self._totals: dict[str, int] = {}
        self.total_bytes = 0

    def add(self, request: Arriving, count: int) -> None:
        """Count a piece of a body; end others when all are too much together."""
        bodies = self._of_client.setdefault(request.client, {})
        bodies[request] = bodies.get(request, 0) + count
        self._totals[request.client] = self._totals.get(request.client, 0) + count
        self.total_bytes += count
        while self.total_bytes > self.most_bytes:
            client = max(self._totals, key=self._totals.__getitem__)
            largest = max(self._of_client[client], key=self._of_client[client].__getitem__)
            self.remove(largest)
            largest.end_body()

    def remove(self, request: Arriving) -> None:
        """Forget a body: it is complete, or its request has ended."""
        if not self._of_client:
            return  # every request ends here, and hardly any has a body of several pieces
        client = request.client
        bodies = self._of_client.get(client, {})
        count = bodies.pop(request, 0)
        self.total_bytes -= count
        if not bodies:
            self._of_client.pop(client, None)
            self._totals.pop(client, None)
        else:
            self._totals[client] -= count
