"""Which movies to load before anybody asks for them, and how the shared tier gets them.

Called by the command line, which warms the shared tier, and by http/warming.py, which has a server keep ready answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matinee.cache.popularity import Counts
from matinee.domain.popularity import Window
from matinee.read.catalogue import Catalogue

WINDOW: Window = "week"  # a day's favourites are among them, and after a quiet night there is still something to load
_BATCH_MOVIES = 250  # of one question to the shared tier, and of one statement


async def most_asked_for(counts: Counts, most: int) -> list[int]:
    """Return the movies to load, the most asked-for first."""
    return [movie_id for movie_id, _ in await counts.top(WINDOW, most)]


def batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the ids in the portions that they are loaded in."""
    for begin in range(0, len(ids), _BATCH_MOVIES):
        yield ids[begin : begin + _BATCH_MOVIES]


async def warm_shared(catalogue: Catalogue, counts: Counts, most: int) -> int:
    """Load the movies that are asked for most into the shared tier; return how many it holds then, 0 when there is none.

    Raises: NoReaderAvailable.
    """
    await catalogue.prepare()
    return sum([await catalogue.share(some) for some in batches(await most_asked_for(counts, most))])
