"""Write a batch of imported records: find the movie that each one is, change what differs, add what is new.

Called by the importers. One transaction a batch, a constant number of statements. Invariant: writing the same records twice
changes nothing the second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from matinee.domain.ids import ExternalId
from matinee.domain.movie import MovieContent, MovieDocument, content_of, known_ids
from matinee.domain.ranking import title_key
from matinee.errors import Conflict, RequestError
from matinee.storage.writer import Edit, Leader, Transaction

_leader = Leader()


@dataclass(frozen=True)
class Record:
    """One record of a file: what it states of a movie, by field; what it does not name is left as it is.

    `line` is where it stands; `document` is there when the record is a whole document of an export.
    """

    line: int
    content: MovieContent
    stated: frozenset[str]
    document: MovieDocument | None = None

    def identity(self) -> list[Any]:
        """Return what no two records of one batch may share."""
        own = [self.document.id] if self.document else []
        return [*own, *known_ids(self.content.ids), _natural_key(self.content)]


@dataclass
class Outcome:
    """What became of a batch's records."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: list[tuple[Record, str]] = field(default_factory=list)


def write(records: Sequence[Record], actor: str) -> Outcome:
    """Write the records in one transaction; if one of them is refused, write them one by one and say which."""
    try:
        return _write(records, actor)
    except RequestError as error:
        if len(records) == 1:
            return Outcome(rejected=[(records[0], error.detail)])
    total = Outcome()
    for record in records:
        part = write([record], actor)
        total.added += part.added
        total.changed += part.changed
        total.unchanged += part.unchanged
        total.rejected += part.rejected
    return total


def _write(records: Sequence[Record], actor: str) -> Outcome:
    with _leader.transaction(actor) as work:
        matches = _Matches(work, records)
        edits = [_edit(record, matches) for record in records]
        outcome = Outcome()
        for edit, document in zip(edits, work.save(edits), strict=True):
            if edit.before is None:
                outcome.added += 1
            elif document.version == edit.before.version:
                outcome.unchanged += 1
            else:
                outcome.changed += 1
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
    """Which live movie each record of a batch is: by an external id, by our own id, or by title, year and directors."""

    def __init__(self, work: Transaction, records: Sequence[Record]) -> None:
        external = {item for record in records for item in known_ids(record.content.ids)}
        self._owners: dict[ExternalId, int] = work.owners(external)
        nameless = [record.content for record in records if not known_ids(record.content.ids)]
        self._titles = work.same_title(nameless)
        own = {record.document.id for record in records if record.document}
        self._live = work.load(own | set(self._owners.values()) | {pk for ids in self._titles.values() for pk in ids})
        self._taken = self._live.keys() | work.tombstones(own).keys()

    def find(self, record: Record) -> MovieDocument | None:
        """Return the movie that the record is, None when it is a new one. Raises: Conflict when it would be two."""
        ids = known_ids(record.content.ids)
        owners = {self._owners[item] for item in ids if item in self._owners} & self._live.keys()
        if len(owners) > 1:
            raise Conflict(f"its ids {', '.join(map(str, ids))} belong to the movies {sorted(owners)}; merge them first")
        if owners:
            return self._live[owners.pop()]
        own = self._live.get(record.document.id) if record.document else None
        if own is not None and _natural_key(content_of(own)) == _natural_key(record.content):
            return own
        return None if ids else self._by_nature(record.content)

    def _by_nature(self, content: MovieContent) -> MovieDocument | None:
        key = _natural_key(content)
        same = self._titles.get((title_key(content.title), content.year), ())
        found = (self._live[pk] for pk in same if pk in self._live)
        return next((movie for movie in found if _natural_key(content_of(movie)) == key), None)

    def may_adopt(self, record: Record) -> bool:
        """Return whether the record is a document of an export whose id is free here."""
        return record.document is not None and record.document.id not in self._taken


def _natural_key(content: MovieContent) -> tuple[Any, ...]:
    """Return what tells movies without ids of other catalogues apart."""
    return title_key(content.title), content.year, frozenset(person.name for person in content.directors)
