"""What a driver of the shared tier is: connections that take a whole tick's questions in one round trip.

Implemented by redis.py and memcached.py; called by remote.py, which alone knows of deadlines, waiters and health.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class LinkFailed(Exception):
    """The server could not be asked; its words, or ours, as the end of a sentence."""


class LinkSilent(LinkFailed):
    """The server has not answered in time: it may be frozen, or only have too much to do."""


class Lease(NamedTuple):
    """A lease that is asked for."""

    key: str
    ttl_ms: int


class Entry(NamedTuple):
    """A value that is to be kept."""

    value: bytes
    ttl_s: int


class Found(NamedTuple):
    """What one round trip has found: a value for each key, and for each lease whether it was given."""

    values: Sequence[bytes | None]
    leases: Sequence[bool]


class Link(Protocol):
    """One connection, opened when it is first used. It has one question on its way at a time.

    Whatever ends a question early, a cancellation too, drops the connection: a late answer would be taken for the next one's.
    """

    async def read(self, keys: Sequence[str], leases: Sequence[Lease]) -> Found:
        """Return the values of keys and who gets which lease, in one round trip. Raises: LinkFailed."""
        ...

    async def write(self, writes: Mapping[str, Entry | None]) -> str | None:
        """Keep values, and forget those that are None, in one round trip; return why some were refused, or None.

        Raises: LinkFailed.
        """
        ...

    async def close(self) -> None:
        """Drop the connection; the next question opens another."""
        ...


@dataclass(frozen=True)
class Driver:
    """One server of the shared tier, as its driver knows it."""

    name: str
    setting: str  # the variable that names it
    address: str  # as people may read it, without a password
    link: Callable[[], Link]
    fits: Callable[[str], bool]  # whether it takes such a key
    most_value_bytes: int


def one_line(error: BaseException) -> str:
    """Return a server's or the system's words as they fit into a sentence."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
