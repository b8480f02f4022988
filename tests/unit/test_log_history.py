"""The log of changes is read backwards without a gap, so that what others have shared before is judged by all that changed."""

from __future__ import annotations

import asyncio
from typing import Any

from matinee.cache.sealed import Seals
from matinee.cache.shared import MemoryTier
from matinee.domain.change_log import ChangeLog, LogRow
from matinee.domain.freshness import Demand
from matinee.errors import NoReaderAvailable
from matinee.read.loading import Loads

NEWEST = 10
ROWS = [LogRow(position, "movie", position, f"moment {position}") for position in range(1, NEWEST + 1)]


class LaggingReader:
    """Reads from a follower that has replayed the log up to a position only, unless a demand makes it ask the leader."""

    def __init__(self, position: int = 5) -> None:
        self.log, self.is_away, self._position, self._demand = ChangeLog(), False, position, Demand()
        self.log.begin(ROWS[-1])

    def view(self, demand: Demand) -> LaggingReader:
        self._demand = demand
        return self

    async def log_before(self, position: int, limit: int) -> list[LogRow]:
        if self.is_away:
            raise NoReaderAvailable("No copy of the catalogue can be read right now.")
        reached = max(self._position, self._demand.min_position)
        return [row for row in ROWS if row.position < position and row.position <= reached][-limit:]


async def history_read(reader: Any) -> None:
    """Ask for a value, which has the history read, and wait for it."""
    loads = Loads(reader, MemoryTier(), Seals("a secret"))
    loads._open("m:1", None)
    await asyncio.gather(*loads._tasks)


def test_a_follower_that_lags_behind_leaves_no_gap_in_the_log() -> None:
    reader = LaggingReader()

    asyncio.run(history_read(reader))

    log = reader.log
    assert (log.oldest, log.floor) == (1, 1)
    assert [log.believes(movie, 5) for movie in (5, 6, 9, 10)] == [True, False, False, False]


def test_a_history_that_cannot_be_read_is_left_unknown() -> None:
    reader = LaggingReader()
    reader.is_away = True

    asyncio.run(history_read(reader))

    assert (reader.log.oldest, reader.log.believes(1, 5)) == (NEWEST, False)
