"""What a search asks of the full-text index: folded words become one expression for each tier of the ranking.

Tiers, best first: the exact title, a title that starts with the words, all words in titles and people (the last one as a
prefix). Each tier leaves out what the tiers before it have, so that a movie is met once. With a year, each tier is parted
in two: made in that year, made the year before or after.
Called by the readers. Everything that goes into an expression is folded (letters and digits only) and quoted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matinee.domain.text import fold, fold_joined

# Ends each indexed title, so that "starts with these words and ends" is an exact match. A private-use letter: a
# word to the tokenizer, never the result of folding what people type.
TITLE_END = "\ue000"
MAX_WORDS = 24

_TITLES = "{title original title_joined original_joined}"
_ALL = "{title original title_joined original_joined people}"


@dataclass(frozen=True)
class Words:
    """Folded words of a query, in the two ways of reading its punctuation."""

    apart: tuple[str, ...]
    joined: tuple[str, ...]

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """Return the distinct ways of reading the query."""
        return tuple(dict.fromkeys(form for form in (self.apart, self.joined) if form))


def words_of(text: str) -> Words:
    """Return the folded words of a query; none when it has no letter and no digit."""
    return Words(tuple(fold(text).split()[:MAX_WORDS]), tuple(fold_joined(text).split()[:MAX_WORDS]))


def facet_token(facet_id: int) -> str:
    """Return the word by which a movie with this facet is found."""
    return f"f{facet_id}"


def year_token(year: int) -> str:
    """Return the word by which a movie of this year is found."""
    return f"y{year}"


def _any(parts: list[str]) -> str:
    return "(" + " OR ".join(parts) + ")"


def exact(words: Words) -> str:
    """Return the expression for titles that are these words."""
    return _any([f'{_TITLES} : ^"{" ".join(form)} {TITLE_END}"' for form in words.forms])


def starts(words: Words) -> str:
    """Return the expression for titles that start with these words, the last one perhaps unfinished."""
    return _any([f'{_TITLES} : ^"{" ".join(form)}" *' for form in words.forms])


def contains(words: Words, columns: str = _ALL) -> str:
    """Return the expression for movies that have all words, the last one perhaps unfinished."""
    return _any([f"{columns} : {_all_words(form)}" for form in words.forms])


def _all_words(form: tuple[str, ...]) -> str:
    return "(" + " AND ".join([f'"{word}"' for word in form[:-1]] + [f'"{form[-1]}" *']) + ")"


def tiers(words: Words, facets: list[list[int]], year: int | None, *, titles_only: bool = False) -> list[str]:
    """Return one expression for each tier, best first.

    `facets` holds, for each facet filter, the ids of which a movie must have one.
    """
    contained = contains(words, _TITLES if titles_only else _ALL)
    texts = [exact(words), f"({starts(words)} NOT {exact(words)})", f"({contained} NOT {starts(words)})"]
    narrowed = ["".join(f" AND {_tokens(map(facet_token, ids))}" for ids in facets)]
    if year is not None:
        near = _tokens((year_token(year - 1), year_token(year + 1)))
        narrowed = [f"{narrowed[0]} AND {_tokens((year_token(year),))}", f"{narrowed[0]} AND {near}"]
    return [text + rest for text in texts for rest in narrowed]


def _tokens(tokens: Iterable[str]) -> str:
    return "facets : " + _any([f'"{token}"' for token in tokens])


def people_match(words: Words) -> str:
    """Return the expression for movies in which somebody has all these words in the name."""
    return contains(words, "{people}")
