"""Rename people and genres, and what follows: every movie that shows the name gets a new version. Called by the admin.

Each function is one transaction: a reader never meets half of a rename. The movies in it are rewritten in batches, so that
memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models as orm

from matinee.domain.movie import tidy_name
from matinee.domain.ranking import name_key, title_key
from matinee.domain.text import identity
from matinee.errors import Conflict, InvalidBody, NotFound, StaleVersion
from matinee.storage import models
from matinee.storage.writer import Leader, Transaction

BATCH_MOVIES = 500

_leader = Leader()


def create_person(name: str, actor: str) -> int:
    """Add a person and return the id."""
    with _leader.transaction(actor) as work:
        return work.new_person(_checked(name)).id


def create_genre(name: str, actor: str) -> int:
    """Add a genre and return the id. Raises: Conflict when there is one of that name."""
    with _leader.transaction(actor) as work:
        _require_free("genre", _checked(name), None)
        return work.new_facet("genre", _checked(name)).id


def rename_person(person_id: int, name: str, version: int, actor: str) -> None:
    """Rename a person and rewrite their movies. Raises: NotFound, StaleVersion."""
    with _leader.transaction(actor) as work:
        person = _current(models.Person, person_id, version, "person")
        movies = models.Credit.objects.filter(person_id=person_id)
        _rename(work, person, _checked(name), name_key(name), "person", movies)


def rename_genre(genre_id: int, name: str, version: int, actor: str) -> None:
    """Rename a genre and rewrite its movies. Raises: NotFound, StaleVersion, Conflict when another one has the name."""
    with _leader.transaction(actor) as work:
        genre = _current(models.Facet, genre_id, version, "genre")
        _require_free("genre", _checked(name), genre_id)
        movies = models.MovieFacet.objects.filter(facet_id=genre_id)
        _rename(work, genre, _checked(name), title_key(name), "genre", movies)


def delete_person(person_id: int, actor: str) -> None:
    """Delete a person who has no movies. Raises: NotFound; Conflict while there are movies."""
    with _leader.transaction(actor) as work:
        person = _current(models.Person, person_id, None, "person")
        if models.Credit.objects.filter(person_id=person_id).exists():
            raise Conflict(f"{person.name} still has movies; take the credits away first.")
        work.note("person", person_id, "deleted", person.version + 1, {"before": {"name": person.name}})
        person.delete()


def delete_genre(genre_id: int, actor: str) -> None:
    """Delete a genre that has no movies. Raises: NotFound; Conflict while there are movies."""
    with _leader.transaction(actor) as work:
        genre = _current(models.Facet, genre_id, None, "genre")
        if models.MovieFacet.objects.filter(facet_id=genre_id).exists():
            raise Conflict(f"{genre.name} still has movies; take it off them first.")
        work.note("genre", genre_id, "deleted", genre.version + 1, {"before": {"name": genre.name}})
        genre.delete()


def _rename(
    work: Transaction,
    named: models.Person | models.Facet,
    name: str,
    name_fold: str,
    subject: str,
    movies: orm.QuerySet[models.Credit] | orm.QuerySet[models.MovieFacet],
) -> None:
    if named.name == name:
        return
    detail = {"fields": {"name": [named.name, name]}}
    named.name, named.name_fold, named.version = name, name_fold, named.version + 1
    named.save()
    position = work.note(subject, named.id, "updated", named.version, detail)
    for ids in _batches(movies):
        work.rebuild(ids, {"fields": {}, "because": position})


def _batches(movies: orm.QuerySet[models.Credit] | orm.QuerySet[models.MovieFacet]) -> Iterator[list[int]]:
    after = 0
    while ids := list(
        movies.filter(movie__gt=after).order_by("movie").values_list("movie", flat=True).distinct()[:BATCH_MOVIES]
    ):
        yield ids
        after = ids[-1]


def _current(model: type[Any], pk: int, version: int | None, what: str) -> Any:
    found = model.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no {what} {pk}.")
    if version is not None and found.version != version:
        raise StaleVersion(
            f"{found.name} has changed since you opened it (version {version} then, {found.version} now); open it again.",
            current_version=found.version,
        )
    return found


def _require_free(kind: str, name: str, own_id: int | None) -> None:
    for other in models.Facet.objects.filter(kind=kind, name_fold=title_key(name)).exclude(pk=own_id or 0):
        if identity(other.name) == identity(name):
            raise Conflict(f"There is a {kind} {other.name!r} already; choose another name.")


def _checked(name: str) -> str:
    try:
        return tidy_name(name)
    except InvalidBody as error:
        raise InvalidBody(f"A name has 1 to 300 visible characters; {error.detail}.", faults=error.faults) from error
