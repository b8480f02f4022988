"""The protocol of a source: what sends a named statement to an engine and returns rows. Engines differ here, readers do not.

SQLite's file is sqlite.py, one PostgreSQL server postgres.py, many of them behind one face followers.py. Called by
sql_reader.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from matinee.domain.change_log import ChangeLog
from matinee.domain.freshness import AsOf, Demand
from matinee.storage.sql import Engine, Statement


class Answered(NamedTuple):
    """The rows of one statement, and what they reflect: both from one snapshot."""

    rows: list[Any]
    as_of: AsOf


class Source(Protocol):
    """Where statements are sent. `log` is the log of changes as it was followed on the copies that are read from."""

    engine: Engine
    log: ChangeLog

    @property
    def statements(self) -> int:
        """Return how many statements have been sent."""

    async def turn(self, statement: Statement) -> None:
        """Return when the next request may begin to read; what has begun is not held up again. Raises: NoReaderAvailable."""

    async def rows(self, statement: Statement, demand: Demand) -> Answered:
        """Return all rows of a statement, from a copy that is as fresh as demanded.

        Raises: NoReaderAvailable, FuturePosition.
        """

    async def latest_position(self) -> int:
        """Return the leader's position, asked now; the newest known one when the leader does not answer."""

    def newest_position(self) -> int:
        """Return the newest position that some copy is known to have reached; asks nobody over a network."""

    def known(self) -> AsOf | None:
        """Return what the followed log reflects now; None when no copy has been heard of lately, or it is not begun.

        Cost: no wait. A file is looked at for a microsecond, servers are followed beside the requests.
        """

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most, if it has changed at all."""

    async def plan(self, statement: Statement) -> tuple[str, list[str]]:
        """Return where a statement is served, and the lines of its plan there; for the command line."""

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy, as /readyz shows it; empty for one that is a file."""

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""

    async def close(self) -> None:
        """Give all connections back."""
