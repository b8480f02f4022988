"""Every read of the catalogue, from the reader's rows to the answer's bytes.

Invariant: a movie's JSON is never parsed or encoded here; pages are stored cards joined with commas.
Called by the HTTP handlers.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from matinee.cache.popularity import Counts, NullCounts
from matinee.domain.change_log import ChangeLog
from matinee.domain.cursor import CursorSigner
from matinee.domain.freshness import ANY, AsOf, Demand
from matinee.domain.ids import MovieRef
from matinee.domain.popularity import Window
from matinee.domain.query import Filters, ListQuery, PersonFilter, SearchQuery
from matinee.domain.representation import Representation, Tombstone
from matinee.errors import Forbidden, Gone, NotFound, Unauthenticated
from matinee.read.loading import Loads
from matinee.storage.asking import Asking
from matinee.storage.reader import CardRows, KeyRow, Reader

_encoder = msgspec.json.Encoder()
SUGGESTIONS = 10
_PEOPLE_AT_LEAST = 3
_GONE_AT_MOST = 20  # among the most asked-for movies, without a page of them getting shorter


class Page(NamedTuple):
    """A page's JSON, the cursor of the next one, and when a movie on it last changed (0: it is empty)."""

    body: bytes
    next_cursor: str | None
    updated_at_s: int


class Moved(NamedTuple):
    """A merged movie's new id."""

    id: int


