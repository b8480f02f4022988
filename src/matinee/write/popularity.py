"""Write how much movies are asked for. Called by runtime for the counts of all processes, in the write path's thread.

Like the moment that a key was last used, it is no change of the catalogue: it takes no position and does not touch the log's
head.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import Error, connection, transaction

from matinee.errors import LeaderUnavailable
from matinee.storage import leader_file, leader_link, popularity


def add(counted: Sequence[tuple[int, int]], at_s: float) -> None:
    """Add accesses of a moment to the scores of movies. Not even tried while the leader is away. Raises: LeaderUnavailable."""
    leader_file.follow(connection)
    leader_link.require()
    try:
        with leader_link.within_deadline(connection), transaction.atomic():
            leader_link.limit(connection)
            popularity.add(counted, at_s)
        with leader_link.within_deadline(connection), transaction.atomic():
            leader_link.limit(connection)
            popularity.mend()
    except Error as error:
        leader_link.drop(connection)
        raise LeaderUnavailable("What movies are asked for cannot be written right now.", reason=f"{error}") from error
