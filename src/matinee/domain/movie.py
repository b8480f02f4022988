"""A movie, as it is written and as it is read; the shape of both is the shape of the API and of the NDJSON format.

`MovieContent` is what an admin states about a movie. `MovieDocument` is the same with what the catalogue adds (id, version,
position, updated_at); it is encoded once, when the movie is written. `Card` is its short form for lists.
Unknown is null or an empty list, never absent.
"""

from __future__ import annotations

import datetime as dt
import difflib
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, StructMeta, field, structs

from matinee.domain import ids as external_ids
from matinee.domain.ids import ExternalId
from matinee.domain.text import identity, is_visible
from matinee.errors import Fault, InvalidBody

# No control characters anywhere, and something to see: a title of blanks could not be found or clicked. The blanks are spelled
# out, because what \s means depends on who reads the pattern, and the OpenAPI document shows it to everybody. Each pattern can
# match in one way only: blanks, one sign that is none, the rest. Two ways would cost the square of the text's length.
_CONTROL = r"\x00-\x1f\x7f-\x9f"
_BLANK = r"\x20\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_TEXT = rf"^[{_BLANK}]*[^{_CONTROL}{_BLANK}][^{_CONTROL}]*$"
_PROSE = rf"^[\t\n{_BLANK}]*[^{_CONTROL}{_BLANK}][^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
_ADDRESS = rf"^https?://[^{_CONTROL}{_BLANK}\"<>]+$"

# What is wrong with a text, by what its pattern has in it as that stands in msgspec's messages.
_IN_WORDS = {
    r"\\u3000][^": "must not be blank and must not hold control characters",
    "^https?:": "must be an address that begins with http:// or https://, without blanks",
}

_INVISIBLE = "must show something: it holds only blanks, marks or invisible characters"
_SHOWN = ("title", "original_title", "tagline", "certificate")

Name = Annotated[str, Meta(max_length=300, pattern=_TEXT, examples=["Ridley Scott"])]
Title = Annotated[str, Meta(max_length=500, pattern=_TEXT, examples=["Alien"])]
Prose = Annotated[str, Meta(max_length=10_000, pattern=_PROSE)]
Year = Annotated[int, Meta(ge=1870, le=2200, examples=[1979])]
Count = Annotated[int, Meta(ge=0, le=2_000_000_000)]
MAX_PERSON_ID = 2**53 - 1  # the largest whole number that JavaScript holds exactly
# An import takes over ids, versions and positions up to half of their range; the other half is for later writes. Else one
# document with the largest id would leave the catalogue full for ever.
MAX_POSITION = 2**52
MAX_ADOPTED_PERSON_ID = 2**52
MAX_ADOPTED_ID = external_ids.MAX_ID // 2
OLDEST_UPDATE, NEWEST_UPDATE = dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(2201, 1, 1, tzinfo=dt.UTC)
PersonId = Annotated[int, Meta(ge=1, le=MAX_PERSON_ID)]
Names = Annotated[list[Name], Meta(max_length=100)]


class PersonRef(Struct, forbid_unknown_fields=True):
    """A person, by id, by name, or both. A name that nobody has yet makes a new person."""

    id: PersonId | None = None
    name: Name | None = None


class CastRef(PersonRef, forbid_unknown_fields=True):
    """A person in the cast; `order` counts from 0 and says the billing, null where the source does not tell."""

    character: Name | None = None
    order: Annotated[int, Meta(ge=0, le=100_000)] | None = None


class Ids(Struct, forbid_unknown_fields=True):
    """The movie's ids in other catalogues."""

    imdb: Annotated[str, Meta(pattern=r"^tt[0-9]{5,10}$", examples=["tt0078748"])] | None = None
    tmdb: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,11}$", examples=["348"])] | None = None
    wikidata: Annotated[str, Meta(pattern=r"^Q[1-9][0-9]{0,11}$", examples=["Q103569"])] | None = None
    movielens: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,11}$", examples=["1214"])] | None = None
    fynd: Annotated[str, Meta(max_length=200, pattern=r"^[^\W_]+(-[^\W_]+)*$", examples=["alien-ridley-scott"])] | None = None


class Rating(Struct, forbid_unknown_fields=True):
    """What the audience says: an average of 0 to 10 over a number of votes."""

    average: Annotated[float, Meta(ge=0, le=10)] | None = None
    votes: Count | None = None


class Critics(Struct, forbid_unknown_fields=True):
    """What critics say: share of positive reviews (0 to 100), average (0 to 10), how many reviews, and the Metascore."""

    score: Annotated[int, Meta(ge=0, le=100)] | None = None
    average: Annotated[float, Meta(ge=0, le=10)] | None = None
    reviews: Count | None = None
    metascore: Annotated[int, Meta(ge=0, le=100)] | None = None


class Awards(Struct, forbid_unknown_fields=True):
    """Prizes won."""

    oscars: Annotated[int, Meta(ge=0, le=100)] | None = None


