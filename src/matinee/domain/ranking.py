"""Sort keys: the numbers and texts that lists are ordered by, and the one number that search is ordered by.

Called by storage when documents are rebuilt. Unknown numbers are `UNKNOWN`, which is below every known one: SQL's null would
make a row comparison null, and a page would lose the movie.
"""

from __future__ import annotations

import struct

from matinee.domain.text import fold, identity

UNKNOWN = -1
RATING_SCALE = 1000
_LOW_32_BITS = 0xFFFFFFFF


def title_key(title: str) -> str:
    """Return the key that titles are ordered by; a title of symbols alone sorts by itself.

    It is no identity: different titles share it. Titles and names of one identity always share it, so it finds candidates.
    """
    return fold(title)[:200] or identity(title)[:200]


def name_key(name: str) -> str:
    """Return the key that people are looked up and ordered by; as `title_key`, several names share it."""
    return fold(name)[:300] or identity(name)[:300]


def rating_key(average: float | None) -> int:
    """Return a rating as a whole number of thousandths."""
    return UNKNOWN if average is None else round(average * RATING_SCALE)


def number_key(number: int | None) -> int:
    """Return a count or a year as it is, `UNKNOWN` for null."""
    return UNKNOWN if number is None else number


def popularity_key(popularity: float | None) -> float:
    """Return a popularity as it is, `UNKNOWN` for null."""
    return float(UNKNOWN) if popularity is None else popularity


def search_rank(popularity: float | None, movie_id: int) -> int:
    """Return the row number of a movie in the search index: the more popular, the smaller; newer first among equals.

    A full-text index gives its matches in order of row number. So a search that wants the twenty most popular matches
    stops after twenty, however common its words are, and the last row number is the keyset of the next page. The upper 31
    bits are the popularity (a float's bit pattern rises with a float that is not negative), the lower 32 the id.
    """
    bits = int.from_bytes(struct.pack(">f", popularity or 0.0), "big")
    return ((0x7FFFFFFF - bits) << 32) | (_LOW_32_BITS - movie_id)


def movie_id_of(rank: int) -> int:
    """Return the movie's id from its search rank."""
    return _LOW_32_BITS - (rank & _LOW_32_BITS)
