"""The list of movies: search, filters, and pages that are index ranges, at a million movies too.

Called by movies.py. A search asks the full-text index, filters included; without one, a filter walks the index of its genre or
year. The rows are drawn from the cards of the read model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from matinee.domain import search, tsquery
from matinee.domain.ids import SCHEMES, parse_ref
from matinee.domain.movie import Card
from matinee.domain.ranking import movie_id_of
from matinee.errors import InvalidParameter
from matinee.http.admin.keyset import KeysetChangeList
from matinee.storage.models import ExternalIdRow, Genre, Movie, MovieDocument, MovieFacet

SHOWN_NAMES = 4
MAX_GENRES = 500  # in the box of the filter; a catalogue has a few dozen
_BARE = ("imdb", "wikidata")  # ids that tell their catalogue by their form
# What each engine calls the full-text index, and how it is asked.
_MATCH = {
    "sqlite": "SELECT rowid FROM movie_search WHERE movie_search MATCH %s AND rowid > %s ORDER BY rowid LIMIT %s",
    "postgresql": (
        "SELECT search_rank FROM movie_search WHERE words @@ %s::tsquery AND search_rank > %s ORDER BY search_rank LIMIT %s"
    ),
}


class GenreFilter(DropdownFilter):  # type: ignore[misc]  # unfold has no types
    """Movies of one genre; its value is the genre's id. MovieList.page applies it."""

    title = "genre"
    parameter_name = "genre"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """Return the genres. Cost: 1 query."""
        genres = Genre.objects.filter(kind="genre").order_by("name_fold")
        return list(genres.values_list("pk", "name")[:MAX_GENRES])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return all rows."""
        return queryset


class YearFilter(TextFilter):  # type: ignore[misc]  # unfold has no types
    """Movies of one year. MovieList.page applies it."""

    title = "year"
    parameter_name = "year"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return all rows."""
        return queryset


@dataclass(frozen=True)
class Wanted:
    """What a list asks for."""

    text: str
    genre: int | None
    year: int | None

    def found(self, after: str, limit: int) -> list[tuple[str, int]]:
        """Return movies, each with the key behind which the next page begins. Raises: ValueError when `after` is none."""
        if not self.text:
            return [(str(pk), pk) for pk in self._newest(int(after) if after else None, limit)]
        named, only = named_movies(self.text)
        if only:
            return [("", pk) for pk in named]
        tier, _, rank = (after or "0:-1").partition(":")
        rest = [row for row in self._matches(int(tier), int(rank), limit) if row[1] not in named]
        return rest if after else [*(("0:-1", pk) for pk in named), *rest][:limit]

    def _newest(self, before: int | None, limit: int) -> list[int]:
        rows: QuerySet[Any] = MovieDocument.objects.all()
        if self.genre is not None:
            rows = MovieFacet.objects.filter(facet_id=self.genre)
        if self.year is not None:
            rows = rows.filter(year_key=self.year)
        if before is not None:
            rows = rows.filter(movie_id__lt=before)
        return list(rows.order_by("-movie_id").values_list("movie_id", flat=True)[:limit])

    def _matches(self, first: int, rank: int, limit: int) -> list[tuple[str, int]]:
        words = search.words_of(self.text)
        if not words.forms:
            return []
        language = tsquery if connection.vendor == "postgresql" else search
        tiers = language.tiers(words, [] if self.genre is None else [[self.genre]], None, only_year=self.year)
        found: list[tuple[str, int]] = []
        for tier in range(first, len(tiers)):
            with connection.cursor() as cursor:
                cursor.execute(_MATCH[connection.vendor], (tiers[tier], rank if tier == first else -1, limit - len(found)))
                found += [(f"{tier}:{row}", movie_id_of(row)) for (row,) in cursor.fetchall()]
            if len(found) >= limit:
                break
        return found


def named_movies(text: str) -> tuple[list[int], bool]:
    """Return the movies that the text is an id of, and whether it can be nothing else: a number may be a title too."""
    text = text.strip()
    for scheme in _BARE:
        if SCHEMES[scheme][0].fullmatch(text):
            text = f"{scheme}:{text}"
    try:
        ref = parse_ref(text)
    except InvalidParameter:
        return [], False
    if isinstance(ref, int):
        return list(Movie.objects.filter(pk=ref).values_list("pk", flat=True)), False
    owners = ExternalIdRow.objects.filter(scheme=ref.scheme, value=ref.value)
    return list(owners.values_list("movie_id", flat=True)), True


class MovieList(KeysetChangeList):
    """One page of movies. Cost: 2 queries, up to 5 for a search."""

    def page(self) -> tuple[list[Movie], str | None]:
        """Return the movies of this page and the key of the next one."""
        found = self._wanted().found(self.after, self.list_per_page + 1)
        shown, more = found[: self.list_per_page], len(found) > self.list_per_page
        return list(movies_of([pk for _, pk in shown])), shown[-1][0] if more else None

    def _wanted(self) -> Wanted:
        genre, year = self.params.get("genre"), self.params.get("year")
        return Wanted(self.query.strip(), int(genre) if genre else None, int(year) if year else None)


def movies_of(ids: list[int]) -> Iterator[Movie]:
    """Return live movies in this order, made from their cards. Cost: 1 query."""
    columns = ("movie_id", "version", "card")
    cards = {row[0]: row for row in MovieDocument.objects.filter(pk__in=ids).values_list(*columns)}
    for movie_id in ids:
        if movie_id in cards:  # it may have been deleted since it was found
            _, version, encoded = cards[movie_id]
            card = msgspec.json.decode(encoded, type=Card)
            movie = Movie(id=movie_id, version=version, title=card.title, year=card.year)
            vars(movie)["card"] = card
            yield movie


def card_of(movie: Movie) -> Card:
    """Return the card that a listed movie was made from."""
    card: Card = vars(movie)["card"]
    return card


class MovieColumns:
    """The columns of the list, for the movies' page."""

    list_display = ("title", "year", "directed_by", "of_genres", "rated", "id", "version")
    list_filter = (GenreFilter, YearFilter)
    list_filter_submit = True
    search_fields = ("title",)  # that there is a search at all; MovieList.page does it
    search_help_text = "Titles, people, an id, or imdb:tt0078748"

    @admin.display(description="Directors")
    def directed_by(self, obj: Movie) -> str:
        """Return the names of the directors, of many the first."""
        names = [person.name for person in card_of(obj).directors]
        more = [f"and {len(names) - SHOWN_NAMES} more"] if len(names) > SHOWN_NAMES else []
        return ", ".join(names[:SHOWN_NAMES] + more)

    @admin.display(description="Genres")
    def of_genres(self, obj: Movie) -> str:
        """Return the names of the genres."""
        return ", ".join(card_of(obj).genres)

    @admin.display(description="Rating")
    def rated(self, obj: Movie) -> str:
        """Return the average and the number of votes."""
        rating = card_of(obj).rating
        return "" if rating.average is None else f"{rating.average:.1f} ({rating.votes or 0:,})"
