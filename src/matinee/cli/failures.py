"""Any exception as one sentence that says what is wrong and what to do; its traceback goes to a file of the log folder.

Called by main.py alone, for what no command has turned into an OperatorError. Messages of drivers may hold URLs with passwords:
everything passes `without_password`. Nothing here may raise.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import traceback
from contextlib import suppress
from pathlib import Path

from matinee import config as configuration
from matinee.config import without_password
from matinee.errors import MatineeError

_MOST_LOG_BYTES = 1024 * 1024
_MOST_REASON = 200
# What a database's message holds, and what to do. The first that fits counts.
_DATABASE_REMEDIES: tuple[tuple[str, str], ...] = (
    (r"password authentication failed|no password supplied", "Check the user and the password in DATABASE_URL."),
    (r"pg_hba\.conf", "Let this host and user in (pg_hba.conf), or check DATABASE_URL."),
    (r"database \"[^\"]*\" does not exist", "Make it (`createdb`), or check DATABASE_URL."),
    (r"role \"[^\"]*\" does not exist", "Check the user in DATABASE_URL; `matinee migrate` makes our own roles."),
    (r"too many (clients|connections)|remaining connection slots", "Lower WEB_CONCURRENCY, or raise max_connections."),
    (r"(idle-in-transaction|lock|statement) timeout", "It took too long: try again later, or raise MATINEE_WRITE_TIMEOUT_MS."),
    (r"permission denied", "Give DATABASE_URL the role matinee_writer, or the owner of the tables."),
    (r"read-only transaction|in recovery|read.?only database", "It cannot be written to; let DATABASE_URL name the leader."),
    (
        r"refused|translate host|timeout|timed out|could not connect|unreachable|server closed",
        "Check DATABASE_URL, and that the server runs.",
    ),
    (r"malformed|not a database|corrupt", "It is damaged: go back to a backup with `matinee restore`."),
    (r"unable to open|disk I/O error", "Check MATINEE_HOME or DATABASE_URL, and that this user may read and write there."),
    (r"full|No space left", "Make room on its disk."),
    (r"locked", "Another program writes to it; try again when it has ended."),
    (r"no such (table|column)|does not exist|undefined", "Bring the schema up to date with `matinee migrate`."),
    (r"", "`matinee doctor` looks at it."),
)
_SYSTEM_REMEDIES = {
    errno.ENOSPC: "Make room on the disk.",
    errno.EDQUOT: "Make room: the quota is used up.",
    errno.EACCES: "Give this user the right to use it, or name another.",
    errno.EPERM: "Give this user the right to use it, or name another.",
    errno.EROFS: "It lies on a disk that is read-only; name another.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n`), then try again.",
    errno.ENFILE: "End other programs: the system has too many files open.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path.",
    errno.EISDIR: "Name a file, not a folder.",
    errno.ENOMEM: "Free memory, then try again.",
    errno.EAGAIN: "The system starts no more processes or threads (`ulimit -u`); end some, then try again.",
}

_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (MemoryError, "There is not enough memory for this; free some, or give the container more."),
    (ImportError, "This installation is incomplete ({reason}); install Matinee again."),
    (UnicodeError, "A text cannot be read or written in its encoding ({reason}); use UTF-8."),
    (EOFError, "The input ended too early; give a whole file."),
)
_UNKNOWN = "This is a fault of Matinee: {kind}: {reason}."


def sentence(error: BaseException) -> str:
    """Return what is wrong and what to do."""
    if isinstance(error, MatineeError):
        return error.for_operators
    reason = _reason(error)
    if _is_of_a_database(error):
        remedy = next(remedy for pattern, remedy in _DATABASE_REMEDIES if re.search(pattern, reason, re.IGNORECASE))
        return f"The database cannot be used ({reason}). {remedy}"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        remedy = _SYSTEM_REMEDIES.get(error.errno or 0, "`matinee doctor` looks at everything that is needed.")
        return without_password(f"{name}{error.strerror or reason}. {remedy}")
    told = next((text for kind, text in _KINDS if isinstance(error, kind)), _UNKNOWN)
    return told.format(reason=reason, kind=type(error).__name__)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return without_password(text)[:_MOST_REASON].rstrip(".")


def _is_of_a_database(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return True
    return type(error).__module__.startswith(("psycopg", "django.db.utils"))


def keep_details(error: BaseException) -> Path | None:
    """Append the traceback to a file in the log folder and return its path; None when that is not possible."""
    lines = without_password("".join(traceback.format_exception(error)))
    with suppress(OSError, MatineeError, ValueError):
        home = configuration.home_of(os.environ)
        if not home.is_dir():
            return None
        path = home / "logs" / "errors.log"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.exists() and path.stat().st_size > _MOST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", errors="backslashreplace") as file:
            file.write(lines)
        return path
    return None


def where(error: BaseException) -> str:
    """Return the innermost line of ours that the exception came through, for when no details can be kept."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "matinee" in frame.filename]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside Matinee"
