"""Every read of the catalogue, from the reader's rows to the answer's bytes.

Invariant: a movie's JSON is never parsed or encoded here; pages are stored cards joined with commas.
Called by the HTTP handlers.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from matinee.domain.cursor import CursorSigner
from matinee.domain.freshness import AsOf, Demand
from matinee.domain.ids import MovieRef
from matinee.domain.query import Filters, ListQuery, PersonFilter, SearchQuery
from matinee.domain.representation import Representation
from matinee.errors import Forbidden, Gone, NotFound, Unauthenticated
from matinee.storage.reader import CardRows, KeyRow, Reader

_encoder = msgspec.json.Encoder()
SUGGESTIONS = 10
_PEOPLE_AT_LEAST = 3


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

    def __init__(self, reader: Reader, signer: CursorSigner) -> None:
        self._reader = reader
        self._signer = signer

    def view(self, demand: Demand) -> Catalogue:
        """Return the catalogue for one request, which keeps to its demand and tells what its answer reflects."""
        return Catalogue(self._reader.view(demand), self._signer)

    @property
    def as_of(self) -> AsOf | None:
        """Return what the answers of this view reflect; None before the first one."""
        return self._reader.as_of

    async def movie(self, ref: MovieRef) -> Representation | Moved:
        """Return a movie's bytes, or where a merged one went.

        Raises: NotFound; Gone for a deleted one; NoReaderAvailable.
        Cost: 1 query.
        """
        found = await self._reader.movie(ref)
        if isinstance(found, Representation):
            return found
        if found is None:
            raise NotFound(f"There is no movie {ref}. Find movies with /v1/search?q=...")
        if found.merged_into is None:
            raise Gone(f"Movie {ref} was deleted at position {found.position}.")
        return Moved(found.merged_into)

    async def movies(self, query: ListQuery) -> Page:
        """Return a page of a list. Cost: 1 query, 2 more after a commit when facets are filtered by."""
        after = self._signer.read(query.digest(), query.cursor)
        return self._page(await self._reader.page(query, after), query.digest())

    async def search(self, query: SearchQuery) -> Page:
        """Return a page of a search. Cost: 1 query."""
        after = self._signer.read(query.digest(), query.cursor)
        return self._page(await self._reader.search(query, after), query.digest())

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
        """Yield every movie's stored body in order of position, all of one snapshot."""
        return self._reader.documents()

    async def count(self) -> int:
        """Return the number of movies; for the command line, never for a request."""
        return await self._reader.count()

    async def position(self) -> int:
        """Return the newest position that is served."""
        return await self._reader.position()

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""
        return self._reader.degradation()

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy that can answer."""
        return self._reader.status()

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
        """Give the reader's connection back."""
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
