"""A reader that holds a whole catalogue in memory, for tests and prototypes: no file, no SQL, no index.

Invariant: it answers what the readers of the engines answer, byte for byte; tests/conformance asks all the same. It does not
change: make a new one to show other movies. Every page looks at every movie, which is good for a few thousand of them.
Called by tests.
"""

from __future__ import annotations

import calendar
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matinee.domain.change_log import ChangeLog, LogRow
from matinee.domain.freshness import AsOf, Demand
from matinee.domain.ids import ExternalId, MovieRef
from matinee.domain.movie import CastMember, MovieDocument, Person, known_ids
from matinee.domain.popularity import Window
from matinee.domain.query import FacetFilter, Filters, ListQuery, PersonFilter, SearchQuery, Sort
from matinee.domain.ranking import UNKNOWN, name_key, number_key, popularity_key, rating_key, search_rank, title_key
from matinee.domain.representation import Representation, Tombstone, encode_body, encode_card
from matinee.domain.search import Words, asked_for, title_parts, words_of, written_mark
from matinee.domain.text import fold, fold_joined, identity, is_unspaced
from matinee.errors import FuturePosition
from matinee.storage.asking import Asking
from matinee.storage.reader import CardRows, ChangeRow, GenreRow, KeyRow, PersonRow

_FACETS: dict[str, Callable[[MovieDocument], list[str]]] = {
    "genre": lambda movie: movie.genres,
    "language": lambda movie: movie.languages,
    "country": lambda movie: movie.countries,
}
_PEOPLE: dict[str, Callable[[MovieDocument], Sequence[Person | CastMember]]] = {
    "director": lambda movie: movie.directors,
    "writer": lambda movie: movie.writers,
    "cast": lambda movie: movie.cast,
}
_KEYS: dict[str, Callable[[MovieDocument], Any]] = {
    "popularity": lambda movie: popularity_key(movie.popularity),
    "rating": lambda movie: rating_key(movie.rating.average),
    "votes": lambda movie: number_key(movie.rating.votes),
    "year": lambda movie: number_key(movie.year),
    "title": lambda movie: title_key(movie.title),
    "added": lambda movie: movie.id,
}
# Unknown numbers are below all bounds from below; those from above ask that the number is known.
_BOUNDS: dict[str, Callable[[MovieDocument, int], bool]] = {
    "year": lambda movie, year: movie.year == year,
    "year_from": lambda movie, year: number_key(movie.year) >= year,
    "year_to": lambda movie, year: 0 <= number_key(movie.year) <= year,
    "rating_min": lambda movie, rating: rating_key(movie.rating.average) >= rating,
    "votes_min": lambda movie, votes: number_key(movie.rating.votes) >= votes,
    "runtime_min": lambda movie, minutes: number_key(movie.runtime_min) >= minutes,
    "runtime_max": lambda movie, minutes: 0 <= number_key(movie.runtime_min) <= minutes,
}
_SUGGESTING_MOVIES = 50  # as queries/search.sql: the most popular movies with a matching name that are looked at for people


@dataclass(frozen=True)
class Contents:
    """What a catalogue holds beside its movies."""

    tombstones: Iterable[Tombstone] = ()
    former_ids: Mapping[ExternalId, int] | None = None  # ids of other catalogues that tombstones keep
    people: Iterable[PersonRow] = ()
    genre_ids: Mapping[str, int] | None = None  # by name; counted from the movies
    changes: Iterable[ChangeRow] = ()  # those of keys too, which readers are not shown
    keys: Mapping[str, KeyRow] | None = None  # by digest; those that are not revoked
    popularity: Mapping[int, Mapping[Window, float]] | None = None  # scores by id


