"""A source that writes down what is sent through it, for `matinee sql explain`. Called by cli; it changes no statement."""

from __future__ import annotations

from typing import Any, NamedTuple

from matinee.domain.freshness import AsOf, Demand
from matinee.storage.source import Answered, Source
from matinee.storage.sql import Statement


class Sent(NamedTuple):
    """A statement that was sent, and how many rows came back."""

    statement: Statement
    rows: int


class RecordingSource:
    """Sends everything on to another source, and keeps a list of it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.engine, self.log, self.sent = source.engine, source.log, list[Sent]()

    @property
    def statements(self) -> int:
        """Return how many statements have been sent."""
        return self._source.statements

    async def turn(self, statement: Statement) -> None:
        """Wait as the other source says."""
        await self._source.turn(statement)

    async def rows(self, statement: Statement, demand: Demand) -> Answered:
        """Return all rows of a statement, and write it down."""
        answered = await self._source.rows(statement, demand)
        self.sent.append(Sent(statement, len(answered.rows)))
        return answered

    async def plan(self, statement: Statement) -> tuple[str, list[str]]:
        """Return where a statement is served, and the lines of its plan there."""
        return await self._source.plan(statement)

    async def latest_position(self) -> int:
        """Return the leader's position."""
        return await self._source.latest_position()

    def newest_position(self) -> int:
        """Return the newest known position."""
        return self._source.newest_position()

    def known(self) -> AsOf | None:
        """Return what the followed log reflects."""
        return self._source.known()

    def written(self) -> int:
        """Return the newest position that this process has written."""
        return self._source.written()

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most."""
        return self._source.staleness_s(position)

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy."""
        return self._source.status()

    def degradation(self) -> str | None:
        """Return what is missed right now."""
        return self._source.degradation()

    async def close(self) -> None:
        """Give all connections back."""
        await self._source.close()
