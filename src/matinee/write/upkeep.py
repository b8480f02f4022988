"""Look after the leader beside the writes: bound SQLite's log, and fold again what servers of an older version wrote.

Called by runtime, in the write path's thread. It changes no document and never raises.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError, InterfaceError, connection

from matinee.errors import LeaderUnavailable
from matinee.storage import leader_file, leader_link, refolding, sqlite_log
from matinee.storage.writer import Leader

_CHANGES = 100  # a batch holds the head of the log for 0.1 s
_leader = Leader()


def bound_log() -> None:
    """Empty the write-ahead log when it has grown; after the last write of an import no other write would."""
    with suppress(DatabaseError, LeaderUnavailable):
        if sqlite_log.is_above(connection):
            leader_file.follow(connection)
            connection.ensure_connection()
            sqlite_log.shrink_log(connection)


def refold() -> bool:
    """Fold a batch of what servers of an older version have changed; return whether there may be more."""
    try:
        leader_file.follow(connection)
        leader_link.require()
        with leader_link.within_deadline(connection):
            is_behind = refolding.behind() > 0
        if not is_behind:
            return False
        with _leader.transaction("upkeep") as work:
            return work.refold(_CHANGES)
    except (DatabaseError, InterfaceError, LeaderUnavailable):
        leader_link.drop(connection)
        return False


def finish() -> None:
    """Empty the write-ahead log and close the connection, if this thread has opened one."""
    with suppress(DatabaseError):
        if connection.connection is not None and connection.vendor == "sqlite":
            sqlite_log.shrink_log(connection, above_bytes=0)
            connection.close()
