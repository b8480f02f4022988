"""Look after the leader's connection beside the writes: bound SQLite's log, and leave it empty at the end.

Called by runtime, in the write path's thread. It changes nothing of the catalogue and never raises.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import DatabaseError, connection

from matinee.errors import LeaderUnavailable
from matinee.storage import leader_file, sqlite_log


def bound_log() -> None:
    """Empty the write-ahead log when it has grown; after the last write of an import no other write would."""
    with suppress(DatabaseError, LeaderUnavailable):
        if sqlite_log.is_above(connection):
            leader_file.follow(connection)
            connection.ensure_connection()
            sqlite_log.shrink_log(connection)


def finish() -> None:
    """Empty the write-ahead log and close the connection, if this thread has opened one."""
    with suppress(DatabaseError):
        if connection.connection is not None and connection.vendor == "sqlite":
            sqlite_log.shrink_log(connection, above_bytes=0)
            connection.close()
