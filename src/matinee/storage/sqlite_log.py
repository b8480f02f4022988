"""Keep the file of SQLite's write-ahead log bounded. Called by the writer after its commits, and now and then by the server.

A read that takes long, such as a backup or another program's, keeps the log from being written into the catalogue, so it grows.
SQLite alone cuts the file only with a later write: after an import that was the last one, 345 MB stayed beside 119 MB.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from matinee.storage.sqlite_session import LOG_BYTES

_TRY_EVERY_S = 5.0
_WAIT_MS = 100  # for readers to end; other writers wait meanwhile
_next_try_s = 0.0


def shrink_log(connection: BaseDatabaseWrapper, above_bytes: int | None = None) -> None:
    """Write the log into the file and empty it when it has grown: a long read of another process has kept it from that.

    Called between transactions. It never fails: while a read still goes on, a later call does it.
    Cost: one look at a file's size; a tenth of a second every five while a long read goes on.
    """
    global _next_try_s  # noqa: PLW0603  one for each process is enough
    if connection.vendor != "sqlite" or connection.in_atomic_block or connection.connection is None:
        return
    if not is_above(connection, above_bytes):
        return
    if above_bytes is None and time.monotonic() < _next_try_s:
        return
    _next_try_s = time.monotonic() + _TRY_EVERY_S
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout={_WAIT_MS}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            cursor.execute(f"PRAGMA busy_timeout={round(connection.settings_dict['OPTIONS']['timeout'] * 1000)}")


def is_above(connection: BaseDatabaseWrapper, size_bytes: int | None = None) -> bool:
    """Return whether the log's file is larger than this, than LOG_BYTES if nothing is said."""
    bound_bytes = LOG_BYTES if size_bytes is None else size_bytes
    try:
        return Path(f"{connection.settings_dict['NAME']}-wal").stat().st_size > bound_bytes
    except OSError:
        return False