class Catalogue:
    """The catalogue as readers see it."""

    def __init__(self, reader: Reader, signer: CursorSigner, loads: Loads | None = None, counts: Counts | None = None) -> None:
        """`loads` are the reads that everybody shares; who demands something of its own does without."""
        self._reader, self._signer, self._loads, self._counts = reader, signer, loads, counts or NullCounts()
        self._as_of: AsOf | None = None
        self._stamp: int | None = None

    def view(self, demand: Demand, asking: Asking | None = None) -> Catalogue:
        """Return the catalogue for one request, which keeps to its demand and tells what its answer reflects.

        `asking` is the client that takes a place when a read is expensive.
        """
        view = Catalogue(self._reader.view(demand), self._signer, self._loads if demand == ANY else None, self._counts)
        view._reader.asking = asking
        return view

    @property
    def as_of(self) -> AsOf | None:
        """Return what the answers of this view reflect; None before the first one."""
        own, read = self._as_of, self._reader.as_of
        return own.joined(read) if own is not None and read is not None else own or read

    @property
    def stamp(self) -> int | None:
        """Return the oldest position that any part of this view's answers was read at; None before the first one."""
        stamps = [stamp for stamp in (self._stamp, self._reader.stamp) if stamp is not None]
        return min(stamps, default=None)

    @property
    def log(self) -> ChangeLog:
        """Return the log of changes as it was followed on the copies that are read from."""
        return self._reader.log

    def known(self) -> AsOf | None:
        """Return what the followed log reflects now; None when no copy has been heard of lately."""
        return self._reader.known()

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""
        return self._reader.written()

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most, if it has changed at all."""
        return self._reader.staleness_s(position)

    async def movie(self, ref: MovieRef) -> Representation | Moved:
        """Return a movie's bytes, or where a merged one went.

        Raises: NotFound; Gone for a deleted one; NoReaderAvailable.
        Cost: none when the shared tier has it; else 1 query, for all who ask at the same time.
        """
        found = await self._found(ref)
        if isinstance(found, Representation):
            return found
        if found is None:
            raise NotFound(f"There is no movie {ref}. Find movies with /v1/search?q=...")
        if found.merged_into is None:
            raise Gone(f"Movie {ref} was deleted at position {found.position}.")
        return Moved(found.merged_into)

    async def _found(self, ref: MovieRef) -> Representation | Tombstone | None:
        if self._loads is None or not isinstance(ref, int):
            return await self._reader.movie(ref)
        loaded = await self._loads.movie(ref)
        self._note(loaded.stamp, loaded.as_of)
        return loaded.found

    def _note(self, stamp: int | None, as_of: AsOf | None) -> None:
        self._stamp, self._as_of = stamp, as_of

    async def _rows(self, query: ListQuery | SearchQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return a page of a list or a search, from the reads that everybody shares unless the view has a demand of its own."""

        async def read(view: Reader) -> CardRows:
            view.asking = self._reader.asking
            return await (view.page(query, after) if isinstance(query, ListQuery) else view.search(query, after))

        if self._loads is None:
            return await read(self._reader)
        asking = self._reader.asking
        loaded = await self._loads.page(query, read, asking.client if asking is not None else "")
        self._note(loaded.stamp, loaded.as_of)
        return loaded.rows

    async def movies(self, query: ListQuery) -> Page:
        """Return a page of a list. Cost: 1 query, 2 more after a commit when facets are filtered by."""
        after = self._signer.read(query.digest(), query.cursor)
        return self._page(await self._rows(query, after), query.digest())

    async def search(self, query: SearchQuery) -> Page:
        """Return a page of a search. Cost: 1 query."""
        after = self._signer.read(query.digest(), query.cursor)
        return self._page(await self._rows(query, after), query.digest())

    async def trending(self, window: Window, limit: int) -> Page:
        """Return the movies that are asked for most, the most asked-for first; those that are gone are left out.

        Cost: 1 query, and 1 round trip to Redis or another query for the counts.
        """
        top = await self._counts.top(window, limit + _GONE_AT_MOST)
        ids = tuple(movie_id for movie_id, _ in top)
        rows = await self._rows(ListQuery(Filters(ids=ids), limit=limit), None)
        return self._page(rows._replace(after=None), b"")

    async def suggest(self, q: str) -> bytes:
        """Return ten titles and people for a search box. Cost: 2 queries."""
        cards, people = await self._reader.suggest(q, SUGGESTIONS)
        kept_people = people[: max(_PEOPLE_AT_LEAST, SUGGESTIONS - len(cards))]
        items: list[dict[str, Any]] = []
        for card in cards[: SUGGESTIONS - len(kept_people)]:
            title = msgspec.json.decode(card, type=_Suggested)
            items.append({"kind": "movie", "id": title.id, "text": title.title, "year": title.year})
        items += [{"kind": "person", "id": person.id, "text": person.name, "year": None} for person in kept_people]
        return _encoder.encode({"items": items})

    async def person(self, person_id: int, query: ListQuery) -> Page:
        """Return a person with a page of their movies. Cost: 2 queries.

        Raises: NotFound.
        """
        person = await self._reader.person(person_id)
        if person is None:
            raise NotFound(f"There is no person {person_id}. Find people with /v1/suggest?q=...")
        page = await self.movies(replace(query, filters=Filters(people=(PersonFilter(person_id),))))
        head = _encoder.encode({"id": person.id, "name": person.name})
        return Page(head[:-1] + b',"movies":' + page.body + b"}", page.next_cursor, page.updated_at_s)

    async def genres(self) -> bytes:
        """Return the genres with the number of their movies. Cost: 1 query."""
        return _encoder.encode({"items": [row._asdict() for row in await self._reader.genres()]})

    async def changes(self, since: int, limit: int) -> bytes:
        """Return the log of changes after a position. Cost: 1 query.

        `position` is what to ask for next; it is `since` again while nothing has happened.
        """
        rows = await self._reader.changes(since, limit + 1)
        more, rows = len(rows) > limit, rows[:limit]
        position = rows[-1].position if rows else since
        return _encoder.encode({"items": [row._asdict() for row in rows], "position": position, "has_more": more})

    def documents(self) -> AsyncIterator[bytes]:
        """Yield every movie's stored body in order of position, each movie once, as it was at some moment of the reading."""
        return self._reader.documents()

    async def count(self) -> int:
        """Return the number of movies; for the command line, never for a request."""
        return await self._reader.count()

    async def position(self) -> int:
        """Return the newest position that is served."""
        return await self._reader.position()

    async def prepare(self) -> None:
        """Learn what the log says of now and of the past, by which all that is kept or shared is judged; for who warms up.

        Raises: NoReaderAvailable.
        """
        await self._reader.position()
        if self._loads is not None:
            await self._loads.read_history()

    async def share(self, ids: Sequence[int]) -> int:
        """Have movies loaded into the shared tier; return how many it holds then, 0 when there is none."""
        return 0 if self._loads is None else await self._loads.share(ids)

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""
        return self._reader.degradation()

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy that can answer."""
        return self._reader.status()

    async def key(self, digest: str) -> KeyRow | None:
        """Return the key of a digest, None when it is unknown or was revoked; as any copy knows it. Cost: 1 query."""
        return await self._reader.view(ANY).api_key(digest)

    async def authenticate(self, key: str | None, scope: str) -> KeyRow:
        """Return the key that a caller shows, if it is good for this scope; `write` includes `read`.

        Raises: Unauthenticated; Forbidden.
        """
        if not key:
            raise Unauthenticated("Send a key as `Authorization: Bearer KEY`; make one with `matinee key create`.")
        digest = key_digest(key)
        row = await self._reader.api_key(digest)
        if row is None:
            # It may have been made a moment ago, and the copy that was asked not know of it yet.
            latest = Demand(await self._reader.latest_position(), is_forgiving=True)
            row = await self._reader.view(latest).api_key(digest)
        if row is None:
            raise Unauthenticated("This key is unknown or was revoked; make one with `matinee key create`.")
        if scope not in (row.scope, "read"):
            raise Forbidden(f"Key {row.prefix} has scope {row.scope}; this needs scope {scope}.")
        return row

    async def close(self) -> None:
        """End what goes on in the background, and give the reader's connection back."""
        if self._loads is not None:
            await self._loads.close()
        await self._reader.close()

    def _page(self, rows: CardRows, digest: bytes) -> Page:
        cursor = None if rows.after is None else self._signer.make(digest, rows.after)
        tail = b'],"next_cursor":' + _encoder.encode(cursor) + b',"has_more":' + (b"true}" if cursor else b"false}")
        return Page(b'{"items":[' + b",".join(rows.cards) + tail, cursor, rows.updated_at_s)


class _Suggested(msgspec.Struct):
    id: int
    title: str
    year: int | None


def key_digest(key: str) -> str:
    """Return what of a key is stored; a random 256-bit secret needs no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()
