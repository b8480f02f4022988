"""How fresh an answer must be, and how fresh it is: positions in the log of changes, and seconds behind the leader.

Called by http, which reads the one from a request and tells the other, by read, and by storage, which keeps the promise.
"""

from __future__ import annotations

from typing import NamedTuple


class Demand(NamedTuple):
    """What a request asks of the copy that answers it: to have reached a position, to be at most so many seconds behind.

    `is_forgiving` lets a position count for nothing that no copy can ever reach, such as one of a catalogue that was since
    replaced: a browser's cookie or an ETag is no promise of ours. `preferred_position` binds nobody: among copies that will
    do, one that has reached it is asked, because what it answers can be kept.
    """

    min_position: int = 0
    max_staleness_s: float | None = None
    is_forgiving: bool = False
    preferred_position: int = 0


class AsOf(NamedTuple):
    """What an answer reflects: the copy's position when it was read, and how far behind the leader it may have been.

    `is_verified` is false when the leader could not be asked lately; then `staleness_s` counts from when it last could.
    """

    position: int = 0
    staleness_s: float = 0.0
    is_verified: bool = True

    def joined(self, other: AsOf) -> AsOf:
        """Return what an answer made of two reads reflects: nothing newer than the one, nothing older than the other."""
        return AsOf(
            max(self.position, other.position),
            max(self.staleness_s, other.staleness_s),
            self.is_verified and other.is_verified,
        )


ANY = Demand()
