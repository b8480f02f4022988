"""What this process has seen of the log of changes: which movie changed last, and at which position. No I/O.

Invariant: a value that was read at a position is believed only while the log, as far as it was followed, holds no change of
that movie after it. So nothing that is kept anywhere has to be told of a change, and no message can be lost.
Appended to by the sources of storage, which follow the log on the copies that they read from; asked by the caches.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

PURGE = "cache"  # the subject of a purge by hand: of one movie, or of everything when its id is 0
MOST_CHANGES = 50_000  # of which the position is kept: 6 MB at most
FLOOD_CHANGES = 2_000  # in one step: an import. Every value is forgotten at once instead of being walked to
_KEPT_STEPS = 1_024  # at ten a second a minute and a half, longer than any page may be served under a stream of changes

Belief = Literal["fresh", "doubtful", "no"]


class LogRow(NamedTuple):
    """One change as the caches need it; `at` is the text of its moment, which tells two histories apart."""

    position: int
    subject: str
    subject_id: int
    at: str


class ChangeLog:
    """The log of changes as far as this process has followed it.

    `position` is how far that is. Stamps below `floor` are not believed: what changed up to there is not known.
    `histories` counts how often it had to begin anew, because it was another log, or too much at once; 0 is not begun.
    """

    def __init__(self) -> None:
        self.position = self.floor = self.histories = 0
        self._changed: dict[int, int] = {}  # oldest change first
        self._forgotten = 0  # up to here nothing is known for good
        self._newest_of_pages = 0
        self._step_ends: list[int] = []
        self._step_moments_s: list[float] = []
        self._steps_from = 0  # of pages from before, the moment of their first change is not known
        self._positions, self._marks = array("q"), array("I")

    @property
    def oldest(self) -> int:
        """Return the oldest position whose row is known; everything from it on is."""
        return self._positions[0] if self._positions else self.position + 1

    def begin(self, newest: LogRow | None) -> None:
        """Begin anew at the newest row of a log, None when it is empty: nothing that was kept before is believed."""
        self.histories += 1
        self._changed.clear()
        for kept in (self._step_ends, self._step_moments_s, self._positions, self._marks):
            del kept[:]
        self._forgotten = 0
        self.position = self.floor = self._newest_of_pages = self._steps_from = newest.position if newest else 0
        if newest is not None:
            self._note(newest)
            self._apply(newest)  # it is judged by too, as soon as what came before it is known

    def continues(self, rows: Sequence[LogRow]) -> bool:
        """Return whether these rows, the first of which is known already, are of the log that was followed."""
        return self.position == 0 or (bool(rows) and self.mark_of(rows[0].position) == mark(rows[0].at))

    def must_begin(self, rows: Sequence[LogRow]) -> bool:
        """Return whether these rows, from a known one on, cannot be appended: another history, or too many at once."""
        return not self.histories or not self.continues(rows) or len(rows) > FLOOD_CHANGES

    def append(self, rows: Sequence[LogRow], now_s: float) -> None:
        """Note the next rows, in their order; those that are known already are passed over."""
        before = self._newest_of_pages
        for row in rows:
            if row.position > self.position:
                self._note(row)
                self._apply(row)
        if self._newest_of_pages > before:
            self._step_ends.append(self._newest_of_pages)
            self._step_moments_s.append(now_s)
        self._forget_oldest()

    def prepend(self, rows: Sequence[LogRow]) -> None:
        """Note the rows before `oldest`, in their order, so that older stamps can be judged too."""
        rows = [row for row in rows if row.position < self.oldest]
        if not rows:
            return
        self._positions = array("q", [row.position for row in rows]) + self._positions
        self._marks = array("I", [mark(row.at) for row in rows]) + self._marks
        purges = [row.position for row in rows if row.subject == PURGE and not row.subject_id]
        self._forgotten = max([self._forgotten, *purges])
        self.floor = max(self._forgotten, rows[0].position)
        # Of a movie that was forgotten only the floor is known: an older change of it is not its last one.
        movies = (row for row in rows if row.subject in ("movie", PURGE) and row.subject_id and row.position > self._forgotten)
        older = {row.subject_id: row.position for row in movies if row.subject_id not in self._changed}
        self._changed = older | self._changed

    def mark_of(self, position: int) -> int | None:
        """Return what tells this position from the same one in another history; None when it is not known."""
        index = bisect_left(self._positions, position)
        is_known = index < len(self._positions) and self._positions[index] == position
        return self._marks[index] if is_known else None

    def believes(self, movie_id: int, stamp: int) -> bool:
        """Return whether a movie that was read at a position is unchanged as far as the log has been followed."""
        return stamp >= self._changed.get(movie_id, self.floor)

    def is_newest(self, stamp: int) -> bool:
        """Return whether no change that a page can show came after a position, as far as the log has been followed."""
        return stamp >= self._newest_of_pages

    def believes_page(self, stamp: int, now_s: float, grace_s: float) -> Belief:
        """Return whether a page that was read at a position is as it was, may be served while it is read anew, or neither."""
        if self.is_newest(stamp):
            return "fresh"
        if stamp < self.floor or stamp < self._steps_from:
            return "no"
        # The first step that ends behind the stamp brought the first change that the page may lack.
        changed_s = self._step_moments_s[bisect_right(self._step_ends, stamp)]
        return "doubtful" if now_s - changed_s <= grace_s else "no"

    def _note(self, row: LogRow) -> None:
        self._positions.append(row.position)
        self._marks.append(mark(row.at))

    def _apply(self, row: LogRow) -> None:
        self.position = row.position
        if row.subject == "key":
            return
        self._newest_of_pages = row.position
        if row.subject == PURGE and not row.subject_id:
            self._changed.clear()
            self.floor = self._forgotten = row.position
        elif row.subject in ("movie", PURGE):
            self._changed.pop(row.subject_id, None)  # put in anew, so that the oldest stay first
            self._changed[row.subject_id] = row.position

    def _forget_oldest(self) -> None:
        while len(self._changed) > MOST_CHANGES:
            self._forgotten = max(self._forgotten, self._changed.pop(next(iter(self._changed))))
            self.floor = max(self.floor, self._forgotten)
        if len(self._positions) > 2 * MOST_CHANGES:
            del self._positions[:MOST_CHANGES], self._marks[:MOST_CHANGES]
        if len(self._step_ends) > 2 * _KEPT_STEPS:
            self._steps_from = self._step_ends[_KEPT_STEPS - 1]
            del self._step_ends[:_KEPT_STEPS], self._step_moments_s[:_KEPT_STEPS]


def mark(at: str) -> int:
    """Return four bytes of a moment: enough to tell apart two histories that gave out the same position."""
    return zlib.crc32(at.encode())
