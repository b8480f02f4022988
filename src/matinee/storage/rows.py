"""Movies between their normalised rows and their documents, for whole sets of ids at once.

Called by the writer. Each function uses a constant number of queries, however many movies it is given.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from matinee.domain import ranking
from matinee.domain.ids import ExternalId
from matinee.domain.movie import (
    Awards,
    CastMember,
    Critics,
    Ids,
    MovieDocument,
    Person,
    Rating,
    known_ids,
)
from matinee.domain.text import identity
from matinee.storage import models
from matinee.storage.bulk import delete_rows, insert_rows, upsert_rows

# Each list of names in a document, and the kind of facet that it is stored as.
FACET_LISTS = {"genres": "genre", "languages": "language", "countries": "country", "companies": "company"}
CREDIT_LISTS = {"directors": "director", "writers": "writer", "cast": "cast"}

_MOVIE_COLUMNS = (
    "id", "version", "position", "title", "original_title", "year", "released", "runtime_min", "overview", "tagline",
    "certificate", "rating_average", "rating_votes", "critics_score", "critics_average", "critics_reviews",
    "critics_metascore", "popularity", "box_office_usd", "oscars", "poster", "title_fold", "updated_at",
)  # fmt: skip
_CREDIT_COLUMNS = ("movie_id", "person_id", "role", "place", "character", "billing")
_FACET_COLUMNS = ("facet_id", "movie_id", "place", "popularity_key", "rating_key", "votes_key", "year_key", "title_key")


def load(ids: Collection[int]) -> dict[int, MovieDocument]:
    """Return the live movies of these ids as documents. Cost: 4 queries."""
    facets: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    rows = models.MovieFacet.objects.filter(movie__in=ids).order_by("place")
    for movie_id, kind, name in rows.values_list("movie_id", "facet__kind", "facet__name"):
        facets[movie_id, kind].append(name)
    credited: defaultdict[tuple[int, str], list[Any]] = defaultdict(list)
    columns = ("movie_id", "role", "person_id", "person__name", "character", "billing")
    for movie_id, role, *person in models.Credit.objects.filter(movie__in=ids).order_by("place").values_list(*columns):
        credited[movie_id, role].append(CastMember(*person) if role == "cast" else Person(*person[:2]))
    external: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for movie_id, scheme, value in models.ExternalIdRow.objects.filter(movie_id__in=ids).values_list(
        "movie_id", "scheme", "value"
    ):
        external[movie_id][scheme] = value
    movies = models.Movie.objects.filter(id__in=ids)
    return {
        row["id"]: _document(row, external[row["id"]], facets, credited) for row in movies.values(*_MOVIE_COLUMNS).iterator()
    }


def _document(row: dict[str, Any], external: dict[str, str], facets: Any, credited: Any) -> MovieDocument:
    movie_id = row["id"]
    return MovieDocument(
        ids=Ids(**external),
        rating=Rating(row["rating_average"], row["rating_votes"]),
        critics=Critics(row["critics_score"], row["critics_average"], row["critics_reviews"], row["critics_metascore"]),
        awards=Awards(row["oscars"]),
        **{name: facets.get((movie_id, kind), []) for name, kind in FACET_LISTS.items()},
        **{name: credited.get((movie_id, role), []) for name, role in CREDIT_LISTS.items()},
        **{name: row[name] for name in _PLAIN_COLUMNS},
    )


_PLAIN_COLUMNS = tuple(name for name in _MOVIE_COLUMNS if name in MovieDocument.__struct_fields__)


def store(documents: Collection[MovieDocument], facet_ids: dict[tuple[str, str], int], replaced: Collection[int]) -> None:
    """Write the rows of these movies; those in `replaced` lose the rows that they had.

    Cost: 7 statements. `facet_ids` maps (kind, identity of the name) to the facet's id.
    """
    delete_rows("credit", "movie_id", replaced)
    delete_rows("movie_facet", "movie_id", replaced)
    delete_rows("external_id", "movie_id", replaced)
    upsert_rows("movie", _MOVIE_COLUMNS, [_movie_row(document) for document in documents])
    insert_rows("credit", _CREDIT_COLUMNS, [row for document in documents for row in _credit_rows(document)])
    insert_rows("movie_facet", _FACET_COLUMNS, [row for document in documents for row in _facet_rows(document, facet_ids)])
    insert_rows("external_id", ("scheme", "value", "movie_id"), [row for document in documents for row in _id_rows(document)])


def _movie_row(document: MovieDocument) -> tuple[Any, ...]:
    from_parts = {
        "rating_average": document.rating.average,
        "rating_votes": document.rating.votes,
        "critics_score": document.critics.score,
        "critics_average": document.critics.average,
        "critics_reviews": document.critics.reviews,
        "critics_metascore": document.critics.metascore,
        "oscars": document.awards.oscars,
        "title_fold": ranking.title_key(document.title),
        "updated_at": sql_time(document.updated_at),
        "released": document.released.isoformat() if document.released else None,
    }
    return tuple(from_parts[name] if name in from_parts else getattr(document, name) for name in _MOVIE_COLUMNS)


def sql_time(moment: dt.datetime) -> str:
    """Return a UTC time as Django keeps it, so that its own queries read it back."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _credit_rows(document: MovieDocument) -> Iterable[tuple[Any, ...]]:
    for name, role in CREDIT_LISTS.items():
        for place, person in enumerate(getattr(document, name)):
            character = getattr(person, "character", None)
            yield document.id, person.id, role, place, character, getattr(person, "order", None)


def _facet_rows(document: MovieDocument, facet_ids: dict[tuple[str, str], int]) -> Iterable[tuple[Any, ...]]:
    keys = (
        ranking.popularity_key(document.popularity),
        ranking.rating_key(document.rating.average),
        ranking.number_key(document.rating.votes),
        ranking.number_key(document.year),
        ranking.title_key(document.title),
    )
    for kind, names in facets_of(document):
        for place, name in enumerate(names):
            yield facet_ids[kind, identity(name)], document.id, place, *keys


def facets_of(document: Any) -> list[tuple[str, list[str]]]:
    """Return the kinds of facets that a document has, each with its names."""
    return [(kind, getattr(document, name)) for name, kind in FACET_LISTS.items()]


def _id_rows(document: MovieDocument) -> Iterable[tuple[str, str, int]]:
    for scheme, value in known_ids(document.ids):
        yield scheme, value, document.id


def owners(external: Collection[ExternalId]) -> dict[ExternalId, int]:
    """Return which movie or tombstone each external id belongs to. Cost: 1 query."""
    # The scheme begins the index: by the values alone, the whole table would be read.
    schemes, values = {item.scheme for item in external}, {item.value for item in external}
    rows = models.ExternalIdRow.objects.filter(scheme__in=schemes, value__in=values)
    found = {ExternalId(scheme, value): owner for scheme, value, owner in rows.values_list("scheme", "value", "movie_id")}
    return {item: found[item] for item in external if item in found}
