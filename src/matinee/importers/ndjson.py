"""Matinee NDJSON: one movie a line, either a whole document as `export` writes it, or the simpler flat form.

The flat form names people by their names and has critic_score, imdb_id and the like at the top. Called by cli, which also
loads the sample with it. docs/formats.md describes both.
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from matinee.domain.movie import (
    CONTENT_FIELDS,
    NEWEST_UPDATE,
    OLDEST_UPDATE,
    MovieDocument,
    parse_content,
    pointer,
    whole_numbers,
)
from matinee.errors import Fault, InvalidBody
from matinee.importers import formats
from matinee.importers.importing import Rejected
from matinee.importers.source import HEAD_BYTES, SourceError, peeked
from matinee.write.batches import Record

MAX_LINE_BYTES = 4_194_304  # the longest movie of the sample is 5 kB; a line without an end must not fill the memory


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises: InvalidBody when it states a name twice; msgspec would keep the last value."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidBody(f"{twice[:60]!r} is stated twice in one object; leave one of them out")
    return result


_names = json.JSONDecoder(object_pairs_hook=_once, parse_int=float)  # float: an int of 5,000 digits is an error
# A name and its colon with a blank between them, or an escaped quote: such a line's names cannot be counted by their `":`.
_UNCOUNTABLE = re.compile(rb'"\s+:|\\u0022')
_document = msgspec.json.Decoder(MovieDocument)
_anything = msgspec.json.Decoder()

# Flat fields and where they belong in a document.
_FLAT: dict[str, tuple[str, str]] = {
    "imdb_id": ("ids", "imdb"),
    "tmdb_id": ("ids", "tmdb"),
    "wikidata_id": ("ids", "wikidata"),
    "movielens_id": ("ids", "movielens"),
    "critic_score": ("critics", "score"),
    "critic_average": ("critics", "average"),
    "critic_reviews": ("critics", "reviews"),
    "metascore": ("critics", "metascore"),
    "rating_average": ("rating", "average"),
    "rating_votes": ("rating", "votes"),
    "oscars": ("awards", "oscars"),
}
_RENAMED = {"production": "companies"}
_ALL = frozenset(CONTENT_FIELDS)
_PEOPLE = ("directors", "writers", "cast")


def read(stream: IO[bytes]) -> Iterator[Record | Rejected]:
    """Yield a record for each line, or why there is none. Raises: SourceError when the whole input is of another format."""
    head, stream = peeked(stream)
    if fault := formats.other_than_ndjson(head, is_whole=len(head) < HEAD_BYTES):
        raise SourceError(f"The input {fault}")
    for number, line in enumerate(_lines(stream), start=1):
        if line is None:
            yield Rejected(number, f"the line is longer than {MAX_LINE_BYTES} bytes", "")
        # A byte order mark begins the file, or each file of `cat one two`.
        elif (text := line.removeprefix(codecs.BOM_UTF8)).strip():
            yield _record(number, text)


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    while line := stream.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
        yield None


def _record(number: int, line: bytes) -> Record | Rejected:
    try:
        plain = _anything.decode(line)
        _require_once(line, plain)
        if isinstance(plain, dict) and "version" in plain and "updated_at" in plain:
            document = _document.decode(line)
            document.updated_at = _checked_time(document.updated_at)
            return Record(number, parse_content(plain), _ALL, document)
        shaped = nested(plain)
        return Record(number, parse_content(shaped), _ALL.intersection(shaped))
    except InvalidBody as error:
        reason = "; ".join(f"{fault.pointer or 'record'}: {fault.detail}" for fault in error.faults) or error.detail
        return Rejected(number, reason, _start(line))
    except UnicodeDecodeError as error:
        return Rejected(number, f"not a movie as JSON: {error}; the text must be in UTF-8", _start(line))
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        return Rejected(number, f"not a movie as JSON: {error}", _start(line))


def _require_once(line: bytes, plain: Any) -> None:
    """Refuse a line of which an object states a name twice. Raises: InvalidBody.

    What was decoded has each name once. Written again, it has as many `":` as the line, unless a name was stated twice; only a
    line that cannot be counted, or counts differently, is parsed a second time, which takes a twentieth of an import.
    """
    if _UNCOUNTABLE.search(line) or line.count(b'":') != msgspec.json.encode(plain).count(b'":'):
        _names.decode(line.decode().strip())


def _checked_time(updated_at: dt.datetime) -> dt.datetime:
    if not OLDEST_UPDATE <= updated_at < NEWEST_UPDATE:
        raise InvalidBody(
            f"updated_at is {updated_at.isoformat()}; it must be in the years {OLDEST_UPDATE.year} to {NEWEST_UPDATE.year - 1}",
            faults=(Fault("/updated_at", f"must be in the years {OLDEST_UPDATE.year} to {NEWEST_UPDATE.year - 1}"),),
        )
    return updated_at.astimezone(dt.UTC)


def _start(line: bytes) -> str:
    return line[:200].decode(errors="replace").rstrip()


def nested(plain: Any) -> Any:
    """Return a flat record in the shape of a document; what is nested already stays as it is.

    Raises: InvalidBody when the record states a field twice, flat and in its place in a document.
    """
    if not isinstance(plain, dict):
        return plain
    result: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, value in plain.items():
        if key in _FLAT:
            group, name = _FLAT[key]
            groups.setdefault(group, {})[name] = _flat(key, value)
        elif key in _RENAMED:
            if _RENAMED[key] in plain:
                raise _stated_twice((_RENAMED[key],), key)
            result[_RENAMED[key]] = value
        else:
            result[key] = _named(value) if key in _PEOPLE else value
    for group, values in groups.items():
        _merge(result, group, values)
    if "popularity" not in result and (found := popularity(plain)) is not None:
        result["popularity"] = found
    return result


def _flat(key: str, value: Any) -> Any:
    # pandas writes the whole numbers of a column with gaps as 348.0.
    return str(whole_numbers(value)) if key.endswith("_id") and value is not None else value


def _merge(result: dict[str, Any], group: str, values: dict[str, Any]) -> None:
    stated = result.setdefault(group, {})
    if not isinstance(stated, dict):
        return  # parse_content refuses it and names the place
    for name in values.keys() & stated.keys():
        raise _stated_twice((group, name), next(key for key, place in _FLAT.items() if place == (group, name)))
    result[group] = values | stated


def _stated_twice(place: tuple[str, ...], flat: str) -> InvalidBody:
    fault = Fault(pointer(*place), f"is stated twice, here and as {flat}; leave one of them out")
    return InvalidBody(f"{fault.pointer}: {fault.detail}", faults=(fault,))


def _named(people: Any) -> Any:
    if not isinstance(people, list):
        return people
    return [{"name": person} if isinstance(person, str) else person for person in people]


def popularity(plain: dict[str, Any]) -> float | None:
    """Return how well known a flat record's movie is, 0 to 100, where the record does not say it; None when it cannot be told.

    Counted from what the sample knows: critics' reviews (300 or more are worth 70 points), an Academy Award (10 and 2 for each
    more, at most 20), and the box office (300 million dollars or more are worth 10).
    """
    reviews, oscars, dollars = (whole_numbers(plain.get(name)) for name in ("critic_reviews", "oscars", "box_office_usd"))
    if not isinstance(reviews, int):
        return None
    known = min(max(reviews, 0), 300) / 300 * 70
    awards = min(8 + 2 * oscars, 20) if isinstance(oscars, int) and oscars > 0 else 0
    takings = min(dollars / 300_000_000, 1) * 10 if isinstance(dollars, int) and dollars > 0 else 0
    return round(known + awards + takings, 2)
