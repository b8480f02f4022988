"""Write movies that nobody has yet in bulk: what the write path writes, without its look-ups.

Called by synthetic.py after Django was set up. Invariant: ids and positions are given out in the order in which the write path
gives them (people and facets by their first appearance), so both ways end in the same tables.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from django.db import connection

from matinee.domain.movie import CONTENT_FIELDS, CastMember, CastRef, MovieContent, MovieDocument, Person, PersonRef
from matinee.domain.ranking import search_rank, title_key
from matinee.domain.text import fold, identity
from matinee.storage import documents, models, rows
from matinee.storage.bulk import add_to_facet_counts, insert_rows
from matinee.storage.writer import Leader

ACTOR = "bench:synthetic"
_MADE_AT = dt.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
_FAST = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -2000000", "temp_store = MEMORY")


class Resolver:
    """Turn what is stated of a movie into its document, with the next ids."""

    def __init__(self) -> None:
        self.people: dict[str, int] = {}
        self.facets: dict[tuple[str, str], int] = {}
        self.movies = 0

    def document(self, content: MovieContent) -> MovieDocument:
        """Return the document of the next movie, whose position is its id: nothing else changes this catalogue."""
        self.movies += 1
        for kind, names in rows.facets_of(content):
            for name in names:
                self.facets.setdefault((kind, identity(name)), len(self.facets) + 1)
        plain: dict[str, Any] = {name: getattr(content, name) for name in CONTENT_FIELDS if name not in rows.CREDIT_LISTS}
        people: dict[str, Any] = {name: [self._person(ref) for ref in getattr(content, name)] for name in rows.CREDIT_LISTS}
        return MovieDocument(id=self.movies, version=1, position=self.movies, updated_at=_MADE_AT, **plain, **people)

    def _person(self, ref: PersonRef) -> Any:
        person_id = self.people.setdefault(str(ref.name), len(self.people) + 1)
        if isinstance(ref, CastRef):
            return CastMember(person_id, str(ref.name), ref.character, ref.order)
        return Person(person_id, str(ref.name))


class BulkWriter:
    """Write batches of new movies into an empty catalogue; used as a block, whose end builds the indexes."""

    def __init__(self) -> None:
        self._resolver = Resolver()
        self._leader = Leader()
        self._indexes: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        with connection.cursor() as cursor:
            for pragma in _FAST:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN "
                "('movie', 'person', 'facet', 'credit', 'movie_facet', 'external_id', 'movie_document', 'change')"
            )
            self._indexes = cursor.fetchall()
            for name, _ in self._indexes:
                cursor.execute(f'DROP INDEX "{name}"')
        return self

    def write(self, contents: Sequence[MovieContent]) -> None:
        """Write the next movies in one transaction."""
        known_people, known_facets = len(self._resolver.people), len(self._resolver.facets)
        fresh = [self._resolver.document(content) for content in contents]
        with self._leader.transaction(ACTOR) as work:
            for document in fresh:
                position = work.note("movie", document.id, "created", document.version, {})
                assert position == document.position
            self._add_people(known_people)
            self._add_facets(contents, known_facets)
            rows.store(fresh, self._resolver.facets, ())
            # The full-text index takes rows fastest in the order of their numbers; what it holds is the same.
            ranked = sorted(fresh, key=lambda document: search_rank(document.popularity, document.id))
            documents.write(ranked, self._resolver.facets, ())
            self._count_facets(fresh)

    def _add_people(self, known: int) -> None:
        new = list(self._resolver.people.items())[known:]
        columns = ("id", "name", "name_fold", "version")
        insert_rows("person", columns, [(person_id, name, fold(name)[:300], 1) for name, person_id in new])

    def _add_facets(self, contents: Sequence[MovieContent], known: int) -> None:
        new = dict(list(self._resolver.facets.items())[known:])
        named = {
            (kind, identity(name)): name for content in contents for kind, names in rows.facets_of(content) for name in names
        }
        models.Facet.objects.bulk_create(
            models.Facet(id=facet_id, kind=kind, name=named[kind, key], name_fold=title_key(named[kind, key]))
            for (kind, key), facet_id in new.items()
        )

    def _count_facets(self, fresh: Sequence[MovieDocument]) -> None:
        counts = Counter((kind, name) for document in fresh for kind, names in rows.facets_of(document) for name in names)
        add_to_facet_counts([(step, *key) for key, step in counts.items()])

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        resolver = self._resolver
        models.LogHead.objects.update(
            last_movie_id=resolver.movies, last_person_id=len(resolver.people), last_facet_id=len(resolver.facets)
        )
        with connection.cursor() as cursor:
            for _name, statement in self._indexes if kind is None else ():
                cursor.execute(statement)
            cursor.execute("PRAGMA locking_mode = NORMAL")
            cursor.execute("PRAGMA journal_mode = WAL")
        connection.close()
