"""Rebuild everything that is made by folding, after a version of this program with other rules: sort keys and the search index.

Called by schema.migrate; servers call `fold_changed` alone. Each batch is a transaction that holds the head of the log: no
writer waits for long, and none works on the same rows. Invariant: after a kill, the next run starts again and ends in the same
state; only then does the head say that the folds are of these rules.

A server of an older version may write until the rolling restart has replaced it. It does not move `folded_position`, and
neither does any other writer while that lies behind `position`. The changes between the two are folded again by each server,
which looks once a minute, or by `matinee migrate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import F

from matinee.domain.movie import MovieDocument
from matinee.domain.ranking import name_key, search_rank, title_key
from matinee.domain.text import FOLDING, identity
from matinee.storage import models, search_index
from matinee.storage.rows import facets_of

BATCH_ROWS = 1_000
_decode = msgspec.json.Decoder(MovieDocument).decode


def is_due() -> bool:
    """Return whether the catalogue was folded by other rules than this program's."""
    return not models.LogHead.objects.filter(pk=1, folding__gte=FOLDING).exists()


def behind() -> int:
    """Return how many positions were written by servers of other rules and not folded again yet. Cost: 1 query."""
    position, folded = models.LogHead.objects.values_list("position", "folded_position").get(pk=1)
    return max(0, position - folded)


def run() -> None:
    """Rebuild the folds, if they are of other rules, or those that older servers have made since.

    Cost: a rebuild reads each movie once; the sample took 17 s of CPU on SQLite.
    """
    if is_due():
        _rebuild()
    while _fold_batch():
        pass


def fold_changed(head: models.LogHead, limit: int) -> bool:
    """Fold again what the next changes of older servers were of, and move `folded_position`; return whether any were left.

    `head` is locked, and its caller saves it.
    """
    if head.folding != FOLDING or head.folded_position >= head.position:
        return False
    rows = models.Change.objects.filter(position__gt=head.folded_position).order_by("position")
    changes = list(rows.values_list("position", "subject", "subject_id")[:limit])
    ids: dict[str, set[int]] = {"movie": set(), "person": set(), "other": set()}
    for _, subject, subject_id in changes:
        ids.get(subject, ids["other"]).add(subject_id)
    _fold_people(models.Person.objects.filter(pk__in=ids["person"]).values_list("id", "name"))
    _fold_facets(models.Facet.objects.filter(pk__in=ids["other"]).values_list("id", "name"))
    _fold_movies(models.MovieDocument.objects.filter(pk__in=ids["movie"]).values_list("movie_id", "body"))
    head.folded_position = changes[-1][0] if len(changes) == limit else head.position
    return True


def _fold_batch() -> bool:
    with transaction.atomic():
        head = models.LogHead.objects.select_for_update().get(pk=1)
        if is_folded := fold_changed(head, BATCH_ROWS):
            head.save(update_fields=("folded_position",))
    return is_folded


def _rebuild() -> None:
    # What older servers write from here on may lie in a part that is done already.
    models.LogHead.objects.filter(pk=1).update(folded_position=F("position"))
    _clear_index()
    for batch in _batches(models.Person, "id", "name"):
        _fold_people(batch)
    for batch in _batches(models.Facet, "id", "name"):
        _fold_facets(batch)
    for batch in _batches(models.MovieDocument, "movie_id", "body"):
        _fold_movies(batch)
    models.LogHead.objects.filter(pk=1).update(folding=FOLDING)


def _fold_people(rows: Iterable[tuple[int, str]]) -> None:
    _update(("person", "name_fold", "id"), [(name_key(name), pk) for pk, name in rows])


def _fold_facets(rows: Iterable[tuple[int, str]]) -> None:
    _update(("facet", "name_fold", "id"), [(title_key(name), pk) for pk, name in rows])


def _fold_movies(rows: Iterable[tuple[int, Any]]) -> None:
    documents = [_decode(bytes(body)) for _, body in rows]
    keys = [(title_key(document.title), document.id) for document in documents]
    _update(("movie", "title_fold", "id"), keys)
    _update(("movie_document", "title_key", "movie_id"), keys)
    _update(("movie_facet", "title_key", "movie_id"), keys)
    search_index.remove([search_rank(document.popularity, document.id) for document in documents])
    search_index.add(documents, _facet_ids(documents))


def _clear_index() -> None:
    # SQLite's index has other columns and another tokenizer now; PostgreSQL's rows are replaced one by one.
    if connection.vendor != "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DROP TABLE movie_search")
            cursor.execute(search_index.CREATE)


def _batches(model: Any, pk: str, column: str) -> Iterator[list[tuple[int, Any]]]:
    """Yield the rows (id, column) in batches, each within a transaction of its own that ends when the next one is wanted."""
    after = 0
    while True:
        with transaction.atomic():
            models.LogHead.objects.select_for_update().get(pk=1)
            rows = model.objects.filter(**{f"{pk}__gt": after}).order_by(pk)
            batch = list(rows.values_list(pk, column)[:BATCH_ROWS])
            if not batch:
                return
            yield batch
        after = batch[-1][0]


def _facet_ids(documents: list[MovieDocument]) -> dict[tuple[str, str], int]:
    named = {(kind, name) for document in documents for kind, names in facets_of(document) for name in names}
    rows = models.Facet.objects.filter(kind__in={kind for kind, _ in named}, name__in={name for _, name in named})
    return {(kind, identity(name)): pk for kind, name, pk in rows.values_list("kind", "name", "id")}


def _update(place: tuple[str, str, str], keys: list[tuple[str, int]]) -> None:
    """Set a column of the rows of these ids, where it differs."""
    table, column, pk = place
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET {column} = %s WHERE {pk} = %s AND {column} <> %s", [(key, row, key) for key, row in keys]
        )
