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

# Begin the marks of a movie: words of a column of their own, beside facets and years. A whole title is one mark and its first
# word another, so that an exact title is one look-up, and titles that start with "of" are not sought among all that have
# it. Private-use letters: part of a word to the tokenizer, never the result of folding what people type.
WHOLE = "\ue000"
FIRST = "\ue001"
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


def title_marks(title: str) -> list[str]:
    """Return the marks by which a title is found as a whole and by its first word, in both ways of reading it."""
    forms = words_of(title).forms
    return list(dict.fromkeys([_whole(form) for form in forms] + [FIRST + form[0] for form in forms]))


def _whole(form: tuple[str, ...]) -> str:
    return WHOLE + WHOLE.join(form)


def exact(words: Words) -> str:
    """Return the expression for titles that are these words."""
    return marked(_whole(form) for form in words.forms)


def starts(words: Words) -> str:
    """Return the expression for titles that start with these words, the last one perhaps unfinished."""
    return _any([_starts(form) for form in words.forms])


def _starts(form: tuple[str, ...]) -> str:
    if len(form) == 1:
        return f'marks : "{FIRST}{form[0]}" *'
    return f'({marked([FIRST + form[0]])} AND {_TITLES} : ^"{" ".join(form)}" *)'


def contains(words: Words, columns: str = _ALL) -> str:
    """Return the expression for movies that have all words, the last one perhaps unfinished."""
    return _any([f"{columns} : {_all_words(form)}" for form in words.forms])


def _all_words(form: tuple[str, ...]) -> str:
    return "(" + " AND ".join([f'"{word}"' for word in form[:-1]] + [f'"{form[-1]}" *']) + ")"


def tiers(
    words: Words, facets: list[list[int]], year: int | None, *, titles_only: bool = False, only_year: int | None = None
) -> list[str]:
    """Return one expression for each tier, best first.

    `facets` holds, for each facet filter, the ids of which a movie must have one; `year` parts the tiers, `only_year` filters.
    """
    contained = contains(words, _TITLES if titles_only else _ALL)
    texts = [exact(words), f"({starts(words)} NOT {exact(words)})", f"({contained} NOT {starts(words)})"]
    narrowed = ["".join(f" AND {marked(map(facet_token, ids))}" for ids in facets)]
    if only_year is not None:
        narrowed = [f"{narrowed[0]} AND {marked((year_token(only_year),))}"]
    if year is not None:
        near = marked((year_token(year - 1), year_token(year + 1)))
        narrowed = [f"{narrowed[0]} AND {marked((year_token(year),))}", f"{narrowed[0]} AND {near}"]
    return [text + rest for text in texts for rest in narrowed]


def marked(marks: Iterable[str]) -> str:
    """Return the expression for movies that have one of these marks."""
    return "marks : " + _any([f'"{mark}"' for mark in marks])


def people_match(words: Words) -> str:
    """Return the expression for movies in which somebody has all these words in the name."""
    return contains(words, "{people}")
