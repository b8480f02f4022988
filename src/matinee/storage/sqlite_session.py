"""What every connection to the SQLite file relies on, stated once, and the bound of its write-ahead log.

A build of SQLite may have other defaults than the usual ones, and a file may hold another program's schema. Called by
settings.py for the writer and the admin, and by sqlite.py for readers.
"""

from __future__ import annotations

import sqlite3

LOG_BYTES = 64 * 2**20  # 10 s of an import; a reader that stalls keeps more in the log for as long as it stalls

# Django states foreign_keys itself, and its own functions in our schema need a trusted one.
_BOTH = "PRAGMA case_sensitive_like=OFF; PRAGMA recursive_triggers=OFF; PRAGMA mmap_size=0;"
READER = f"{_BOTH} PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;"
# NORMAL with a write-ahead log survives a killed process; FULL survives a power cut too, and an acknowledged write must be on
# disk. The log's file is cut to the limit when it begins anew.
WRITER = (
    f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536; PRAGMA journal_size_limit={LOG_BYTES}; "
    f"PRAGMA wal_autocheckpoint=1000; {_BOTH}"
)


def prepare_reader(connection: sqlite3.Connection) -> None:
    """State what a read-only connection relies on."""
    for statement in READER.split(";"):
        connection.execute(statement)
