"""The reader over any source that understands SQL: each question of the protocol as a named statement.

Called by the read room, as a Reader. It knows neither servers nor files: what a statement says differs by engine (queries/),
where it is sent is the source's to choose.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from matinee.domain.change_log import ChangeLog, LogRow
from matinee.domain.freshness import ANY, AsOf, Demand
from matinee.domain.id_set import IdSet
from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.popularity import Window
from matinee.domain.query import Filters, ListQuery, SearchQuery
from matinee.domain.representation import Representation, Tombstone
from matinee.errors import NoReaderAvailable
from matinee.storage.asking import Asking
from matinee.storage.page_sql import (
    FEW_ROWS,
    FacetDirectory,
    bound_sizes_statement,
    few_by_bounds,
    few_rows,
    ids_statement,
    list_statement,
    people_statement,
    search_statement,
    titles_statement,
)
from matinee.storage.read_metrics import STATEMENT_S
from matinee.storage.reader import CardRows, ChangeRow, GenreRow, KeyRow, PersonRow
from matinee.storage.source import Source
from matinee.storage.sql import Statement, named_queries

_EXPORT_ROWS = 100  # a batch: about a millisecond, and far within a read's deadline on a slow disk
_EXPORT_TRIES, _EXPORT_PAUSE_S = 10, 1.0
_LAG_INTERVAL_S = 0.1  # how often the facets are asked for while the copies lag behind what is known


@dataclass
class _Facets:
    """The facets as some copy had them at a position; shared by all views of a reader."""

    directory: FacetDirectory = field(default_factory=FacetDirectory)
    position: int = -1
    few_rows: int = FEW_ROWS  # up to how many movies are counted that pass a bound
    ask_again_s: float = 0.0  # not before this moment, unless a request demands it: the copy that was asked lags


class SqlReader:
    """Reads from a source. A view of it serves one request: it has the request's demand, and says what the answer reflects."""

    def __init__(self, source: Source, demand: Demand = ANY, facets: _Facets | None = None) -> None:
        self._source = source
        self._demand = demand
        self._shared_facets = facets or _Facets()
        self._sql = named_queries(source.engine)
        self.as_of: AsOf | None = None
        self.stamp: int | None = None
        self.asking: Asking | None = None

    @property
    def log(self) -> ChangeLog:
        """Return the log of changes as it was followed."""
        return self._source.log

    def known(self) -> AsOf | None:
        """Return what the followed log reflects now; None when no copy has been heard of lately, or it is not begun."""
        return self._source.known()

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""
        return self._source.written()

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most, if it has changed at all."""
        return self._source.staleness_s(position)

    def view(self, demand: Demand) -> SqlReader:
        """Return this reader for one request."""
        return SqlReader(self._source, demand, self._shared_facets)

    async def movie(self, ref: MovieRef) -> Representation | Tombstone | None:
        """Return a movie's bytes, or what is left of it, or None when there never was one."""
        if isinstance(ref, ExternalId):
            rows = await self._named("movie_by_external_id", {"scheme": ref.scheme, "value": ref.value})
        else:
            rows = await self._named("movie_by_id", {"id": ref})
        return _movie(rows[0]) if rows else None

    async def movies(self, ids: Sequence[int]) -> dict[int, Representation | Tombstone]:
        """Return the movies of these ids, or what is left of them; those that never were are left out."""
        found: dict[int, Representation | Tombstone] = {}
        for row in await self._named("movies_by_ids", {"ids": json.dumps(list(ids))}):
            found.setdefault(row[0], _movie(row))  # documents come first, and go before tombstones
        return found

    async def log_before(self, position: int, limit: int) -> list[LogRow]:
        """Return the rows of the log before a position, in their order; the last ones, if there are more."""
        rows = await self._named("log_before", {"before": position, "limit": limit})
        return [LogRow(*row) for row in reversed(rows)]

    async def page(self, query: ListQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a list."""
        directory = await self._facets(query.filters)
        if query.filters.ids is not None:
            rows = await self._run(ids_statement(query, after, directory, self._source.engine))
            return _cards(rows, query.limit, lambda row: (row[0],))
        few = await self._few(query) if self._source.engine == "sqlite" else None
        rows = await self._run(list_statement(query, after, directory, self._source.engine, few))
        return _cards(rows, query.limit, lambda row: (row[1], row[0]))

    async def _few(self, query: ListQuery) -> tuple[str, int] | None:
        """Return the key whose bounds few movies pass. Cost: 1 statement of 0.1 ms when the list is bounded, none otherwise."""
        sizes = bound_sizes_statement(query, self._shared_facets.few_rows)
        if sizes is None:
            return None
        (row,) = await self._run(sizes)
        self._shared_facets.few_rows = few_rows(row[0] or 0)
        return few_by_bounds(query, row) if row[0] else None

    async def search(self, query: SearchQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a search, best first."""
        directory = await self._facets(query.filters)
        rows = await self._run(search_statement(query, after, directory, self._source.engine))
        return _cards(rows, query.limit, lambda row: (row[0], row[1]))

    async def suggest(self, q: str, limit: int) -> tuple[list[bytes], list[PersonRow]]:
        """Return titles (as cards) and people that begin like this; 2 statements."""
        titles = await self._run(titles_statement(q, limit, self._source.engine))
        people = await self._run(people_statement(q, limit, self._source.engine))
        return [row[2] for row in titles], [PersonRow(row[0], row[1]) for row in people]

    async def trending(self, window: Window, limit: int) -> list[tuple[int, float]]:
        """Return the live movies that the database counts as the most asked-for, with their scores."""
        return [(movie_id, score) for movie_id, score in await self._named(f"trending_by_{window}", {"limit": limit})]

    async def person(self, person_id: int) -> PersonRow | None:
        """Return a person."""
        rows = await self._named("person", {"id": person_id})
        return PersonRow(*rows[0]) if rows else None

    async def genres(self) -> list[GenreRow]:
        """Return the genres by name."""
        return [GenreRow(*row) for row in await self._named("genres", {})]

    async def changes(self, since: int, limit: int) -> list[ChangeRow]:
        """Return the next changes after a position."""
        return [_change(row) for row in await self._named("changes_since", {"since": since, "limit": limit})]

    async def position(self) -> int:
        """Return the newest position of this copy."""
        rows = await self._named("position", {})
        return int(rows[0][0]) if rows else 0

    async def api_key(self, digest: str) -> KeyRow | None:
        """Return a key by the SHA-256 of its text, None when there is none or it is revoked."""
        rows = await self._named("api_key", {"digest": digest})
        return KeyRow(*rows[0]) if rows else None

    async def documents(self) -> AsyncIterator[bytes]:
        """Yield every movie's body in order of position, each movie once; between two batches nothing is held open.

        A movie that changes meanwhile gets a later position: it was yielded before as it was then, or comes later as it is now.
        """
        yielded, after, view = IdSet(), -1, self
        while True:
            rows = await view._documents_after(after)
            for movie_id, position, body in rows:
                after = position
                if yielded.add(movie_id):
                    yield body
            if len(rows) < _EXPORT_ROWS:
                return
            # Another follower may be asked next; one that lags would not have the movies that have moved to the end.
            reached = view.as_of.position if view.as_of else 0
            view = self.view(Demand(max(reached, after), is_forgiving=True))

    async def _documents_after(self, after: int) -> list[Any]:
        """Return the next documents; try again for a while when no copy can be read: a failover ends no export."""
        for _ in range(_EXPORT_TRIES - 1):
            with suppress(NoReaderAvailable):
                return await self._named("documents_after", {"after": after, "limit": _EXPORT_ROWS})
            await asyncio.sleep(_EXPORT_PAUSE_S)
        return await self._named("documents_after", {"after": after, "limit": _EXPORT_ROWS})

    async def count(self) -> int:
        """Return the number of movies."""
        return int((await self._named("count_documents", {}))[0][0])

    @property
    def statements(self) -> int:
        """Return how many statements have been sent to the source."""
        return self._source.statements

    async def latest_position(self) -> int:
        """Return the leader's position, asked now; the newest known one when the leader does not answer."""
        return await self._source.latest_position()

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""
        return self._source.degradation()

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy that can answer."""
        return self._source.status()

    async def close(self) -> None:
        """Give the source's connections back."""
        await self._source.close()

    async def _facets(self, filters: Filters) -> FacetDirectory:
        """Return the facets, asked for anew only when somebody has committed since."""
        shared = self._shared_facets
        if not filters.facets:
            return shared.directory
        newest, demanded, now_s = self._source.newest_position(), self._demand.min_position, time.monotonic()
        if shared.position < demanded or (shared.position < newest and now_s >= shared.ask_again_s):
            rows = await self._named("facets", {})
            shared.directory = FacetDirectory.of(rows)
            shared.position = self.as_of.position if self.as_of else 0
            shared.ask_again_s = now_s + _LAG_INTERVAL_S if shared.position < newest else 0.0
        self._stamped(shared.position)
        return shared.directory

    async def _named(self, name: str, values: dict[str, Any]) -> list[Any]:
        return await self._run(Statement(self._sql[name], values, name))

    async def _run(self, statement: Statement | None) -> list[Any]:
        if statement is None:
            return []
        statement.asking = self.asking
        if self.as_of is None:
            await self._source.turn(statement)
        with STATEMENT_S.labels(statement.name).time():
            rows, as_of = await self._source.rows(statement, self._demand)
        self.as_of = as_of if self.as_of is None else self.as_of.joined(as_of)
        self._stamped(as_of.position)
        return rows

    def _stamped(self, position: int) -> None:
        self.stamp = position if self.stamp is None else min(self.stamp, position)


def _cards(rows: list[Any], limit: int, keys: Callable[[Any], tuple[Any, ...]]) -> CardRows:
    """Return a page's cards; the one row more that was asked for only tells that there is a next page."""
    page = rows[:limit]
    after = keys(page[-1]) if page and len(rows) > limit else None
    return CardRows([row[2] for row in page], after, max((row[3] for row in page), default=0))


def _movie(row: tuple[Any, ...]) -> Representation | Tombstone:
    movie_id, version, position, updated_at_s, body, merged_into = row
    if body is None:
        return Tombstone(movie_id, position, merged_into)
    return Representation(movie_id, version, position, updated_at_s, body)


def _change(row: tuple[Any, ...]) -> ChangeRow:
    position, subject, subject_id, kind, version, at, detail = row
    stated = json.loads(detail)
    fields = sorted(stated.get("fields", ()))
    return ChangeRow(position, subject, subject_id, kind, version, at.replace(" ", "T") + "Z", fields, stated.get("into"))
