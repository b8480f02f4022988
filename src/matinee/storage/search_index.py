"""The full-text index: what is written into it. What is asked of it stands in domain/search.py and domain/tsquery.py.

Called by documents.py, in the writer's transaction. A row's number is the movie's search rank, so that matches come in order of
popularity; when a movie's popularity changes, its row moves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import connection

from matinee.domain.movie import CastMember, MovieDocument, Person
from matinee.domain.ranking import search_rank
from matinee.domain.search import facet_token, title_marks, title_parts, year_token
from matinee.domain.text import fold, fold_joined, identity
from matinee.domain.tsquery import lexemes, tsvector
from matinee.storage.bulk import delete_rows, insert_rows
from matinee.storage.rows import facets_of

# SQLite's schema (FTS5), run by a migration. The text is folded by us, so the tokenizer only separates words: "ascii" takes
# every character beyond ASCII for a part of a word. "unicode61" would split words at vowel signs, and at letters newer than its
# tables. The prefix indexes serve search-as-you-type: one letter of a million titles would else merge half of the index. Four
# letters, because the mark of a first word is one letter longer than what was typed.
CREATE = (
    "CREATE VIRTUAL TABLE movie_search USING fts5("
    "title, original, title_joined, original_joined, parts, people, marks, "
    "tokenize = \"ascii\", prefix = '1 2 3 4')"
)
_COLUMNS = ("rowid", "title", "original", "title_joined", "original_joined", "parts", "people", "marks")


# PostgreSQL's. The index takes new rows at once: a list of pending ones would have to be walked by each search.
CREATE_POSTGRESQL = """
    CREATE TABLE movie_search (search_rank bigint PRIMARY KEY, movie_id bigint NOT NULL UNIQUE, words tsvector NOT NULL);
    CREATE INDEX movie_search_words ON movie_search USING gin (words) WITH (fastupdate = off);
"""


def add(documents: Collection[MovieDocument], facet_ids: dict[tuple[str, str], int]) -> None:
    """Index these movies, none of which is in the index."""
    if connection.vendor == "postgresql":
        rows = [_lexeme_row(document, facet_ids) for document in documents]
        insert_rows("movie_search", ("search_rank", "movie_id", "words"), rows)
    else:
        insert_rows("movie_search", _COLUMNS, [_row(document, facet_ids) for document in documents])


def remove(ranks: Collection[int]) -> None:
    """Take the rows of these search ranks out."""
    delete_rows("movie_search", "search_rank" if connection.vendor == "postgresql" else "rowid", ranks)


def _lexeme_row(document: MovieDocument, facet_ids: dict[tuple[str, str], int]) -> tuple[int, int, str]:
    titles = (document.title, document.original_title or "")
    facets = [facet_ids[kind, identity(name)] for kind, names in facets_of(document) for name in names]
    names = {person.name for person in _everybody(document)}
    rank = search_rank(document.popularity, document.id)
    return rank, document.id, tsvector(lexemes(titles, names, facets, document.year))


def _row(document: MovieDocument, facet_ids: dict[tuple[str, str], int]) -> tuple[int, str, str, str, str, str, str, str]:
    title, original = document.title, document.original_title or ""
    return (
        search_rank(document.popularity, document.id),
        fold(title),
        fold(original),
        fold_joined(title) if fold_joined(title) != fold(title) else "",
        fold_joined(original) if fold_joined(original) != fold(original) else "",
        " ".join((*title_parts(title), *title_parts(original))),
        " ".join(_people(document)),
        " ".join(_marks(document, facet_ids)),
    )


def _people(document: MovieDocument) -> Iterable[str]:
    for name in dict.fromkeys(person.name for person in _everybody(document)):
        yield from dict.fromkeys((fold(name), fold_joined(name), *title_parts(name)))


def _everybody(document: MovieDocument) -> list[Person | CastMember]:
    return [*document.directors, *document.writers, *document.cast]


def _marks(document: MovieDocument, facet_ids: dict[tuple[str, str], int]) -> Iterable[str]:
    yield from title_marks(document.title)
    yield from title_marks(document.original_title or "")
    if document.year is not None:
        yield year_token(document.year)
    for kind, names in facets_of(document):
        yield from (facet_token(facet_ids[kind, identity(name)]) for name in names)
