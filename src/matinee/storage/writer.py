"""The leader: the only code that changes the catalogue.

Invariants: rows, documents and change rows are written in one commit; `position` strictly rises in commit order, because a
transaction locks the log's head before anything else and keeps it until its commit; each change has its own position.
Called by the write room only. The read path must never import this module.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from matinee.domain import ranking
from matinee.domain.ids import MAX_ID, ExternalId
from matinee.domain.movie import CONTENT_FIELDS, MAX_POSITION, MovieContent, MovieDocument, known_ids
from matinee.domain.text import FOLDING, identity
from matinee.errors import Conflict, LeaderUnavailable
from matinee.storage import documents, leader_file, leader_link, models, refolding, rows, sqlite_log
from matinee.storage.bulk import add_to_facet_counts, delete_rows, insert_rows
from matinee.storage.resolve import Facets, IdPolicy, resolve_facets, resolve_people
from matinee.storage.rows import CREDIT_LISTS, FACET_LISTS

_CHANGE_COLUMNS = ("position", "subject", "subject_id", "kind", "version", "actor", "at", "detail")
_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class Edit:
    """What a movie shall be: `before` is its document now, None for a new one.

    `adopted` is a new one's document in an export: its id, version and position are taken over; the caller has made
    sure that the id is free.
    """

    content: MovieContent
    before: MovieDocument | None = None
    adopted: MovieDocument | None = None
    people_ids: IdPolicy = "strict"


class Leader:
    """The one place where transactions on the catalogue begin."""

    @contextmanager
    def transaction(self, actor: str) -> Iterator[Transaction]:
        """Open the transaction of one write; everything in it is committed together or not at all.

        Raises: LeaderUnavailable when the leader cannot be reached or another writer keeps it busy for too long.
        """
        connection, is_committing = transaction.get_connection(), False
        leader_file.follow(connection)
        leader_link.require()
        try:
            with leader_link.within_deadline(connection) as wait, ExitStack() as stack:
                work = _begin(stack, connection, actor, wait)
                yield work
                work.finish()
                is_committing = True
        except leader_link.LOST as error:
            leader_link.drop(connection)
            raise _unavailable(error, is_committing=is_committing) from error
        leader_link.note_written(work.position)
        sqlite_log.shrink_log(connection)


def _begin(stack: ExitStack, connection: BaseDatabaseWrapper, actor: str, wait: leader_link.Wait) -> Transaction:
    """Enter a transaction and lock the log's head; once more when a connection of before turns out to be lost.

    Only here: nothing has been sent yet that could have been committed. A connection that was cut at the deadline is not tried
    again.
    """
    link = None if connection.in_atomic_block else connection.connection
    try:
        return _begin_once(stack, connection, actor)
    except leader_link.LOST:
        if wait.was_cut or not leader_link.is_lost(connection, link):
            raise
    return _begin_once(stack, connection, actor)


def _begin_once(stack: ExitStack, connection: BaseDatabaseWrapper, actor: str) -> Transaction:
    with ExitStack() as begun:
        begun.enter_context(transaction.atomic())
        leader_link.limit(connection)
        leader_file.require_unmoved(connection)
        work = Transaction(actor)
        stack.push(begun.pop_all())
    return work


def _unavailable(error: Exception, *, is_committing: bool) -> LeaderUnavailable:
    reason = " ".join(str(error).split())
    if is_committing:
        return LeaderUnavailable(
            "The leader was lost while it committed; the write may be there. "
            "Look, or send a POST again with the same Idempotency-Key, which is done once.",
            reason=reason,
        )
    return LeaderUnavailable("The catalogue cannot be written to right now; try again.", reason=reason)


class Transaction:
    """One write, from the locked head of the log to its change rows."""

    def __init__(self, actor: str) -> None:
        self.actor = actor
        self.now = dt.datetime.now(dt.UTC)
        self._head = models.LogHead.objects.select_for_update().get(pk=1)
        self._changes: list[tuple[Any, ...]] = []
        # A server of other rules has written since: `refold` must not lose where it began.
        self._is_folded = self._head.folding == FOLDING and self._head.folded_position >= self._head.position

    @property
    def position(self) -> int:
        """Return the newest position, this transaction's own included."""
        return self._head.position

    def load(self, ids: Collection[int]) -> dict[int, MovieDocument]:
        """Return the live movies of these ids."""
        return rows.load(ids)

    def owners(self, external: Collection[ExternalId]) -> dict[ExternalId, int]:
        """Return which movie or tombstone each external id belongs to."""
        return rows.owners(external)

    def tombstones(self, ids: Collection[int]) -> dict[int, models.Tombstone]:
        """Return what is left of the movies of these ids that were deleted or merged."""
        return models.Tombstone.objects.in_bulk(list(ids))

    def last_contents(self, gone: Collection[models.Tombstone]) -> dict[int, MovieDocument]:
        """Return the movies of these tombstones as they were before they were deleted or merged. Cost: 1 query."""
        positions = [stone.position for stone in gone]
        rows_ = models.Change.objects.filter(position__in=positions).values_list("subject_id", "detail") if positions else ()
        return {movie_id: msgspec.convert(detail["before"], MovieDocument) for movie_id, detail in rows_}

    def same_title(self, contents: Collection[MovieContent]) -> dict[tuple[str, int | None], list[int]]:
        """Return the movies whose title and year are the same as of one of these, by the title's identity and the year."""
        wanted = {(identity(content.title), content.year) for content in contents}
        folds = {ranking.title_key(content.title) for content in contents}
        rows_ = models.Movie.objects.filter(title_fold__in=folds).order_by("id")
        found: dict[tuple[str, int | None], list[int]] = {}
        for title, year, movie_id in rows_.values_list("title", "year", "id"):
            if (key := (identity(title), year)) in wanted:
                found.setdefault(key, []).append(movie_id)
        return found

    def save(self, edits: Sequence[Edit]) -> list[MovieDocument]:
        """Write these movies: rows, documents, counts and one change row each; what is as it was already stays untouched.

        Returns: the documents in the order of the edits.
        Raises: Conflict for a person who is not there, or an external id of another live movie.
        Cost: about 15 statements, however many edits.
        """
        resolved = resolve_people([(edit.content, edit.people_ids) for edit in edits], self._head)
        facets = resolve_facets([edit.content for edit in edits], self._head)
        # Ids that are taken over are out of reach for those that are given out in the same call.
        self._head.last_movie_id = max([self._head.last_movie_id, *(edit.adopted.id for edit in edits if edit.adopted)])
        results, fresh, replaced = [], [], []
        for edit, people in zip(edits, resolved, strict=True):
            document = self._document(edit, people, facets)
            changed = changed_fields(edit.before, document)
            if edit.before is not None and not changed:
                results.append(edit.before)
                continue
            self._stamp(document, edit, changed)
            results.append(document)
            fresh.append(document)
            if edit.before is not None:
                replaced.append(edit.before)
        self._release_ids(fresh)
        self._write(fresh, replaced, facets)
        return results

    def _write(self, fresh: list[MovieDocument], replaced: list[MovieDocument], facets: Facets) -> None:
        replaced_ids = [document.id for document in replaced]
        facet_ids = {key: facet.id for key, facet in facets.items()}
        rows.store(fresh, facet_ids, replaced_ids)
        documents.write(fresh, facet_ids, replaced_ids)
        self._count_facets(gained=fresh, lost=replaced)

    def remove(self, gone: Sequence[tuple[MovieDocument, int | None]]) -> None:
        """Delete these movies, each for good or merged into another one; a tombstone and the last content remain."""
        ids = [document.id for document, _ in gone]
        for document, into in gone:
            detail: dict[str, Any] = {"before": document}
            if into is not None:
                detail["into"] = into
            self._change("movie", document.id, "deleted" if into is None else "merged", document.version + 1, detail)
            models.Tombstone.objects.create(movie_id=document.id, position=self.position, merged_into=into)
            # Whoever was merged into this one before goes on to the same end, so that nobody is sent twice.
            models.Tombstone.objects.filter(merged_into=document.id).update(merged_into=into)
        for table, column in (("credit", "movie_id"), ("movie_facet", "movie_id"), ("movie", "id")):
            delete_rows(table, column, ids)
        documents.remove(ids)
        self._count_facets(gained=(), lost=[document for document, _ in gone])

    def rebuild(self, ids: Sequence[int], detail: dict[str, Any]) -> None:
        """Give these movies a new version and new documents, because something that they show was renamed."""
        found = self.load(ids)
        facets = resolve_facets(list(found.values()), self._head)
        facet_ids = {key: facet.id for key, facet in facets.items()}
        for document in found.values():
            document.version += 1
            document.updated_at = self.now
            document.position = self._change("movie", document.id, "updated", document.version, detail)
        ids = list(found)
        rows.store(found.values(), facet_ids, ids)
        documents.write(found.values(), facet_ids, ids)

    def note(self, subject: str, subject_id: int, kind: str, version: int, detail: dict[str, Any]) -> int:
        """Append a change of something else than a movie and return its position."""
        return self._change(subject, subject_id, kind, version, detail)

    def new_person(self, name: str) -> models.Person:
        """Add a person."""
        self._head.last_person_id += 1
        person = models.Person(id=self._head.last_person_id, name=name, name_fold=ranking.name_key(name))
        person.save(force_insert=True)
        self._change("person", person.id, "created", 1, {})
        return person

    def new_facet(self, kind: str, name: str) -> models.Facet:
        """Add a genre, language, country or company."""
        self._head.last_facet_id += 1
        facet = models.Facet(id=self._head.last_facet_id, kind=kind, name=name, name_fold=ranking.title_key(name))
        facet.save(force_insert=True)
        self._change(kind, facet.id, "created", 1, {})
        return facet

    def refold(self, limit: int) -> bool:
        """Fold again what servers of an older version have changed, so many changes; return whether any were left."""
        return refolding.fold_changed(self._head, limit)

    def finish(self) -> None:
        """Write the change rows and the head of the log; called once, just before the commit."""
        insert_rows("change", _CHANGE_COLUMNS, self._changes)
        if self._is_folded:
            self._head.folded_position = self._head.position
        self._head.save()

    def _change(self, subject: str, subject_id: int, kind: str, version: int, detail: dict[str, Any]) -> int:
        self._head.position += 1
        at = rows.sql_time(self.now)
        encoded = _json.encode(detail).decode()
        self._changes.append((self._head.position, subject, subject_id, kind, version, self.actor, at, encoded))
        return self._head.position

    def _document(self, edit: Edit, people: dict[str, list[Any]], facets: Facets) -> MovieDocument:
        content, before = edit.content, edit.before
        plain: dict[str, Any] = {name: getattr(content, name) for name in CONTENT_FIELDS if name not in CREDIT_LISTS}
        for field, kind in FACET_LISTS.items():
            names = [facets[kind, identity(name)].name for name in plain[field]]
            plain[field] = list(dict.fromkeys(names))
        return MovieDocument(
            id=before.id if before else 0,
            version=before.version if before else 0,
            position=before.position if before else 0,
            updated_at=self.now,
            **(plain | people),
        )

    def _stamp(self, document: MovieDocument, edit: Edit, changed: dict[str, Any]) -> None:
        """Give a document its id, version and position, and append its change."""
        if edit.before is not None:
            document.version = edit.before.version + 1
            document.position = self._change("movie", document.id, "updated", document.version, {"fields": changed})
            return
        document.version = 1
        if edit.adopted is not None:
            document.id, document.version = edit.adopted.id, min(edit.adopted.version, MAX_POSITION)
            document.updated_at = edit.adopted.updated_at
            # A position may leave numbers out, never repeat one: an export in order of position keeps its own.
            if edit.adopted.position <= MAX_POSITION:
                self._head.position = max(self._head.position, edit.adopted.position - 1)
        document.id = document.id or self._head.last_movie_id + 1
        if document.id > MAX_ID:
            raise Conflict(f"{MAX_ID} is the largest movie id; this catalogue is full.")
        self._head.last_movie_id = max(self._head.last_movie_id, document.id)
        document.position = self._change("movie", document.id, "created", document.version, {})

    def _release_ids(self, fresh: Collection[MovieDocument]) -> None:
        """Take external ids over from tombstones; refuse those of other live movies, and the same id twice."""
        wanted: dict[ExternalId, int] = {}
        for document in fresh:
            for item in known_ids(document.ids):
                if wanted.setdefault(item, document.id) != document.id:
                    raise Conflict(f"{item} stands in two of these movies.")
        taken = {item: owner for item, owner in self.owners(wanted).items() if owner != wanted[item]}
        gone = self.tombstones(set(taken.values()))
        for item, owner in taken.items():
            if owner not in gone:
                raise Conflict(f"{item} is movie {owner} already; change that one, or merge the two.")
            models.ExternalIdRow.objects.filter(scheme=item.scheme, value=item.value).delete()

    def _count_facets(self, *, gained: Iterable[MovieDocument], lost: Iterable[MovieDocument]) -> None:
        delta: Counter[tuple[str, str]] = Counter()
        for several, step in ((gained, 1), (lost, -1)):
            for document in several:
                for kind, names in rows.facets_of(document):
                    delta.update({(kind, name): step for name in names})
        add_to_facet_counts([(step, *key) for key, step in delta.items() if step])


def changed_fields(before: MovieDocument | None, after: MovieDocument) -> dict[str, Any]:
    """Return the fields whose value differs, each with what it was and what it is."""
    if before is None:
        return {}
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in CONTENT_FIELDS)
    return {name: [old, new] for name, old, new in pairs if old != new}
