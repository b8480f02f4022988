"""Whether the leader is away, as far as this process knows. Set by the watch over the servers; asked before a write begins.

It lets a write fail at once instead of after a time-out, and pages say that the catalogue is read-only. On SQLite nobody
sets it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LeaderState:
    """`away` is why the leader cannot be written to, None while it can."""

    away: str | None = None


leader = LeaderState()
