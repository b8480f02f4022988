"""The leader's SQLite file: whether the one that is open is still the one at its path.

Called by the writer before each transaction, and when it has its lock.
A restore puts another file in its place. A connection that was opened before goes on writing to the old one, which nobody reads
any more: an acknowledged write would be lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from matinee.errors import LeaderUnavailable

_KEY = "matinee_open_file"


def follow(connection: BaseDatabaseWrapper) -> None:
    """Close the connection when its file has been replaced; the next statement opens the new one.

    Raises: LeaderUnavailable when there is no file, which must not be made anew as an empty one.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        return
    try:
        identity = _identity(connection)
    except OSError as error:
        connection.close()
        raise LeaderUnavailable("The catalogue's file is not there; put it back.", reason=f"{error}") from error
    # A command that has opened it before this module was there has looked at the file a moment ago.
    if vars(connection).setdefault(_KEY, identity) != identity:
        connection.close()


def require_unmoved(connection: BaseDatabaseWrapper) -> None:
    """Refuse a transaction that has waited for its lock while its file was replaced. Raises: LeaderUnavailable."""
    if connection.vendor == "sqlite" and _identity_or_none(connection) != vars(connection).get(_KEY):
        raise LeaderUnavailable("The catalogue was replaced while this write waited; try again.")


def _identity_or_none(connection: BaseDatabaseWrapper) -> tuple[int, int] | None:
    try:
        return _identity(connection)
    except OSError:
        return None


def _remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "sqlite":
        vars(connection)[_KEY] = _identity(connection)


def _identity(connection: BaseDatabaseWrapper) -> tuple[int, int]:
    found = Path(connection.settings_dict["NAME"]).stat()
    return found.st_dev, found.st_ino


connection_created.connect(_remember)
