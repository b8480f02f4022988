"""Matinee NDJSON: one movie a line, either a whole document as `export` writes it, or the simpler flat form.

The flat form names people by their names and has critic_score, imdb_id and the like at the top. Called by cli, which also
loads the sample with it. docs/formats.md describes both.
"""

from __future__ import annotations

import codecs
import datetime as dt
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from matinee.domain.movie import CONTENT_FIELDS, NEWEST_UPDATE, OLDEST_UPDATE, MovieDocument, parse_content
from matinee.errors import Fault, InvalidBody
from matinee.importers import formats
from matinee.importers.importing import Rejected
from matinee.importers.source import SourceError, peeked
from matinee.write.batches import Record

MAX_LINE_BYTES = 4_194_304  # the longest movie of the sample is 5 kB; a line without an end must not fill the memory
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
_PEOPLE = ("directors", "writers", "cast")


def read(stream: IO[bytes]) -> Iterator[Record | Rejected]:
    """Yield a record for each line, or why there is none. Raises: SourceError when the whole input is of another format."""
    head, stream = peeked(stream)
    if fault := formats.other_than_ndjson(head):
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
        if isinstance(plain, dict) and "version" in plain and "updated_at" in plain:
            document = _document.decode(line)
            document.updated_at = _checked_time(document.updated_at)
            content = parse_content({name: plain.get(name) for name in CONTENT_FIELDS})
            return Record(number, content, frozenset(CONTENT_FIELDS), document)
        content = parse_content(nested(plain))
        return Record(number, content, _stated(plain))
    except InvalidBody as error:
        reason = "; ".join(f"{fault.pointer or 'record'}: {fault.detail}" for fault in error.faults) or error.detail
        return Rejected(number, reason, _start(line))
    except UnicodeDecodeError as error:
        return Rejected(number, f"not a movie as JSON: {error}; the text must be in UTF-8", _start(line))
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        return Rejected(number, f"not a movie as JSON: {error}", _start(line))


def _checked_time(updated_at: dt.datetime) -> dt.datetime:
    if not OLDEST_UPDATE <= updated_at < NEWEST_UPDATE:
        raise InvalidBody(
            f"updated_at is {updated_at.isoformat()}; it must be in the years {OLDEST_UPDATE.year} to {NEWEST_UPDATE.year - 1}",
            faults=(Fault("/updated_at", f"must be in the years {OLDEST_UPDATE.year} to {NEWEST_UPDATE.year - 1}"),),
        )
    return updated_at.astimezone(dt.UTC)


def _start(line: bytes) -> str:
    return line[:200].decode(errors="replace").rstrip()


def _stated(plain: dict[str, Any]) -> frozenset[str]:
    names = {_FLAT[key][0] if key in _FLAT else _RENAMED.get(key, key) for key in plain}
    return frozenset(names | ({"popularity"} if "critic_reviews" in plain else set())) & frozenset(CONTENT_FIELDS)


def nested(plain: Any) -> Any:
    """Return a flat record in the shape of a document; what is nested already stays as it is."""
    if not isinstance(plain, dict):
        return plain
    result: dict[str, Any] = {}
    for key, value in plain.items():
        if key in _FLAT:
            group, name = _FLAT[key]
            result.setdefault(group, {})[name] = str(value) if key.endswith("_id") and value is not None else value
        else:
            result[str(_RENAMED.get(key, key))] = _named(value) if key in _PEOPLE else value
    if "popularity" not in result and isinstance(plain.get("critic_reviews"), int):
        result["popularity"] = popularity(plain)
    return result


def _named(people: Any) -> Any:
    if not isinstance(people, list):
        return people
    return [{"name": person} if isinstance(person, str) else person for person in people]


def popularity(plain: dict[str, int]) -> float:
    """Return how well known a flat record's movie is, 0 to 100, where the record does not say it.

    Counted from what the sample knows: critics' reviews (300 or more are worth 70 points), an Academy Award (10 and 2 for each
    more, at most 20), and the box office (300 million dollars or more are worth 10).
    """
    reviews = min(max(plain["critic_reviews"], 0), 300) / 300 * 70
    oscars = plain.get("oscars") or 0
    awards = min(8 + 2 * oscars, 20) if isinstance(oscars, int) and oscars > 0 else 0
    box_office = plain.get("box_office_usd") or 0
    takings = min(box_office / 300_000_000, 1) * 10 if isinstance(box_office, int) and box_office > 0 else 0
    return round(reviews + awards + takings, 2)
