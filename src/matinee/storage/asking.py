"""The client that a read is for, as the readers know it. Made by http, handed through read to storage."""

from __future__ import annotations


class Asking:
    """A client's name in the queue for expensive reads, and how many of those it has caused; http charges them to its limit."""

    __slots__ = ("client", "expensive")

    def __init__(self, client: str) -> None:
        self.client, self.expensive = client, 0