class MovieContent(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is stated about a movie. Only the title must be known."""

    ids: Ids = field(default_factory=Ids)
    title: Title
    original_title: Title | None = None
    year: Year | None = None
    released: dt.date | None = None
    runtime_min: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    genres: Names = field(default_factory=list)
    directors: Annotated[list[PersonRef], Meta(max_length=200)] = field(default_factory=list)
    writers: Annotated[list[PersonRef], Meta(max_length=200)] = field(default_factory=list)
    cast: Annotated[list[CastRef], Meta(max_length=1_000)] = field(default_factory=list)
    languages: Names = field(default_factory=list)
    countries: Names = field(default_factory=list)
    companies: Names = field(default_factory=list)
    overview: Prose | None = None
    tagline: Title | None = None
    certificate: Annotated[str, Meta(max_length=40, pattern=_TEXT, examples=["R"])] | None = None
    rating: Rating = field(default_factory=Rating)
    critics: Critics = field(default_factory=Critics)
    popularity: Annotated[float, Meta(ge=0, le=1_000_000)] | None = None
    box_office_usd: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    awards: Awards = field(default_factory=Awards)
    poster: Annotated[str, Meta(max_length=1_000, pattern=_ADDRESS)] | None = None


class Person(Struct):
    """A person who made movies."""

    id: int
    name: str


class CastMember(Struct):
    """A person in the cast of a movie."""

    id: int
    name: str
    character: str | None
    order: int | None


class MovieDocument(Struct, kw_only=True):
    """A movie as the API answers it; every field is always there."""

    id: Annotated[int, Meta(ge=1, le=external_ids.MAX_ID)]
    version: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    position: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    ids: Ids
    title: str
    original_title: str | None
    year: int | None
    released: dt.date | None
    runtime_min: int | None
    genres: list[str]
    directors: list[Person]
    writers: list[Person]
    cast: list[CastMember]
    languages: list[str]
    countries: list[str]
    companies: list[str]
    overview: str | None
    tagline: str | None
    certificate: str | None
    rating: Rating
    critics: Critics
    popularity: float | None
    box_office_usd: int | None
    awards: Awards
    poster: str | None
    updated_at: Annotated[dt.datetime, Meta(tz=True)]


class Card(Struct, kw_only=True):
    """The short form of a movie, as lists and search show it."""

    id: int
    version: int
    title: str
    original_title: str | None
    year: int | None
    runtime_min: int | None
    genres: list[str]
    directors: list[Person]
    rating: Rating
    critics_score: int | None
    popularity: float | None
    poster: str | None


CONTENT_FIELDS = tuple(item.name for item in structs.fields(MovieContent))
NAME_LISTS = ("genres", "languages", "countries", "companies")
PEOPLE_LISTS = ("directors", "writers", "cast")
ADDED_FIELDS = frozenset({"id", "version", "position", "updated_at"})
_FIELD_TYPES: dict[str, Any] = {item.name: item.type for item in structs.fields(MovieContent)}


def known_ids(ids: Ids) -> list[ExternalId]:
    """Return the external ids that are stated, in the order of the schemes."""
    found = ((scheme, getattr(ids, scheme)) for scheme in external_ids.SCHEMES)
    return [ExternalId(scheme, value) for scheme, value in found if value is not None]


def content_of(document: MovieDocument) -> MovieContent:
    """Return what is stated in a document, without what the catalogue added."""
    return msgspec.convert({name: getattr(document, name) for name in CONTENT_FIELDS}, MovieContent, from_attributes=True)


def tidy(content: MovieContent) -> MovieContent:
    """Return the content in its one normal form: trimmed, composed (NFC), no name twice in a list.

    Two records that say the same must compare equal after this, or an import would see changes where there are none.
    """
    plain = _tidy_value(msgspec.to_builtins(content, builtin_types=(dt.date,)))
    for name in NAME_LISTS:
        plain[name] = _distinct(plain[name])
    for name in PEOPLE_LISTS:
        plain[name] = [dict(key) for key in dict.fromkeys(tuple(person.items()) for person in plain[name])]
    return _read(plain)  # anew: composed, a text can be longer than it was


def parse_content(plain: Any) -> MovieContent:
    """Read a movie from JSON's own types and return it in its normal form.

    What the catalogue itself adds (id, version, position, updated_at) may be there and is left out, so that an
    answer can be edited and sent back.
    Raises: InvalidBody with one fault for each field that is wrong.
    """
    if not isinstance(plain, dict):
        raise InvalidBody('A movie is a JSON object, as {"title": "Alien"}.', faults=(Fault("", "not an object"),))
    return tidy(_read({key: value for key, value in plain.items() if key not in ADDED_FIELDS}))


def _read(stated: dict[str, Any]) -> MovieContent:
    """Return the content as it is stated; the faults are looked for, field by field, only when there are some."""
    try:
        content = msgspec.convert(stated, MovieContent)
    except msgspec.ValidationError:
        stated = {name: whole_numbers(value) for name, value in stated.items()}
    else:
        people = [person for field in PEOPLE_LISTS for person in getattr(content, field)]
        texts = _texts(content, people)
        # Most movies are ASCII throughout, and an import reads each one twice: one test of all texts is half the time of many.
        if not any(map(_is_nobody, people)) and ("".join(texts).isascii() or not any(map(_shows_nothing, texts))):
            return content
    faults = tuple(_faults(stated))
    if faults:
        raise InvalidBody(f"{faults[0].pointer or 'The document'}: {faults[0].detail}", faults=faults)
    return msgspec.convert(stated, MovieContent)


def whole_numbers(value: Any, depth: int = 3) -> Any:
    """Return the value with its 378.0 written as 378: to JSON they are one number, to msgspec they are not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list) and depth:
        return [whole_numbers(item, depth - 1) for item in value]
    if isinstance(value, dict) and depth:
        return {key: whole_numbers(item, depth - 1) for key, item in value.items()}
    return value


