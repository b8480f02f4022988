"""What a reader may ask of a list or a search: one table of parameters feeds parsing, messages and the OpenAPI document.

Called by the HTTP handlers, which hand the parsed query to the read path. A parameter that is not in the table is refused
with the nearest name: a filter that is silently ignored answers the wrong question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from matinee.domain.ids import REF_PATTERN, MovieRef, parse_ref
from matinee.domain.movie import closest
from matinee.domain.popularity import HALF_LIVES_S, WINDOWS, Window
from matinee.domain.ranking import name_key
from matinee.domain.search import words_of
from matinee.domain.text import identity
from matinee.errors import InvalidParameter, UnknownParameter

MAX_LIMIT = 100
MAX_IDS = 100
MAX_QUERY_CHARS = 200
MAX_CHOICES = 20

# Each order with its direction when none is written: the best, the newest or the first letter comes first.
SORTS = {"popularity": "-", "rating": "-", "votes": "-", "year": "-", "title": "+", "added": "-"}
FACET_KINDS = ("genre", "language", "country")


@dataclass(frozen=True)
class Sort:
    """An order of a list; unknown values come last either way, ties are told apart by id in the same direction."""

    name: str = "popularity"
    descending: bool = True


@dataclass(frozen=True)
class PersonFilter:
    """Movies with a person, in any role or in one: by id, or by folded name."""

    person: int | str
    role: str | None = None


@dataclass(frozen=True)
class FacetFilter:
    """Movies with any one of these names (a|b) of a genre, language or country.

    A name means the facet of that identity; if there is none, every facet that folds alike ("sci fi" finds "Sci-Fi").
    """

    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Filters:
    """What a movie must have to be in a list; everything that is stated must hold."""

    ids: tuple[MovieRef, ...] | None = None
    facets: tuple[FacetFilter, ...] = ()
    people: tuple[PersonFilter, ...] = ()
    bounds: tuple[tuple[str, int], ...] = ()  # (name of a condition in queries/list.sql, its value)


@dataclass(frozen=True)
class ListQuery:
    """One page of a list: what must hold, in which order, how many, and after what."""

    filters: Filters = field(default_factory=Filters)
    sort: Sort = field(default_factory=Sort)
    limit: int = 20
    cursor: str | None = None

    def digest(self) -> bytes:
        """Return what a cursor is bound to: the filters and the order, not the size of the page."""
        return _digest("list", self.filters, self.sort)


@dataclass(frozen=True)
class SearchQuery:
    """One page of a search; `year` ranks before the years beside it and does not exclude them."""

    q: str
    filters: Filters = field(default_factory=Filters)
    year: int | None = None
    limit: int = 20
    cursor: str | None = None

    def digest(self) -> bytes:
        """Return what a cursor is bound to."""
        words = words_of(self.q)
        return _digest("search", words.apart, words.joined, words.written, self.filters, self.year)


def _digest(*parts: Any) -> bytes:
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=8).digest()


@dataclass(frozen=True)
class Parameter:
    """A query parameter: how it is read, and what the documentation says of it."""

    name: str
    schema: dict[str, Any]
    help: str
    repeatable: bool = False
    required: bool = False


def _text(max_chars: int = 300) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": max_chars}


def _whole(low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, **more}


_REF = REF_PATTERN.strip("^$")
_SORT_NAMES = [sign + name for name in SORTS for sign in ("", "-", "+")]
_FACET_HELP = "Repeat it to ask for all of several, write a|b to ask for any of several."

FILTERS = (
    Parameter("genre", _text(), f"A genre's name. {_FACET_HELP}", repeatable=True),
    Parameter("language", _text(), f"A language's name. {_FACET_HELP}", repeatable=True),
    Parameter("country", _text(), f"A country's name. {_FACET_HELP}", repeatable=True),
    Parameter("director", _text(), "A director's id or name.", repeatable=True),
    Parameter("person", _text(), "The id or name of anybody who made or played in it.", repeatable=True),
    Parameter("year", _whole(1, 9999), "Made in this year. In a search the years beside it are kept and rank lower."),
    Parameter("year_from", _whole(1, 9999), "Made in this year or later."),
    Parameter("year_to", _whole(1, 9999), "Made in this year or earlier."),
    Parameter("rating_min", {"type": "number", "minimum": 0, "maximum": 10}, "Average rating of at least this."),
    Parameter("votes_min", _whole(0, 2_000_000_000), "At least this many votes."),
    Parameter("runtime_min", _whole(0, 100_000), "At least this many minutes long."),
    Parameter("runtime_max", _whole(0, 100_000), "At most this many minutes long."),
)
IDS = Parameter(
    "ids",
    {"type": "string", "pattern": f"^{_REF}( *, *{_REF}){{0,{MAX_IDS - 1}}}$"},
    f"Up to {MAX_IDS} movies by id, in any form, parted by commas; they come in the order asked, unknown ones are left out.",
    repeatable=True,
)
SORT = Parameter("sort", {"type": "string", "enum": _SORT_NAMES}, "The order; - is descending, + ascending.")
LIMIT = Parameter("limit", _whole(1, MAX_LIMIT, default=20), "How many at most.")
CURSOR = Parameter("cursor", _text(1_200), "`next_cursor` of the page before.")
Q = Parameter("q", _text(MAX_QUERY_CHARS), "Words of titles and people.", required=True)
WINDOW = Parameter(
    "window",
    {"type": "string", "enum": list(WINDOWS), "default": "day"},
    f"Of the last day or the last week: accesses lose half their weight in {HALF_LIVES_S['day'] // 3600} hours or in "
    f"{HALF_LIVES_S['week'] // 86_400} days.",
)
SINCE = Parameter("since", _whole(0, 2**63 - 1, default=0), "The last position that you have seen.")

LIST_PARAMETERS = (IDS, *FILTERS, SORT, LIMIT, CURSOR)
SEARCH_PARAMETERS = (Q, *FILTERS, LIMIT, CURSOR)
SUGGEST_PARAMETERS = (Q,)
PERSON_PARAMETERS = (SORT, LIMIT, CURSOR)
TRENDING_PARAMETERS = (WINDOW, LIMIT)
CHANGES_PARAMETERS = (SINCE, LIMIT)

Values = Mapping[str, list[str]]


def group(pairs: Iterable[tuple[str, str]], allowed: tuple[Parameter, ...]) -> dict[str, list[str]]:
    """Return the values of each parameter.

    Raises: UnknownParameter with the nearest name; InvalidParameter when one stands twice that may not, is empty or too long.
    """
    known = {parameter.name: parameter for parameter in allowed}
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in known:
            names = ", ".join(known) or "none here"
            raise UnknownParameter(f"There is no parameter {name[:60]!r}{closest(name, known) or '.'} Known: {names}.")
        if not value:
            raise InvalidParameter(f"{name} is empty; give it a value or leave it out.")
        if len(value) > known[name].schema.get("maxLength", len(value)):
            raise InvalidParameter(f"{name} has {len(value)} characters; {known[name].schema['maxLength']} are allowed.")
        values.setdefault(name, []).append(value)
    for name, several in values.items():
        if len(several) > 1 and not known[name].repeatable:
            raise InvalidParameter(f"{name} stands {len(several)} times; give it once.")
        if len(several) > MAX_CHOICES:
            raise InvalidParameter(f"{name} stands {len(several)} times; {MAX_CHOICES} are allowed.")
    return values


def parse_list(pairs: Iterable[tuple[str, str]]) -> ListQuery:
    """Read the query string of a list."""
    values = group(pairs, LIST_PARAMETERS)
    ids = _parse_ids(values["ids"]) if "ids" in values else None
    if ids is not None and "sort" in values:
        raise InvalidParameter("sort cannot stand with ids: they come in the order asked.")
    year = number(values, "year")
    filters = replace(parse_filters(values), ids=ids)
    if year is not None:
        filters = replace(filters, bounds=(("year", year), *filters.bounds))
    # Who lists ids wants all of them, unless a limit says otherwise.
    limit = MAX_IDS if ids is not None and "limit" not in values else parse_limit(values)
    return ListQuery(filters, parse_sort(values), limit, first(values, "cursor"))


def parse_search(pairs: Iterable[tuple[str, str]]) -> SearchQuery:
    """Read the query string of a search."""
    values = group(pairs, SEARCH_PARAMETERS)
    return SearchQuery(
        parse_q(values), parse_filters(values), number(values, "year"), parse_limit(values), first(values, "cursor")
    )


def parse_q(values: Values) -> str:
    """Return the words that are searched for."""
    text = first(values, "q")
    if text is None:
        raise InvalidParameter("q is missing; say what to search for, as ?q=alien.")
    return text


def parse_filters(values: Values) -> Filters:
    """Read the filters that lists and searches share; `ids` and `year` differ between them and are not read here."""
    return Filters(
        facets=tuple(_facet(kind, text) for kind in FACET_KINDS for text in values.get(kind, ())),
        people=tuple(_people(values)),
        bounds=tuple((name, value) for name, value in _bounds(values) if value is not None),
    )


def _bounds(values: Values) -> Iterable[tuple[str, int | None]]:
    rating = number(values, "rating_min", float)
    yield "rating_min", None if rating is None else round(rating * 1000)
    for name in ("year_from", "year_to", "votes_min", "runtime_min", "runtime_max"):
        yield name, number(values, name)


def _facet(kind: str, text: str) -> FacetFilter:
    names = tuple(dict.fromkeys(identity(choice.strip()) for choice in text.split("|")))
    if len(names) > MAX_CHOICES:
        raise InvalidParameter(f"{kind} {text[:60]!r} has {len(names)} choices; {MAX_CHOICES} are allowed.")
    return FacetFilter(kind, names)


def _people(values: Values) -> Iterable[PersonFilter]:
    for name, role in (("director", "director"), ("person", None)):
        for text in values.get(name, ()):
            is_id = text.isascii() and text.isdigit()
            yield PersonFilter(min(int(text[:20]), 2**63 - 1) if is_id else name_key(text), role)


def _parse_ids(texts: list[str]) -> tuple[MovieRef, ...]:
    parts = [part for text in texts for part in text.split(",")]
    if len(parts) > MAX_IDS:
        raise InvalidParameter(f"ids has {len(parts)} ids; {MAX_IDS} are allowed. Ask for the rest in another request.")
    return tuple(dict.fromkeys(parse_ref(part.strip(), "ids") for part in parts))


def parse_sort(values: Values) -> Sort:
    """Read the order of a list."""
    text = first(values, "sort")
    if text is None:
        return Sort()
    # A bare + in a query string means a blank, and people write it bare.
    sign, name = (text[0].replace(" ", "+"), text[1:]) if text[0] in "+- " else ("", text)
    if name not in SORTS:
        raise InvalidParameter(f"sort {text[:60]!r} is no order{closest(name, SORTS) or '.'} Orders: {', '.join(SORTS)}.")
    return Sort(name, (sign or SORTS[name]) == "-")


def parse_window(values: Values) -> Window:
    """Read the window of what is trending."""
    text = first(values, "window")
    for window in WINDOWS:
        if text in (window, None):
            return window
    assert text is not None, "the first window is the one of who states none"
    raise InvalidParameter(f"window {text[:60]!r} is no window{closest(text, WINDOWS) or '.'} Windows: {', '.join(WINDOWS)}.")


def parse_limit(values: Values) -> int:
    """Read the size of a page."""
    return number(values, "limit") or 20


def first(values: Values, name: str) -> str | None:
    """Return the value of a parameter that stands once, None when it does not stand."""
    return values[name][0] if name in values else None


_SCHEMAS = {item.name: item.schema for item in (*FILTERS, LIMIT, SINCE)}


def number(values: Values, name: str, kind: Callable[[str], Any] = int) -> Any:
    """Return a number within the bounds of its schema, None when it does not stand."""
    text = first(values, name)
    if text is None:
        return None
    low, high = _SCHEMAS[name]["minimum"], _SCHEMAS[name]["maximum"]
    what = "a whole number" if kind is int else "a number"
    try:
        # Python's int() takes blanks, underscores and digits of all scripts; an API does not.
        value = kind(text) if len(text) <= 25 and text.isascii() and not set(text) & set(" _\t\n\r\v\f") else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise InvalidParameter(f"{name} {text[:60]!r} is not {what} from {low} to {high}.")
    return value
