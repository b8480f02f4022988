"""Make the read model: each movie's bytes, sort keys and search text, in the transaction that changed the movie.

Called by the writer. One function for a single edit, an import's batch and a person's rename alike.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection
from typing import Any

from matinee.domain import ranking
from matinee.domain.movie import MovieDocument
from matinee.domain.representation import encode_body, encode_card
from matinee.storage import search_index
from matinee.storage.bulk import delete_rows, upsert_rows
from matinee.storage.models import MovieDocument as Row

_COLUMNS = (
    "movie_id", "version", "position", "updated_at_s", "popularity_key", "rating_key", "votes_key", "year_key",
    "runtime_key", "title_key", "search_rank", "card", "body",
)  # fmt: skip


def write(documents: Collection[MovieDocument], facet_ids: dict[tuple[str, str], int], replaced: Collection[int]) -> None:
    """Write the documents of these movies; those in `replaced` had one. Cost: 4 statements."""
    search_index.remove(_ranks(replaced))
    upsert_rows("movie_document", _COLUMNS, [_row(document) for document in documents])
    search_index.add(documents, facet_ids)


def remove(ids: Collection[int]) -> None:
    """Take these movies out of the read model. Cost: 3 statements."""
    search_index.remove(_ranks(ids))
    delete_rows("movie_document", "movie_id", ids)


def _ranks(ids: Collection[int]) -> list[int]:
    return list(Row.objects.filter(movie_id__in=ids).values_list("search_rank", flat=True)) if ids else []


def _row(document: MovieDocument) -> tuple[Any, ...]:
    return (
        document.id,
        document.version,
        document.position,
        calendar.timegm(document.updated_at.utctimetuple()),  # timestamp() rounds up the last second of the year 9999
        ranking.popularity_key(document.popularity),
        ranking.rating_key(document.rating.average),
        ranking.number_key(document.rating.votes),
        ranking.number_key(document.year),
        ranking.number_key(document.runtime_min),
        ranking.title_key(document.title),
        ranking.search_rank(document.popularity, document.id),
        encode_card(document),
        encode_body(document),
    )
