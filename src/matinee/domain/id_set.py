"""A set of movie ids in little memory: a bit for each, in pages. Called by an export, which must not write a movie twice.

Ids are given out one after another, so 25 million of them take 3 MB, where a set of Python's takes 2 GB.
"""

from __future__ import annotations

_PAGE_BITS = 13  # 8,192 ids in a page of 1 KiB


class IdSet:
    """Movie ids."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, movie_id: int) -> bool:
        """Add an id; return whether it was not in the set."""
        page = self._pages.get(movie_id >> _PAGE_BITS)
        if page is None:
            page = self._pages[movie_id >> _PAGE_BITS] = bytearray(1 << (_PAGE_BITS - 3))
        place, bit = (movie_id & ((1 << _PAGE_BITS) - 1)) >> 3, 1 << (movie_id & 7)
        is_new = not page[place] & bit
        page[place] |= bit
        return is_new