class MemoryReader:
    """Reads from lists and dictionaries."""

    def __init__(self, movies: Iterable[MovieDocument], contents: Contents | None = None) -> None:
        contents = contents or Contents()
        self._movies = {movie.id: movie for movie in movies}
        self._facets = {kind: {n for movie in self._movies.values() for n in names(movie)} for kind, names in _FACETS.items()}
        self._tombstones = {stone.id: stone for stone in contents.tombstones}
        self._owners = dict(contents.former_ids or {})
        self._owners.update({item: movie.id for movie in self._movies.values() for item in known_ids(movie.ids)})
        self._people = {person.id: person for person in contents.people}
        self._genre_ids = dict(contents.genre_ids or {})
        self._changes = sorted(contents.changes)
        self._keys = dict(contents.keys or {})
        self._popularity = dict(contents.popularity or {})
        self.as_of: AsOf | None = None
        self.stamp: int | None = None
        self.asking: Asking | None = None
        self.log = ChangeLog()
        rows = self._log_rows()
        self.log.begin(rows[-1] if rows else None)

    def known(self) -> AsOf | None:
        """Return the newest position: what is held does not change."""
        return AsOf(self.log.position)

    def written(self) -> int:
        """Return nothing: nobody writes here."""
        return 0

    def staleness_s(self, position: int) -> float:  # noqa: ARG002
        """Return nothing: what is held does not change."""
        return 0.0

    def _log_rows(self) -> list[LogRow]:
        return [LogRow(item.position, item.subject, item.subject_id, _log_moment(item)) for item in self._changes]

    async def log_before(self, position: int, limit: int) -> list[LogRow]:
        """Return the rows of the log before a position, in their order; the last ones, if there are more."""
        return [row for row in self._log_rows() if row.position < position][-limit:]

    def view(self, demand: Demand) -> MemoryReader:
        """Return this reader itself: what it holds is as new as it gets."""
        self.as_of = AsOf(max((change.position for change in self._changes), default=0))
        if demand.min_position > self.as_of.position and not demand.is_forgiving:
            raise FuturePosition(f"The newest position is {self.as_of.position}, not yet {demand.min_position}.")
        self.stamp = self.as_of.position
        return self

    async def movies(self, ids: Sequence[int]) -> dict[int, Representation | Tombstone]:
        """Return the movies of these ids, or what is left of them; those that never were are left out."""
        found = {movie_id: await self.movie(movie_id) for movie_id in ids}
        return {movie_id: item for movie_id, item in found.items() if item is not None}

    async def movie(self, ref: MovieRef) -> Representation | Tombstone | None:
        """Return a movie's bytes, or what is left of it, or None when there never was one."""
        movie_id = self._owners.get(ref) if isinstance(ref, ExternalId) else ref
        if movie_id not in self._movies:
            return self._tombstones.get(movie_id or 0)
        movie = self._movies[movie_id]
        return Representation(movie.id, movie.version, movie.position, _updated_at_s(movie), encode_body(movie))

    async def page(self, query: ListQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a list."""
        if query.filters.ids is not None:
            asked = [(place, movie) for place, movie in self._asked(query.filters.ids) if self._has_all(movie, query.filters)]
            return _page([((place,), movie) for place, movie in asked if place > (after[0] if after else -1)], query.limit)
        key = _KEYS[query.sort.name]
        rows = [((key(movie), movie.id), movie) for movie in self._movies.values() if self._has_all(movie, query.filters)]
        return _page(_in_order(rows, query.sort, after), query.limit)

    def _asked(self, refs: Iterable[MovieRef]) -> list[tuple[int, MovieDocument]]:
        """Return the movies of these ids with their places, those that were merged as what they were merged into."""
        found: dict[int, tuple[int, MovieDocument]] = {}
        for place, ref in enumerate(refs):
            movie_id = self._owners.get(ref, 0) if isinstance(ref, ExternalId) else ref
            stone = self._tombstones.get(movie_id)
            movie_id = stone.merged_into or 0 if stone else movie_id
            if movie_id in self._movies:
                found.setdefault(movie_id, (place, self._movies[movie_id]))
        return list(found.values())

    async def search(self, query: SearchQuery, after: tuple[Any, ...] | None) -> CardRows:
        """Return one page of a search, best first."""
        movies = [movie for movie in self._movies.values() if self._has_all(movie, query.filters)]
        return _page(_ranked(movies, words_of(query.q), query.year, after or (0, -1)), query.limit)

    async def suggest(self, q: str, limit: int) -> tuple[list[bytes], list[PersonRow]]:
        """Return titles (as cards) and people that begin like this."""
        words = words_of(q)
        titles = _ranked(self._movies.values(), words, None, (0, -1), titles_only=True)
        return [encode_card(movie) for _, movie in titles[:limit]], self._suggested_people(words)[:limit]

    def _suggested_people(self, words: Words) -> list[PersonRow]:
        """Return the people who have these words in their names, those of popular movies first."""
        matching = [movie for movie in self._movies.values() if _contains(_name_words(movie), words)]
        popular = sorted(matching, key=_search_rank)[:_SUGGESTING_MOVIES]
        found: dict[int, PersonRow] = {}
        for movie in popular:
            for person in sorted(_credited(movie), key=lambda person: person.id):
                if _is_named(person.name, words):
                    found.setdefault(person.id, PersonRow(person.id, person.name))
        return list(found.values())

    async def trending(self, window: Window, limit: int) -> list[tuple[int, float]]:
        """Return the live movies that the database counts as the most asked-for, with their scores."""
        scores = [(of[window], movie_id) for movie_id, of in self._popularity.items() if movie_id in self._movies]
        return [(movie_id, score) for score, movie_id in sorted(scores, reverse=True)[:limit]]

    async def person(self, person_id: int) -> PersonRow | None:
        """Return a person."""
        return self._people.get(person_id)

    async def genres(self) -> list[GenreRow]:
        """Return the genres by name."""
        counts = Counter(name for movie in self._movies.values() for name in movie.genres)
        return [GenreRow(self._genre_ids[name], name, counts[name]) for name in sorted(counts, key=self._in_order)]

    def _has_all(self, movie: MovieDocument, filters: Filters) -> bool:
        """Return whether everything that the filters state holds; `ids` is left to the caller."""
        facets = all(not self._named(item).isdisjoint(_FACETS[item.kind](movie)) for item in filters.facets)
        people = all(_has_person(movie, item) for item in filters.people)
        return facets and people and all(_BOUNDS[name](movie, value) for name, value in filters.bounds)

    def _named(self, item: FacetFilter) -> set[str]:
        """Return the names that a filter means: for each choice the one of its identity, else those that fold alike."""
        found: set[str] = set()
        for choice in item.names:
            exact = {name for name in self._facets[item.kind] if identity(name) == choice}
            found |= exact or {name for name in self._facets[item.kind] if title_key(name) == title_key(choice)}
        return found

    def _in_order(self, genre: str) -> tuple[str, int]:
        return title_key(genre), self._genre_ids[genre]

    async def changes(self, since: int, limit: int) -> list[ChangeRow]:
        """Return the next changes after a position."""
        return [change for change in self._changes if change.position > since and change.subject != "key"][:limit]

    async def position(self) -> int:
        """Return the newest position of this copy."""
        return max((change.position for change in self._changes), default=0)

    async def api_key(self, digest: str) -> KeyRow | None:
        """Return a key by the SHA-256 of its text, None when there is none or it is revoked."""
        return self._keys.get(digest)

    async def documents(self) -> AsyncIterator[bytes]:
        """Yield every movie's body in order of position."""
        for movie in sorted(self._movies.values(), key=lambda movie: movie.position):
            yield encode_body(movie)

    async def count(self) -> int:
        """Return the number of movies."""
        return len(self._movies)

    async def latest_position(self) -> int:
        """Return the newest position."""
        return await self.position()

    def degradation(self) -> str | None:
        """Return nothing: nobody is behind anybody."""
        return None

    def status(self) -> list[dict[str, Any]]:
        """Return nothing: there are no copies."""
        return []

    async def close(self) -> None:
        """Do nothing; there is nothing to give back."""


_Rows = list[tuple[tuple[Any, ...], MovieDocument]]  # movies with the keys that they are sorted by


def _page(rows: _Rows, limit: int) -> CardRows:
    return _cards([movie for _, movie in rows[:limit]], rows[limit - 1][0] if len(rows) > limit else None)


def _cards(movies: list[MovieDocument], after: tuple[Any, ...] | None) -> CardRows:
    return CardRows([encode_card(movie) for movie in movies], after, max(map(_updated_at_s, movies), default=0))


def _updated_at_s(movie: MovieDocument) -> int:
    return calendar.timegm(movie.updated_at.utctimetuple())


def _in_order(rows: _Rows, sort: Sort, after: tuple[Any, ...] | None) -> _Rows:
    """Return the rows after a key in this order; unknown values last either way, ties by id in the same direction."""
    known = [row for row in rows if row[0][0] != UNKNOWN]
    unknown = [row for row in rows if row[0][0] == UNKNOWN]
    if after is not None and after[0] != UNKNOWN:
        known = [row for row in known if _is_past(row[0], after, sort)]
    elif after is not None:
        known, unknown = [], [row for row in unknown if _is_past(row[0], after, sort)]
    parts = (sorted(part, key=lambda row: row[0], reverse=sort.descending) for part in (known, unknown))
    return [row for part in parts for row in part]


def _is_past(keys: tuple[Any, ...], after: tuple[Any, ...], sort: Sort) -> bool:
    return keys < after if sort.descending else keys > after


def _has_person(movie: MovieDocument, item: PersonFilter) -> bool:
    people = _PEOPLE[item.role](movie) if item.role else _credited(movie)
    return any(item.person in (person.id, _name_fold(person.name)) for person in people)


def _credited(movie: MovieDocument) -> list[Person | CastMember]:
    return [person for people in _PEOPLE.values() for person in people(movie)]


def _name_fold(name: str) -> str:
    return name_key(name)


def _ranked(
    movies: Iterable[MovieDocument], words: Words, year: int | None, after: tuple[Any, ...], *, titles_only: bool = False
) -> _Rows:
    """Return the movies that have these words after a key, best tier first, the most popular first within it."""
    keyed = [((_tier(movie, words, year, titles_only=titles_only), _search_rank(movie)), movie) for movie in movies]
    found = [(keys, movie) for keys, movie in keyed if keys[0] is not None and keys > after]
    return sorted(found, key=lambda row: row[0])


def _search_rank(movie: MovieDocument) -> int:
    return search_rank(movie.popularity, movie.id)


def _tier(movie: MovieDocument, words: Words, year: int | None, *, titles_only: bool) -> int | None:
    """Return the tier of the ranking that a movie is in, None when it does not match; as domain/search.py tells."""
    tier = _text_tier(movie, words, titles_only=titles_only)
    if tier is None or year is None:
        return tier
    if movie.year is None or abs(movie.year - year) > 1:
        return None
    return 2 * tier + abs(movie.year - year)


def _text_tier(movie: MovieDocument, words: Words, *, titles_only: bool) -> int | None:
    both = (movie.title, movie.original_title or "")
    titles = [list(form) for title in both for form in words_of(title).forms]
    if any(title == list(form) for title in titles for form in words.forms):
        return 0 if words.written in map(written_mark, both) else 1
    if any(_starts(title, form) for title in titles for form in words.forms):
        return 2
    everything = {word for title in both for word in _searched_words(title)}
    return 3 if _contains(everything if titles_only else everything | _name_words(movie), words) else None


def _starts(title: list[str], form: tuple[str, ...]) -> bool:
    *whole, last = form
    return title[: len(whole)] == whole and len(title) > len(whole) and title[len(whole)].startswith(last)


def _contains(having: set[str], words: Words) -> bool:
    """Return whether all words of one way of reading the query are there, the last one perhaps unfinished."""
    asked = map(asked_for, words.forms)
    return any(having.issuperset(form[:-1]) and any(word.startswith(form[-1]) for word in having) for form in asked)


def _searched_words(text: str) -> set[str]:
    return {*fold(text).split(), *fold_joined(text).split(), *title_parts(text)}


def _name_words(movie: MovieDocument) -> set[str]:
    return {word for person in _credited(movie) for word in _searched_words(person.name)}


def _is_named(name: str, words: Words) -> bool:
    name, having = _name_fold(name), _name_fold(name).split()
    *whole, last = words.apart
    return all(word in (name if is_unspaced(word) else having) for word in whole) and (
        last in name if is_unspaced(last) else any(word.startswith(last) for word in having)
    )


def _log_moment(change: ChangeRow) -> str:
    return change.at.replace("T", " ").removesuffix("Z")
