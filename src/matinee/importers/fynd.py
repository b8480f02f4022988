"""The fynd format: a JSON array of {"99popularity", "director", "genre", "imdb_score", "name"}.

Its records have no id and its quirks are kept out here: genres with blanks around them, whole numbers written as 83.0,
and names that occur twice for different films, which their directors tell apart. Called by cli.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO, Any

import msgspec

from matinee.domain.ids import former_fynd_id, fynd_id
from matinee.domain.movie import parse_content
from matinee.errors import InvalidBody, OperatorError
from matinee.importers import formats
from matinee.importers.importing import Rejected
from matinee.importers.source import HEAD_BYTES
from matinee.write.batches import Record

MAX_BYTES = 64 * 1024 * 1024  # an array must be held as a whole; bigger catalogues come as NDJSON
_STATED = frozenset({"ids", "title", "genres", "directors", "rating", "popularity"})
_FIELDS = {"99popularity", "director", "genre", "imdb_score", "name"}
_ARRAY = 'Give an array of objects such as [{"name": "Alien", "director": "Ridley Scott"}], or convert it to NDJSON.'


def read(stream: IO[bytes]) -> Iterator[Record | Rejected]:
    """Yield a record for each element, or why there is none; "line" counts the elements from 1.

    Raises: OperatorError when the file is no JSON array, or too large for one.
    """
    text = stream.read(MAX_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    if len(text) > MAX_BYTES:
        raise OperatorError(f"The array is larger than {MAX_BYTES} bytes; convert it to NDJSON: `matinee import ndjson PATH`.")
    if text.lstrip().startswith(b'{"'):
        raise OperatorError(
            "This is not a JSON array of fynd records but JSON objects. Use: matinee import ndjson FILE\nNothing was imported."
        )
    try:
        elements = msgspec.json.decode(text, type=list[Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise OperatorError(_no_array(text, str(error))) from error
    for number, element in enumerate(elements, start=1):
        yield _record(number, element)


def _no_array(text: bytes, reason: str) -> str:
    """Say what a text is that is no array, and what it must be."""
    fault = formats.other_than_ndjson(text[:HEAD_BYTES], is_whole=len(text) <= HEAD_BYTES) or ""
    name, is_named, _ = fault.partition(", not NDJSON")
    what = f"It {name}." if is_named and "JSON array" not in name else f"{reason}."
    if not text.strip():
        what = "It is empty."
    return f"This is not a JSON array of fynd records: {what} {_ARRAY}\nNothing was imported."


def _record(number: int, element: Any) -> Record | Rejected:
    try:
        content = parse_content(_nested(element))
        return Record(number, content, _STATED, former_id=former_fynd_id(element["name"], element.get("director") or ""))
    except InvalidBody as error:
        reason = "; ".join(f"{fault.pointer or 'record'}: {fault.detail}" for fault in error.faults) or error.detail
        return Rejected(number, reason, str(element)[:200])


def _nested(element: Any) -> dict[str, Any]:
    if not isinstance(element, dict) or not isinstance(element.get("name"), str):
        raise InvalidBody("a fynd record is an object with a name")
    if unknown := sorted(element.keys() - _FIELDS):
        raise InvalidBody(f"a fynd record has no field {unknown[0]!r}")
    director = element.get("director") or ""
    if not isinstance(director, str):
        raise InvalidBody("a fynd record's director is a name")
    return {
        "ids": {"fynd": fynd_id(element["name"], director).value},
        "title": element["name"],
        "directors": [{"name": director.strip()}] if director.strip() else [],
        "genres": _stripped(element.get("genre", [])),
        "rating": {"average": element.get("imdb_score")},
        "popularity": element.get("99popularity"),
    }


def _stripped(genres: Any) -> Any:
    if not isinstance(genres, list):
        return genres  # what it is instead is for the validation to say
    return [name.strip() if isinstance(name, str) else name for name in genres]
