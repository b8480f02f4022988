"""Write a batch of imported records: find the movie that each one is, change what differs, add what is new.

Called by the importers. One transaction a batch, a constant number of statements. Invariants: writing the same records twice
changes nothing the second time; two documents of one file that have different ids of ours are never one movie; a movie that was
merged into another one does not come back, and its record does not change the other one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from matinee.domain.ids import ExternalId, fynd_id
from matinee.domain.movie import MAX_ADOPTED_ID, MovieContent, MovieDocument, content_of, known_ids
from matinee.domain.text import identity
from matinee.errors import Conflict, RequestError
from matinee.storage.writer import Edit, Leader, Transaction

_leader = Leader()


@dataclass(frozen=True)
class Record:
    """One record of a file: what it states of a movie, by field; what it does not name is left as it is.

    `line` is where it stands; `document` is there when the record is a whole document of an export. `former_id` is the external
    id that an earlier version of Matinee made for such a record.
    """

    line: int
    content: MovieContent
    stated: frozenset[str]
    document: MovieDocument | None = None
    former_id: ExternalId | None = None

    @property
    def own_id(self) -> int:
        """Return our own id that the record states, 0 when it states none."""
        return self.document.id if self.document else 0


@dataclass
class Outcome:
    """What became of a batch's records."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: list[tuple[Record, str]] = field(default_factory=list)


