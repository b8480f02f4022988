"""The reader of the embedded default: read-only connections to the one SQLite file, in the process that asks.

Called by runtime, which hands it to the read room. It never writes: the file is opened read-only, so a mistake here cannot.
A statement runs on the event loop: a primary-key lookup takes ten microseconds, a hand-over to a thread six times that.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.query import Filters, ListQuery, SearchQuery
from matinee.domain.representation import Representation, Tombstone
from matinee.errors import NoReaderAvailable
from matinee.storage.page_sql import (
    FacetDirectory,
    Statement,
    ids_statement,
    list_statement,
    people_statement,
    search_statement,
    titles_statement,
)
from matinee.storage.reader import CardRows, ChangeRow, GenreRow, KeyRow, PersonRow
from matinee.storage.sql import named_queries

_OPS_BETWEEN_CLOCKS = 20_000  # virtual machine steps, about a millisecond
_LOOK_INTERVAL_S = 0.5  # how long a file that is gone or replaced may still be read; a look costs 2 microseconds


class SqliteReader:
    """Reads from one SQLite file. Not shared between threads; each server process makes its own."""

    def __init__(self, path: Path, *, timeout_ms: int = 1_000) -> None:
        self._path = path
        self._timeout_s = timeout_ms / 1000
        self._deadline_s = self._next_look_s = 0.0
        self._file: tuple[int, int] | None = None
        self._sql = named_queries()
        self._connection: sqlite3.Connection | None = None
        self._directory: FacetDirectory = {}
        self._directory_version = -1
        self.statements = 0

    async def movie(self, ref: MovieRef) -> Representation | Tombstone | None:
        """Return a movie's bytes, or what is left of it, or None when there never was one."""
        if isinstance(ref, ExternalId):
            rows = self._rows(self._sql["movie_by_external_id"], {"scheme": ref.scheme, "value": ref.value})
        else:
            rows = self._rows(self._sql["movie_by_id"], {"id": ref})
        if not rows:
            return None
        movie_id, version, position, updated_at_s, body, merged_into = rows[0]
        if body is None:
            return Tombstone(movie_id, position, merged_into)
        return Representation(movie_id, version, position, updated_at_s, body)

    async def page(self, query: ListQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a list."""
        directory = self._facets(query.filters)
        if query.filters.ids is not None:
            return self._by_ids(query, after, directory)
        statement = list_statement(query, after, directory)
        rows = self._run(statement)
        return _cards(rows, query.limit, lambda row: (row[1], row[0]))

    def _by_ids(self, query: ListQuery, after: tuple[Any, ...] | None, directory: FacetDirectory) -> CardRows:
        statement = ids_statement(query, after, directory)
        if statement is not None:
            statement.values["refs"] = json.dumps(statement.values["refs"])
        return _cards(self._run(statement), query.limit, lambda row: (row[0],))

    async def search(self, query: SearchQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a search, best first."""
        rows = self._run(search_statement(query, after, self._facets(query.filters)))
        return _cards(rows, query.limit, lambda row: (row[0], row[1]))

    async def suggest(self, q: str, limit: int) -> tuple[list[bytes], list[PersonRow]]:
        """Return titles (as cards) and people that begin like this; 2 statements."""
        titles = [row[2] for row in self._run(titles_statement(q, limit))]
        people = [PersonRow(row[0], row[1]) for row in self._run(people_statement(q, limit))]
        return titles, people

    async def person(self, person_id: int) -> PersonRow | None:
        """Return a person."""
        rows = self._rows(self._sql["person"], {"id": person_id})
        return PersonRow(*rows[0]) if rows else None

    async def genres(self) -> list[GenreRow]:
        """Return the genres by name."""
        return [GenreRow(*row) for row in self._rows(self._sql["genres"], {})]

    async def changes(self, since: int, limit: int) -> list[ChangeRow]:
        """Return the next changes after a position."""
        rows = self._rows(self._sql["changes_since"], {"since": since, "limit": limit})
        return [_change(row) for row in rows]

    async def position(self) -> int:
        """Return the newest position of this copy."""
        rows = self._rows(self._sql["position"], {})
        return int(rows[0][0]) if rows else 0

    async def api_key(self, digest: str) -> KeyRow | None:
        """Return a key by the SHA-256 of its text, None when there is none or it is revoked."""
        rows = self._rows(self._sql["api_key"], {"digest": digest})
        return KeyRow(*rows[0]) if rows else None

    async def documents(self) -> AsyncIterator[bytes]:
        """Yield every movie's body in order of position, all of one snapshot."""
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
                for (body,) in connection.execute(self._sql["documents"]):
                    yield body
        except sqlite3.Error as error:
            raise NoReaderAvailable(f"The catalogue cannot be read right now ({error}); try again.") from error

    async def count(self) -> int:
        """Return the number of movies."""
        return int(self._rows(self._sql["count_documents"], {})[0][0])

    async def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _facets(self, filters: Filters) -> FacetDirectory:
        """Return the facets as they are in the file now; asked for anew only when somebody has committed since."""
        if not filters.facets:
            return self._directory
        version = self._rows("PRAGMA data_version", {})[0][0]
        if version != self._directory_version:
            rows = self._rows(self._sql["facets"], {})
            self._directory = {(kind, name): (facet_id, movies) for kind, name, facet_id, movies in rows}
            self._directory_version = version
        return self._directory

    def _run(self, statement: Statement | None) -> list[Any]:
        return [] if statement is None else self._rows(statement.text, statement.values)

    def _rows(self, text: str, values: dict[str, Any]) -> list[Any]:
        now_s = time.monotonic()
        self._deadline_s = now_s + self._timeout_s
        self.statements += 1
        try:
            if now_s >= self._next_look_s:
                self._next_look_s = now_s + _LOOK_INTERVAL_S
                self._look_at_file()
            connection = self._connection or self._connect()
            return connection.execute(text, values).fetchall()
        except sqlite3.Error as error:
            self._connection = None
            raise NoReaderAvailable(f"The catalogue cannot be read right now ({error}); try again.") from error

    def _look_at_file(self) -> None:
        # An open file that was moved away or replaced (a restore) goes on to be read as it was, without an error: whether the
        # path still leads to it must be asked. What is there now is opened by this read, and if nothing is, that is its error.
        found = _identity(self._path)
        if found != self._file and self._connection is not None:
            self._connection.close()
            self._connection = None
        self._file = found

    def _connect(self) -> sqlite3.Connection:
        # The server makes one reader for its loop; tests and `matinee get` make theirs in one thread and use it in another.
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.set_progress_handler(self._is_late, _OPS_BETWEEN_CLOCKS)
        self._connection = connection
        self._directory_version = -1  # each connection counts the commits of others from its own beginning
        return connection

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file a path leads to, None when to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _cards(rows: list[Any], limit: int, keys: Callable[[Any], tuple[Any, ...]]) -> CardRows:
    """Return a page's cards; the one row more that was asked for only tells that there is a next page."""
    page = rows[:limit]
    after = keys(page[-1]) if page and len(rows) > limit else None
    return CardRows([row[2] for row in page], after, max((row[3] for row in page), default=0))


def _change(row: tuple[Any, ...]) -> ChangeRow:
    position, subject, subject_id, kind, version, at, detail = row
    stated = json.loads(detail)
    fields = sorted(stated.get("fields", ()))
    return ChangeRow(position, subject, subject_id, kind, version, at.replace(" ", "T") + "Z", fields, stated.get("into"))
