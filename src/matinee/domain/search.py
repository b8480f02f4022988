"""What a search asks of the full-text index: folded words become one expression for each tier of the ranking.

Tiers, best first: the title itself (equal but for letter case), a title of the same folded words, a title that starts with
the words, all words in titles and people (the last one as a prefix). Each tier leaves out the matches of the tiers before it,
so that a movie is found once. With a year, each tier is split in two: made in that year, made the year before or after.
Called by the readers. Everything that goes into an expression is folded (letters, digits and their marks only) and quoted.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from matinee.domain.text import fold, fold_joined, identity, is_visible, parts_of

# Begin the marks of a movie: words of a column of their own, beside facets and years. A whole title is one mark and its first
# word another, so that an exact title is one look-up, and titles that start with "of" are not sought among all that have
# it. Private-use letters: part of a word to the tokenizer, never the result of folding what people type.
WHOLE = "\ue000"
FIRST = "\ue001"
# Begins the mark of a title as it is written; 16 bits of a hash are enough, because it only divides titles of the same words.
WRITTEN = "\ue005"
# Begins the one word of a title without letters and digits ("$", "..."): its symbols in hexadecimal.
SYMBOLS = "\ue006"
MAX_WORDS = 24
_MAX_SYMBOLS = 40

_STARTING = "{title original title_joined original_joined}"
_TITLES = "{title original title_joined original_joined parts}"
_ALL = "{title original title_joined original_joined parts people}"


@dataclass(frozen=True)
class Words:
    """Folded words of a query, in the two ways of reading its punctuation."""

    apart: tuple[str, ...]
    joined: tuple[str, ...]
    written: str = field(default="", compare=False)

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """Return the distinct ways of reading the query."""
        return tuple(dict.fromkeys(form for form in (self.apart, self.joined) if form))


def words_of(text: str) -> Words:
    """Return the folded words of a query or a title; of one without letters and digits, its symbols as one word."""
    apart, joined = tuple(fold(text).split()[:MAX_WORDS]), tuple(fold_joined(text).split()[:MAX_WORDS])
    if not apart and is_visible(text):
        apart = joined = (_symbols(text),)
    return Words(apart, joined, written_mark(text) if apart else "")


def _symbols(text: str) -> str:
    signs = "".join(unicodedata.normalize("NFKC", text).split())[:_MAX_SYMBOLS]
    return SYMBOLS + "".join(f"{ord(sign):05x}" for sign in signs if is_visible(sign))


def written_mark(text: str) -> str:
    """Return the mark that titles share when they are equal but for letter case, composition and the width of blanks."""
    written = " ".join(identity(text).split())
    return WRITTEN + hashlib.blake2b(written.encode(errors="surrogatepass"), digest_size=2).hexdigest()


def facet_token(facet_id: int) -> str:
    """Return the word by which a movie with this facet is found."""
    return f"f{facet_id}"


def year_token(year: int) -> str:
    """Return the word by which a movie of this year is found."""
    return f"y{year}"


def _any(parts: list[str]) -> str:
    return "(" + " OR ".join(parts) + ")"


def title_marks(title: str) -> list[str]:
    """Return the marks of a title: as a whole and by its first word, in both ways of reading it, and as it is written."""
    words = words_of(title)
    marks = [_whole(form) for form in words.forms] + [FIRST + form[0] for form in words.forms]
    return list(dict.fromkeys([*marks, words.written])) if marks else []


def title_parts(title: str) -> list[str]:
    """Return what the words of a title are found by from their middle, in scripts without blanks between words."""
    if title.isascii():  # nine of ten; a movie has up to 1,000 names
        return []
    words = (*fold(title).split(), *fold_joined(title).split())
    return list(dict.fromkeys(part for word in words for part in parts_of(word, indexed=True)))


def _whole(form: tuple[str, ...]) -> str:
    return WHOLE + WHOLE.join(form)


def exact(words: Words) -> str:
    """Return the expression for titles that are these words."""
    return marked(_whole(form) for form in words.forms)


def asked_for(form: tuple[str, ...]) -> list[str]:
    """Return what a title or a name must hold to have all these words; the last one may be unfinished."""
    return [part for word in form for part in (parts_of(word) or [word])]


def starts(words: Words) -> str:
    """Return the expression for titles that start with these words, the last one perhaps unfinished."""
    return _any([_starts(form) for form in words.forms])


def _starts(form: tuple[str, ...]) -> str:
    if len(form) == 1:
        return f'marks : "{FIRST}{form[0]}" *'
    return f'({marked([FIRST + form[0]])} AND {_STARTING} : ^"{" ".join(form)}" *)'


def contains(words: Words, columns: str = _ALL) -> str:
    """Return the expression for movies that have all words, the last one perhaps unfinished."""
    return _any([f"{columns} : {_all_words(form)}" for form in words.forms])


def _all_words(form: tuple[str, ...]) -> str:
    *whole, last = asked_for(form)
    return "(" + " AND ".join([f'"{word}"' for word in whole] + [f'"{last}" *']) + ")"


def tiers(
    words: Words, facets: list[list[int]], year: int | None, *, titles_only: bool = False, only_year: int | None = None
) -> list[str]:
    """Return one expression for each tier, best first.

    `facets` holds, for each facet filter, the ids of which a movie must have one; `year` splits the tiers, `only_year` filters.
    """
    contained, same, written = contains(words, _TITLES if titles_only else _ALL), exact(words), marked((words.written,))
    texts = [f"({same} AND {written})", f"({same} NOT {written})", f"({starts(words)} NOT {same})"]
    texts.append(f"({contained} NOT {starts(words)})")
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