class Claims:
    """Which document of a run each movie belongs to, by the document's own id.

    It keeps the documents of one export apart: a movie that belongs to one of them is no match for another.
    Cost: about 5 bytes for each movie that a document was written to; nothing for records of the flat form.
    """

    _PAGE = 256

    def __init__(self) -> None:
        self._pages: dict[int, array[int]] = {}

    def owner(self, movie_id: int) -> int:
        """Return the own id of the document that the movie belongs to, 0 when it is free."""
        page = self._pages.get(movie_id // self._PAGE)
        return page[movie_id % self._PAGE] if page else 0

    def add(self, movie_id: int, own_id: int) -> None:
        """Note that a movie belongs to a document; the first one keeps it."""
        page = self._pages.setdefault(movie_id // self._PAGE, array("I", bytes(self._PAGE * 4)))
        page[movie_id % self._PAGE] = page[movie_id % self._PAGE] or own_id

    def is_free(self, movie_id: int, own_id: int) -> bool:
        """Return whether a record may be this movie; one without an id of ours may be any."""
        return not own_id or self.owner(movie_id) in (0, own_id)


def split(records: Iterator[Record], batch_rows: int) -> Iterator[list[Record]]:
    """Yield batches in which no record may be the movie of another one: it must find what an earlier record wrote."""
    batch: list[Record] = []
    ids: set[object] = set()
    keys: dict[bool, set[object]] = {True: set(), False: set()}  # by whether the record is a document
    for record in records:
        stated, key = {record.own_id or None, *known_ids(record.content.ids)} - {None}, _natural_key(record.content)
        # Two documents are told apart by their own ids; only a record without one may be the movie of the same title.
        is_same = key in keys[False] or (record.document is None and key in keys[True])
        is_same = is_same and _is_nameless(record.content)
        if len(batch) == batch_rows or is_same or not ids.isdisjoint(stated):
            yield batch
            batch, ids, keys = [], set(), {True: set(), False: set()}
        batch.append(record)
        ids |= stated
        keys[record.document is not None].add(key)
    if batch:
        yield batch


def write(records: Sequence[Record], actor: str, claims: Claims | None = None) -> Outcome:
    """Write the records in one transaction; if one of them is refused, write them one by one and say which.

    `claims` are those of the whole run that the records belong to.
    """
    claims = claims or Claims()
    try:
        return _write(records, actor, claims)
    except RequestError as error:
        if len(records) == 1:
            return Outcome(rejected=[(records[0], error.detail)])
    total = Outcome()
    for record in records:
        part = write([record], actor, claims)
        total.added += part.added
        total.changed += part.changed
        total.unchanged += part.unchanged
        total.rejected += part.rejected
    return total


def _write(records: Sequence[Record], actor: str, claims: Claims) -> Outcome:
    with _leader.transaction(actor) as work:
        matches, outcome = _Matches(work, records, claims), Outcome()
        kept = [record for record in records if not matches.is_merged(record)]
        outcome.unchanged = len(records) - len(kept)
        edits = [_edit(record, matches) for record in kept]
        saved = work.save(edits)
        for edit, document in zip(edits, saved, strict=True):
            if edit.before is None:
                outcome.added += 1
            elif document.version == edit.before.version:
                outcome.unchanged += 1
            else:
                outcome.changed += 1
    for record, document in zip(kept, saved, strict=True):
        if record.own_id:
            claims.add(document.id, record.own_id)
    return outcome


def _edit(record: Record, matches: _Matches) -> Edit:
    before = matches.find(record)
    if before is None and matches.may_adopt(record):
        return Edit(record.content, adopted=record.document, people_ids="adopt")
    if before is None:
        return Edit(record.content, people_ids="hint")
    content = content_of(before)
    for name in record.stated:
        setattr(content, name, _stated(name, content, record))
    return Edit(content, before=before, people_ids="hint")


def _stated(name: str, content: MovieContent, record: Record) -> Any:
    value = getattr(record.content, name)
    if name != "ids":
        return value
    # A record that knows one catalogue's id does not deny the others.
    return msgspec.structs.replace(
        content.ids, **{scheme: known for scheme, known in msgspec.structs.asdict(value).items() if known is not None}
    )


class _Matches:
    """Which live movie each record of a batch is: by an external id, by our own id, or by title, year and directors.

    No two records of a batch are one movie. An external id of a merged movie is one of the movie that it was merged into.
    """

    def __init__(self, work: Transaction, records: Sequence[Record], claims: Claims) -> None:
        self._claims = claims
        self._found: set[int] = set()
        external = {item for record in records for item in (*known_ids(record.content.ids), record.former_id) if item}
        self._owners: dict[ExternalId, int] = work.owners(external)
        self._titles = work.same_title([record.content for record in records if _is_nameless(record.content)])
        own = {record.own_id for record in records if record.own_id}
        same = {
            pk
            for record in records
            for pk in self._titles.get(_title_and_year(record.content), ())
            if claims.is_free(pk, record.own_id)
        }
        stones = work.tombstones(own | set(self._owners.values()))
        self._merged = {pk: stone.merged_into for pk, stone in stones.items() if stone.merged_into}
        numbers = own | {self._former_owner(record) for record in records}
        self._before_merge = work.last_contents([stones[pk] for pk in numbers & self._merged.keys()])
        self._live = work.load(own | set(self._owners.values()) | set(self._merged.values()) | same)
        self._taken = self._live.keys() | (own & stones.keys())

    def is_merged(self, record: Record) -> bool:
        """Return whether the record is a movie that was merged into another one. Raises: Conflict as `find`.

        Its external ids are all of merged movies, or its own id or former id is of one with the same title and directors.
        """
        if not self._merged:
            return False
        survivors = self._survivors(record)
        if survivors and not self._named(record) & self._live.keys():
            return True
        gone = record.own_id or self._former_owner(record)
        last = self._before_merge.get(gone)
        if last is None or not survivors <= {self._merged[gone]}:
            return False
        return _is_former(last, record) or (
            _natural_key(last) == _natural_key(record.content) and not _contradicts(last, record)
        )

    def find(self, record: Record) -> MovieDocument | None:
        """Return the movie that the record is, None when it is a new one. Raises: Conflict when it would be two."""
        owners = self._survivors(record)
        for owner in owners:
            self._require_unclaimed(owner, record)
        found = self._live[owners.pop()] if owners else self._without_ids(record)
        if found is not None and found.id in self._found:  # by two of its ids; written one by one, both are heeded
            raise Conflict(f"two records are movie {found.id}")
        self._found.add(found.id if found else 0)
        return found

    def _without_ids(self, record: Record) -> MovieDocument | None:
        return self._by_former_id(record) or self._by_own_id(record) or self._by_nature(record)

    def _named(self, record: Record) -> set[int]:
        """Return the movies, live or gone, that have one of the record's external ids."""
        return {self._owners[item] for item in known_ids(record.content.ids) if item in self._owners}

    def _survivors(self, record: Record) -> set[int]:
        """Return the live movie that the record's external ids lead to, if any. Raises: Conflict when they lead to several."""
        found = {self._merged.get(pk, pk) for pk in self._named(record)} & self._live.keys()
        if len(found) > 1:
            ids = ", ".join(map(str, known_ids(record.content.ids)))
            raise Conflict(f"its ids {ids} belong to the movies {sorted(found)}; merge them first")
        return found

    def _require_unclaimed(self, movie_id: int, record: Record) -> None:
        if self._claims.is_free(movie_id, record.own_id):
            return
        ids = ", ".join(str(item) for item in known_ids(record.content.ids) if item in self._owners)
        raise Conflict(
            f"{ids} is in the document {self._claims.owner(movie_id)} of this input, too; correct the one that is wrong, "
            "or import the exports of two catalogues one after the other"
        )

    def _former_owner(self, record: Record) -> int:
        return self._owners.get(record.former_id, 0) if record.former_id else 0

    def _by_former_id(self, record: Record) -> MovieDocument | None:
        movie = self._live.get(self._former_owner(record))
        return movie if movie is not None and self._is_free(movie.id, record) and _is_former(movie, record) else None

    def _by_own_id(self, record: Record) -> MovieDocument | None:
        own = self._live.get(record.own_id)
        if own is None or not self._is_free(own.id, record) or _contradicts(own, record):
            return None
        return own if _natural_key(own) == _natural_key(record.content) else None

    def _by_nature(self, record: Record) -> MovieDocument | None:
        """Return the free movie of the same title, year and directors: the one that states the same, else the oldest."""
        if not _is_nameless(record.content):
            return None
        same = self._titles.get(_title_and_year(record.content), ())
        free = [self._live[pk] for pk in same if pk in self._live and self._is_free(pk, record)]
        key = _natural_key(record.content)
        found = [movie for movie in free if _natural_key(movie) == key]
        return next((movie for movie in found if _states_the_same(movie, record)), found[0] if found else None)

    def _is_free(self, movie_id: int, record: Record) -> bool:
        return movie_id not in self._found and self._claims.is_free(movie_id, record.own_id)

    def may_adopt(self, record: Record) -> bool:
        """Return whether the record is a document of an export whose id is free here, and leaves others free."""
        return 0 < record.own_id <= MAX_ADOPTED_ID and record.own_id not in self._taken


def _is_nameless(content: MovieContent) -> bool:
    # An id of fynd is made of title and director by ourselves: it is no other catalogue's.
    return all(item.scheme == "fynd" for item in known_ids(content.ids))


def _is_former(movie: MovieDocument, record: Record) -> bool:
    """Return whether an earlier version made the movie's id of fynd from what the record states.

    Several records had that id in common, so title and directors must agree, and today's rule must give the movie another id.
    The year may differ: the record states none, and people add it.
    """
    if record.former_id not in known_ids(movie.ids) or identity(movie.title) != identity(record.content.title):
        return False
    directors = [person.name for person in movie.directors]
    stated = {identity(person.name or "") for person in record.content.directors}
    is_todays = any(fynd_id(movie.title, name) == record.former_id for name in directors or [""])
    return stated <= set(map(identity, directors)) and not is_todays


def _contradicts(movie: MovieDocument, record: Record) -> bool:
    """Return whether another catalogue has two ids for the two; an id of fynd is ours, and we have made it in several ways."""
    theirs = dict(known_ids(record.content.ids))
    return any(theirs.get(scheme, value) != value for scheme, value in known_ids(movie.ids) if scheme != "fynd")


def _states_the_same(movie: MovieDocument, record: Record) -> bool:
    return all(
        _comparable(getattr(movie, name)) == _comparable(getattr(record.content, name))
        for name in record.stated
        if name != "ids"
    )


def _comparable(value: Any) -> Any:
    # A person's id is a hint in a record; the name says who it is.
    if not isinstance(value, list):
        return value
    return [(item.name, getattr(item, "character", None)) if hasattr(item, "name") else item for item in value]


def _title_and_year(content: MovieContent | MovieDocument) -> tuple[str, int | None]:
    return identity(content.title), content.year


def _natural_key(content: MovieContent | MovieDocument) -> tuple[Any, ...]:
    """Return what tells movies without ids of other catalogues apart."""
    return *_title_and_year(content), frozenset(identity(person.name or "") for person in content.directors)
