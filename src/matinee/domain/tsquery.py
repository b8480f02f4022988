"""Search on PostgreSQL: the lexemes that a movie is found by, and what a query asks of them.

The ranking is the one of search.py, tier for tier. PostgreSQL's text search knows no columns, so a lexeme says by its first
letter what it is; those letters are of the private-use area, which folding never gives. No lexeme has a position: that
titles start with some words is asked of the mark of the whole title, as a prefix. Called by storage: the writer indexes what
`lexemes` returns, the reader asks what `tiers` and `people_match` return.
"""

from __future__ import annotations

from collections.abc import Iterable

from matinee.domain.search import WHOLE, Words, asked_for, facet_token, title_parts, words_of, year_token
from matinee.domain.text import fold, fold_joined

_TITLE = "\ue002"  # a word of a title; every word of titles and names stands without a letter before it too
_NAME = "\ue003"  # a word of a person's name
_MARK = "\ue004"  # a facet or a year
_MAX_BYTES = 2000  # PostgreSQL refuses a lexeme of 2,047


def lexemes(titles: Iterable[str], names: Iterable[str], facet_ids: Iterable[int], year: int | None) -> list[str]:
    """Return what a movie is found by, in no order."""
    found: set[str] = set()
    for title in titles:
        words = words_of(title)
        for form in words.forms:
            found.update((_whole(form), words.written))
        found.update(text for word in _words(title) for text in (word, _TITLE + word))
    for name in names:
        found.update(text for word in _words(name) for text in (word, _NAME + word))
    found.update(_MARK + facet_token(facet_id) for facet_id in facet_ids)
    if year is not None:
        found.add(_MARK + year_token(year))
    return [_cut(lexeme) for lexeme in found]


def tsvector(found: Iterable[str]) -> str:
    """Return lexemes as PostgreSQL reads a tsvector; they hold letters, digits and marks only: none needs an escape."""
    return " ".join(f"'{lexeme}'" for lexeme in found)


def tiers(
    words: Words, facets: list[list[int]], year: int | None, *, titles_only: bool = False, only_year: int | None = None
) -> list[str]:
    """Return one tsquery for each tier, best first, as search.tiers does."""
    exact = _any(_quoted(_whole(form)) for form in words.forms)
    starts = _any(_quoted(_whole(form)) + ":*" for form in words.forms)
    contained = _any(_all_words(form, _TITLE if titles_only else "") for form in words.forms)
    written = _quoted(words.written)
    texts = [f"({exact} & {written})", f"({exact} & !{written})", f"({starts} & !{exact})", f"({contained} & !{starts})"]
    narrowed = ["".join(f" & {_marked(map(facet_token, ids))}" for ids in facets)]
    if only_year is not None:
        narrowed = [f"{narrowed[0]} & {_marked((year_token(only_year),))}"]
    if year is not None:
        near = _marked((year_token(year - 1), year_token(year + 1)))
        narrowed = [f"{narrowed[0]} & {_marked((year_token(year),))}", f"{narrowed[0]} & {near}"]
    return [text + rest for text in texts for rest in narrowed]


def people_match(words: Words) -> str:
    """Return the tsquery for movies in which somebody has all these words in the name."""
    return _any(_all_words(form, _NAME) for form in words.forms)


def _words(text: str) -> list[str]:
    return [*fold(text).split(), *fold_joined(text).split(), *title_parts(text)]


def _whole(form: tuple[str, ...]) -> str:
    return WHOLE + WHOLE.join(form)


def _all_words(form: tuple[str, ...], letter: str) -> str:
    *whole, last = asked_for(form)
    return "(" + " & ".join([*(_quoted(letter + word) for word in whole), _quoted(letter + last) + ":*"]) + ")"


def _marked(tokens: Iterable[str]) -> str:
    return _any(_quoted(_MARK + token) for token in tokens)


def _any(parts: Iterable[str]) -> str:
    return "(" + " | ".join(parts) + ")"


def _quoted(lexeme: str) -> str:
    return f"'{_cut(lexeme)}'"


def _cut(lexeme: str) -> str:
    return lexeme if len(lexeme) < _MAX_BYTES // 4 else lexeme.encode()[:_MAX_BYTES].decode(errors="ignore")
