"""How far behind the leader a position is, in seconds: from samples of the leader's position. No clock but this process's own.

Called by followers.py and watch.py. A sample says that at a moment the leader had reached a position. Whoever has reached that
position too is at most as old as the newest such sample; nothing else is needed, no heartbeat row, no clock of a server.
"""

from __future__ import annotations

from bisect import bisect_right

_KEPT_SAMPLES = 6_000  # at one change in each sample, ten minutes of them
_LONG_AGO_S = 1.0  # without an answer of the leader for so long, staleness is a guess from below


class LeaderSamples:
    """The positions that the leader is known to have reached, each with the last moment at which it was the newest."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._moments_s: list[float] = []
        self._began_s: float | None = None

    @property
    def newest(self) -> int:
        """Return the newest sampled position, 0 before the first sample."""
        return self._positions[-1] if self._positions else 0

    def add(self, position: int, asked_s: float) -> None:
        """Note what the leader answered to a question that was sent at a moment."""
        if self._began_s is None:
            self._began_s = asked_s
        if self._positions and position < self._positions[-1]:
            # Another leader that lacks the last commits of the one before: what was known says nothing about it.
            self._positions.clear()
            self._moments_s.clear()
        if self._positions and position == self._positions[-1]:
            self._moments_s[-1] = asked_s
        else:
            self._positions.append(position)
            self._moments_s.append(asked_s)
            del self._positions[:-_KEPT_SAMPLES], self._moments_s[:-_KEPT_SAMPLES]

    def staleness_s(self, position: int, now_s: float) -> float:
        """Return how old a copy that has reached this position is at most."""
        index = bisect_right(self._positions, position) - 1
        since_s = self._moments_s[index] if index >= 0 else self._began_s
        return max(0.0, now_s - since_s) if since_s is not None else 0.0

    def is_verified(self, position: int, now_s: float) -> bool:
        """Return whether that number is sound: the leader has answered lately, and the samples reach back far enough."""
        if not self._positions or now_s - self._moments_s[-1] > _LONG_AGO_S:
            return False
        return position >= self._positions[0]
