"""Turn the names in a movie into people and facets, adding those that nobody knows yet.

Called by the writer, inside its transaction, for a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from matinee.domain.movie import MAX_ADOPTED_PERSON_ID, MAX_PERSON_ID, CastMember, CastRef, MovieContent, Person, PersonRef
from matinee.domain.ranking import name_key, title_key
from matinee.domain.text import identity
from matinee.errors import Conflict, Fault
from matinee.storage import models
from matinee.storage.bulk import insert_rows
from matinee.storage.rows import CREDIT_LISTS, facets_of

Facets = dict[tuple[str, str], models.Facet]  # by kind and identity of the name

# What a person's id in a movie means: it must be right; it is a hint beside the name; it may be taken over where it is free.
IdPolicy = Literal["strict", "hint", "adopt"]


def resolve_facets(contents: Iterable[Any], head: models.LogHead) -> Facets:
    """Return the facets that these movies name. Cost: 1 query, and 1 statement when some are new."""
    wanted: dict[tuple[str, str], str] = {}
    for content in contents:
        for kind, names in facets_of(content):
            for name in names:
                wanted.setdefault((kind, identity(name)), name)
    # Names of one identity share their fold, so the index of folds finds the candidates.
    kinds, folds = {kind for kind, _ in wanted}, {title_key(name) for name in wanted.values()}
    found = models.Facet.objects.filter(kind__in=kinds, name_fold__in=folds)
    known = {(facet.kind, identity(facet.name)): facet for facet in found}
    new = []
    for (kind, key), name in wanted.items():
        if (kind, key) not in known:
            head.last_facet_id += 1
            facet = models.Facet(id=head.last_facet_id, kind=kind, name=name, name_fold=title_key(name))
            known[kind, key] = facet
            new.append(facet)
    models.Facet.objects.bulk_create(new)
    return known


def resolve_people(contents: Sequence[tuple[MovieContent, IdPolicy]], head: models.LogHead) -> list[dict[str, list[Any]]]:
    """Return each movie's people by list, with ids and names; with what its ids of people mean.

    Raises: Conflict for an id that nobody has, or that somebody of another name has.
    Cost: 2 queries, and 1 statement when some are new.
    """
    refs = [ref for content, _ in contents for field in CREDIT_LISTS for ref in getattr(content, field)]
    people = _People(refs, head)
    resolved = [
        {field: people.all(field, getattr(content, field), policy) for field in CREDIT_LISTS} for content, policy in contents
    ]
    insert_rows("person", ("id", "name", "name_fold", "version"), people.new)
    return resolved


class _People:
    """The people that a batch refers to: looked up by id first, then by name, then added."""

    def __init__(self, refs: Sequence[PersonRef], head: models.LogHead) -> None:
        person = models.Person.objects
        self._head = head
        self._by_id = dict(person.filter(id__in={ref.id for ref in refs if ref.id}).values_list("id", "name"))
        named = person.filter(name__in={ref.name for ref in refs if ref.name}).order_by("-id")
        # The last one wins in a dictionary: of several people of one name, the one with the lowest id.
        self._by_name: dict[str, int] = dict(named.values_list("name", "id"))
        self.new: list[tuple[int, str, str, int]] = []

    def all(self, field: str, refs: Sequence[PersonRef], policy: IdPolicy) -> list[Any]:
        """Return the people of one list, nobody twice in the same part."""
        people: dict[tuple[Any, ...], Any] = {}
        for index, ref in enumerate(refs):
            person_id, name = self._one(f"/{field}/{index}", ref, policy)
            if isinstance(ref, CastRef):
                people.setdefault((person_id, ref.character), CastMember(person_id, name, ref.character, ref.order))
            else:
                people.setdefault((person_id,), Person(person_id, name))
        return list(people.values())

    def _one(self, pointer: str, ref: PersonRef, policy: IdPolicy) -> tuple[int, str]:
        known = self._by_id.get(ref.id) if ref.id else None
        if ref.id and known is not None and ref.name in (None, known):
            return ref.id, known
        if ref.name is None:
            raise _refused(pointer, f"there is no person {ref.id}; give a name instead")
        if policy == "adopt" and ref.id and known is None and ref.id <= MAX_ADOPTED_PERSON_ID:
            return self._add(ref.id, ref.name), ref.name
        if ref.id and policy == "strict":
            what = f"is {known!r}, not {ref.name!r}" if known else "is not there"
            raise _refused(pointer, f"person {ref.id} {what}; give only the name, or rename the person first")
        found = self._by_name.get(ref.name)
        return found or self._add(self._head.last_person_id + 1, ref.name), ref.name

    def _add(self, person_id: int, name: str) -> int:
        if person_id > MAX_PERSON_ID:
            raise Conflict(f"{MAX_PERSON_ID} is the largest id of a person; this catalogue is full.")
        self._head.last_person_id = max(self._head.last_person_id, person_id)
        self._by_id[person_id] = name
        self._by_name.setdefault(name, person_id)
        self.new.append((person_id, name, name_key(name), 1))
        return person_id


def _refused(pointer: str, detail: str) -> Conflict:
    return Conflict(f"{pointer}: {detail}.", faults=(Fault(pointer, detail),))
