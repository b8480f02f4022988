"""Purge by hand what the caches keep, of one movie or of everything. Called by the command line.

Nobody is told and no document is touched: a purge is a row in the log of changes, with a position like every other. Whoever
follows the log no longer believes what was read before that row (domain/change_log.py): the processes of all servers, whatever
they share, and whoever purges a CDN. To purge again is one more row, and as good as once.
"""

from __future__ import annotations

from typing import NamedTuple

from matinee.domain.change_log import PURGE
from matinee.domain.ids import ExternalId, MovieRef
from matinee.errors import NotFound
from matinee.storage.writer import Leader, Transaction

_EVERYTHING = 0  # no movie's id
_NO_VERSION = 0  # a purge makes no new version of anything

_leader = Leader()


class Purged(NamedTuple):
    """The position of a purge, and the id of the movie it was of; 0 for everything."""

    position: int
    movie_id: int


def purge(ref: MovieRef | None, actor: str) -> Purged:
    """Have everybody drop what is kept of a movie, or of everything. One that was deleted or merged may be purged too.

    Raises: NotFound for a movie that there never was, LeaderUnavailable.
    """
    with _leader.transaction(actor) as work:
        movie_id = _EVERYTHING if ref is None else _id_of(work, ref)
        position = work.note(PURGE, movie_id, "purged", _NO_VERSION, {})
    return Purged(position, movie_id)


def _id_of(work: Transaction, ref: MovieRef) -> int:
    movie_id = work.owners([ref]).get(ref, 0) if isinstance(ref, ExternalId) else ref
    if not work.load([movie_id]) and not work.tombstones([movie_id]):
        raise NotFound(f"There is no movie {ref}, and nothing is purged.")
    return movie_id
