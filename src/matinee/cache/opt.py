"""OPT: the most hits that any policy could have had, knowing the future (Belady 1966; what comes only once passes by).

Called by simulation.py. Between two requests for one key lies a stretch; if the key is held throughout, the second request is a
hit. No more stretches may overlap than there are places, and dropping the one that ends last, whenever there are too many,
loses the fewest.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from heapq import heapify, heappush, heappushpop


def next_requests(keys: Sequence[int]) -> array[int]:
    """Return for each request where the next one for the same key stands; 0 where there is none."""
    following = array("q", bytes(8 * len(keys)))
    seen: dict[int, int] = {}
    for position in range(len(keys) - 1, -1, -1):
        key = keys[position]
        following[position] = seen.get(key, 0)
        seen[key] = position
    return following


def count_hits(following: Sequence[int], places: int, first: int = 0) -> int:
    """Return how many requests from `first` on would be hits with so many places."""
    is_hit = bytearray(len(following))
    ends: list[int] = []  # a heap of ends of stretches, negative, so that the last one is on top
    free = places
    for position, end in enumerate(following):
        free += is_hit[position]
        if not end:
            continue
        is_hit[end] = 1
        if free:
            free -= 1
            heappush(ends, -end)
        else:
            is_hit[-heappushpop(ends, -end)] = 0
        if len(ends) > 4 * places + 1000:  # stretches that are over lie at the bottom and only cost memory
            ends = [end for end in ends if -end > position]
            heapify(ends)
    return is_hit.count(1, first)
