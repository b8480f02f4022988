"""The protocol of a reader: what answers reads. sql_reader.py is the one of every engine; memory.py is for tests.

Called by the read room, which never asks which engine answers. Values are plain: bytes, numbers, texts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

from matinee.domain.change_log import ChangeLog, LogRow
from matinee.domain.freshness import AsOf, Demand
from matinee.domain.ids import MovieRef
from matinee.domain.popularity import Window
from matinee.domain.query import ListQuery, SearchQuery
from matinee.domain.representation import Representation, Tombstone
from matinee.storage.asking import Asking


class CardRows(NamedTuple):
    """Cards in order, and the sort keys after which the next page begins (None: there is no next page).

    `updated_at_s` is when the movie on the page that changed last did so, 0 on an empty page.
    """

    cards: list[bytes]
    after: tuple[Any, ...] | None
    updated_at_s: int = 0


class PersonRow(NamedTuple):
    """A person."""

    id: int
    name: str


class GenreRow(NamedTuple):
    """A genre with the number of its movies."""

    id: int
    name: str
    movies: int


class ChangeRow(NamedTuple):
    """One entry of the log of changes, as readers may see it: no actor, no old values."""

    position: int
    subject: str
    subject_id: int
    kind: str
    version: int
    at: str
    fields: list[str]
    into: int | None


class KeyRow(NamedTuple):
    """An API key that is not revoked. `quota` is in requests a minute; 0 is without a limit, None is the default."""

    id: int
    name: str
    prefix: str
    scope: str
    quota: int | None = None


class Reader(Protocol):
    """The catalogue as readers ask it. Every method is one statement, except where it says otherwise.

    `as_of` is what the answers of this view reflect, `stamp` the oldest position that any part of them was read at; None before
    the first one. `asking` is the client that takes a place when a read is expensive; None is a client without a name.
    Raises: NoReaderAvailable when no copy can answer; FuturePosition when one is demanded that was never given out.
    """

    as_of: AsOf | None
    stamp: int | None
    asking: Asking | None

    @property
    def log(self) -> ChangeLog:
        """Return the log of changes as it was followed on the copies that are read from."""

    def known(self) -> AsOf | None:
        """Return what the followed log reflects now; None when no copy has been heard of lately, or it is not begun."""

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most, if it has changed at all."""

    def view(self, demand: Demand) -> Reader:
        """Return this reader for one request, which keeps to its demand and tells what its answers reflect."""

    async def movie(self, ref: MovieRef) -> Representation | Tombstone | None:
        """Return a movie's bytes, or what is left of it, or None when there never was one."""

    async def movies(self, ids: Sequence[int]) -> dict[int, Representation | Tombstone]:
        """Return the movies of these ids, or what is left of them; those that never were are left out."""

    async def log_before(self, position: int, limit: int) -> list[LogRow]:
        """Return the rows of the log before a position, in their order; the last ones, if there are more."""

    async def page(self, query: ListQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a list."""

    async def search(self, query: SearchQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a search, best first."""

    async def suggest(self, q: str, limit: int) -> tuple[list[bytes], list[PersonRow]]:
        """Return titles (as cards) and people that begin like this; 2 statements."""

    async def trending(self, window: Window, limit: int) -> list[tuple[int, float]]:
        """Return the live movies that the database counts as the most asked-for, in that order, with their scores."""

    async def person(self, person_id: int) -> PersonRow | None:
        """Return a person."""

    async def genres(self) -> list[GenreRow]:
        """Return the genres by name."""

    async def changes(self, since: int, limit: int) -> list[ChangeRow]:
        """Return the next changes after a position."""

    async def position(self) -> int:
        """Return the position of the copy that answers."""

    async def api_key(self, digest: str) -> KeyRow | None:
        """Return a key by the SHA-256 of its text, None when there is none or it is revoked."""

    def documents(self) -> AsyncIterator[bytes]:
        """Yield every movie's body in order of position, each movie once, as it was at some moment of the reading."""

    async def count(self) -> int:
        """Return the number of movies. Cost: a walk of an index; for the command line only."""

    async def latest_position(self) -> int:
        """Return the leader's position, asked now; the newest known one when the leader does not answer."""

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy that can answer, as /readyz shows it; none where the copy is a file."""

    async def close(self) -> None:
        """Give the connection back."""