def _is_nobody(person: PersonRef) -> bool:
    return person.id is None and person.name is None


def _texts(content: MovieContent, people: list[PersonRef]) -> list[str]:
    """Return the texts of a movie that must show something: titles and names."""
    texts = [content.title, content.original_title, content.tagline, content.certificate]
    for name in NAME_LISTS:
        texts += getattr(content, name)
    texts += [person.name for person in people]
    texts += [member.character for member in content.cast]
    return [text for text in texts if text]


def _shows_nothing(text: str | None) -> bool:
    return text is not None and not text.isascii() and not is_visible(text)  # of ASCII, the patterns see to it


def _faults(stated: dict[str, Any]) -> list[Fault]:
    faults: list[Fault] = []
    for name in sorted(stated.keys() - _FIELD_TYPES.keys()):
        close = closest(name, _FIELD_TYPES)
        faults.append(Fault(pointer(name), f"a movie has no field {name[:60]!r}{close}"))
    if stated.get("title") is None:
        faults.append(Fault("/title", "a movie needs a title"))
    for name, kind in _FIELD_TYPES.items():
        if name in stated and not (name == "title" and stated[name] is None):
            faults.extend(_field_faults(name, stated[name], kind))
    return faults


def refuse_unknown_fields(changes: dict[str, Any]) -> None:
    """Refuse a merge patch that names what no movie has.

    With null it would only take away what is not there, and `{"titel": null}` would change nothing without a word.
    Raises: InvalidBody.
    """
    faults = _unknown_fields("", changes.keys() - ADDED_FIELDS, _FIELD_TYPES)
    for name, kind in _FIELD_TYPES.items():
        if isinstance(kind, StructMeta) and isinstance(changes.get(name), dict):
            faults += _unknown_fields(pointer(name), changes[name].keys(), kind.__struct_fields__)
    if faults:
        raise InvalidBody(f"{faults[0].pointer}: {faults[0].detail}", faults=tuple(faults))


def _unknown_fields(where: str, names: Iterable[str], known: Collection[str]) -> list[Fault]:
    return [
        Fault(where + pointer(name), f"a movie has no field {name[:60]!r}{closest(name, known)}")
        for name in names
        if name not in known
    ]


def _field_faults(name: str, value: Any, kind: Any) -> list[Fault]:
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        reason = next((words for part, words in _IN_WORDS.items() if part in reason), reason)
        return [Fault(pointer(name) + path.rstrip("`").replace("[", "/").replace("]", "").replace(".", "/"), reason)]
    if name in PEOPLE_LISTS:
        return [fault for index, person in enumerate(converted) for fault in _person_faults(f"/{name}/{index}", person)]
    if name in NAME_LISTS:
        return [Fault(f"/{name}/{index}", _INVISIBLE) for index, text in enumerate(converted) if _shows_nothing(text)]
    return [Fault(pointer(name), _INVISIBLE)] if name in _SHOWN and _shows_nothing(converted) else []


def _person_faults(where: str, person: PersonRef) -> Iterator[Fault]:
    if _is_nobody(person):
        yield Fault(where, "a person needs an id or a name")
    if _shows_nothing(person.name):
        yield Fault(f"{where}/name", _INVISIBLE)
    if isinstance(person, CastRef) and _shows_nothing(person.character):
        yield Fault(f"{where}/character", _INVISIBLE)


def pointer(*names: str) -> str:
    """Return the RFC 6901 JSON pointer of a path of names."""
    return "".join("/" + name[:60].replace("~", "~0").replace("/", "~1") for name in names)


def closest(name: str, known: Any) -> str:
    """Return "; did you mean ...?" when a known name is near, else nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def tidy_name(name: str) -> str:
    """Return the name of a person or a genre in its normal form. Raises: InvalidBody."""
    tidied = str(_tidy_value(name))
    faults = _field_faults("genres", [tidied], Names)
    if faults:
        raise InvalidBody(faults[0].detail, faults=(Fault("/name", faults[0].detail),))
    return tidied


def _tidy_value(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return (value if value.isascii() else unicodedata.normalize("NFC", value)).strip()
    if isinstance(value, float):
        return value + 0.0  # no -0.0, which is written otherwise than the 0 that it equals
    if isinstance(value, list):
        return [_tidy_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _tidy_value(item) for key, item in value.items()}
    return value


def _distinct(items: list[str]) -> list[str]:
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(identity(item), item)
    return list(first.values())
