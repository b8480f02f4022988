"""How much a movie is asked for lately: counts that lose weight with time, as numbers that stay in order for ever. No I/O.

A count is worth half as much after each half-life. Instead of making all old counts smaller again and again, each new one is
made larger by the moment that it comes at. A score is the logarithm of their sum, to the base 2: so it grows by one in a
half-life, and nothing ever overflows or has to be counted anew. Two scores compare as their movies do, at whatever moment.
Called by cache, storage and the tests; what is kept of scores, and where, is theirs to know.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

Window = Literal["day", "week"]
WINDOWS: tuple[Window, ...] = get_args(Window)
HALF_LIVES_S: dict[Window, int] = {"day": 6 * 3600, "week": 3 * 24 * 3600}
MOST_BITS = 40.0  # of a worth: a million million accesses; a larger score is of a clock that was ahead, or damaged
RESET_BITS = 1.0  # what such a score becomes: two accesses of now
FUTURE_S = 600  # so far ahead a clock may be; beyond, what it wrote is brought back to the present


def score(count: float, now_s: float, window: Window) -> float:
    """Return the score of so many accesses at a moment, in seconds since 1970."""
    return now_s / HALF_LIVES_S[window] + math.log2(count)


def joined(one: float, other: float) -> float:
    """Return the score of two counts together."""
    high, low = max(one, other), min(one, other)
    return high + math.log1p(2.0 ** (low - high)) / math.log(2)


def worth(of_score: float, now_s: float, window: Window) -> float:
    """Return how many accesses of this moment a score is worth."""
    return float(2.0 ** min(of_score - now_s / HALF_LIVES_S[window], MOST_BITS))


def mended(of_score: float, at_s: float, now_s: float, window: Window) -> float:
    """Return a score that was last added to at a moment as it would be if no clock had been ahead.

    A moment in the future makes a score larger by one for each half-life, so taking these away is exact. Where the moment is
    not known (0), or the score is no number, only what is too large to be true is set back.
    """
    half_life_s = HALF_LIVES_S[window]
    moved = of_score - (at_s - now_s) / half_life_s if at_s > now_s + FUTURE_S else of_score
    return moved if moved <= now_s / half_life_s + MOST_BITS else now_s / half_life_s + RESET_BITS
