"""The connection to the leader: how long it is waited for, and what is left of it when it failed. SQLite needs none of this.

Called by the writer around each transaction, and by the admin around each request.
A leader that is frozen accepts and never answers, and no time-out of the server or the kernel ends the wait. Shutting the
socket down from another thread does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from matinee.errors import LeaderUnavailable
from matinee.storage.leader_state import due_s, leader
from matinee.storage.postgres import cut, has_ended
from matinee.storage.postgres_session import of_a_transaction

# What Django raises for a leader that is gone, was cut off, or has become a follower (25006, an InternalError).
LOST = (OperationalError, InterfaceError, InternalError)

# The position that the last write of this request or thread was committed at.
last_written: ContextVar[int] = ContextVar("last_written", default=0)


def require() -> None:
    """Refuse at once while the leader is known to be away. Raises: LeaderUnavailable."""
    if leader.away:
        raise LeaderUnavailable("The leader is away: the catalogue is read-only for now; try again.", reason=leader.away)


def note_written(position: int) -> None:
    """Note the position of a write that was committed: its own process is not to show what was before it."""
    last_written.set(position)
    leader.wrote(position)


@dataclass
class Wait:
    """One wait for the leader: whether it was ended from this side."""

    was_cut: bool = False


@contextmanager
def within_deadline(connection: BaseDatabaseWrapper) -> Iterator[Wait]:
    """Cut the connection when the leader is found to be away, or after MATINEE_WRITE_TIMEOUT_MS, time in line included.

    Raises: LeaderUnavailable when all the time was spent in line.
    """
    wait = Wait()
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield wait
        return
    left_s = settings.WRITE_TIMEOUT_S if (at_s := due_s.get()) is None else at_s - time.monotonic()
    if left_s <= 0:
        raise LeaderUnavailable("The leader takes too long for the writes before this one; nothing was written, try again.")
    end_wait = partial(_cut, connection, wait)
    timer = threading.Timer(left_s, end_wait)
    timer.daemon = True
    timer.start()
    leader.waits(end_wait)
    try:
        yield wait
    finally:
        leader.waits_no_longer(end_wait)
        timer.cancel()


def limit(connection: BaseDatabaseWrapper) -> None:
    """Give a transaction that has begun its limits, and what it relies on, where its session has none: behind PgBouncer.

    A cut ends the wait on this side only. On the other one, each write that was given up would leave a session that waits
    for the lock, and a process that froze would keep the lock for ever.
    """
    if connection.vendor == "postgresql" and settings.BEHIND_PGBOUNCER:
        with connection.cursor() as cursor:
            cursor.execute(*of_a_transaction(dict.fromkeys(settings.WRITE_LIMITS, f"{settings.WRITE_TIMEOUT_S:g}s")))


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that failed, so that the next write opens another: perhaps to another leader."""
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        with suppress(*LOST):
            connection.close()


def is_lost(connection: BaseDatabaseWrapper, link: Any) -> bool:
    """Return whether a link to PostgreSQL has ended, by either side; Django may have opened another one already."""
    return link is not None and connection.vendor == "postgresql" and (connection.connection is not link or has_ended(link))


def _cut(connection: BaseDatabaseWrapper, wait: Wait) -> None:
    wait.was_cut = True
    link = connection.connection
    if link is None:
        return  # it is still being opened, which has a time-out of its own
    cut(link)
