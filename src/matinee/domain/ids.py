"""The names that a movie goes by: our own whole number, or `scheme:value` of another catalogue.

Called by the HTTP handlers, the importers and the write path. The schemes are a closed list: an id of an unknown scheme
could never be found again by anybody.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import NamedTuple

from matinee.domain.text import PLAIN_LETTERS, fold, identity
from matinee.errors import InvalidParameter

MAX_ID = 2**32 - 1  # The search rank keeps the id in 32 bits (domain/ranking.py); 4 billion movies are enough.


class ExternalId(NamedTuple):
    """A movie's id in another catalogue, as ("imdb", "tt0078748")."""

    scheme: str
    value: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


# What each scheme's values look like, and an example for messages.
SCHEMES: dict[str, tuple[re.Pattern[str], str]] = {
    "imdb": (re.compile(r"tt[0-9]{5,10}"), "tt0078748"),
    "tmdb": (re.compile(r"[1-9][0-9]{0,11}"), "348"),
    "wikidata": (re.compile(r"Q[1-9][0-9]{0,11}"), "Q103569"),
    "movielens": (re.compile(r"[1-9][0-9]{0,11}"), "1214"),
    "fynd": (re.compile(r"[^\W_]+(-[^\W_]+)*"), "alien-ridley-scott"),
}
MAX_VALUE_CHARS = 200
_HASH = re.compile(r"[0-9a-f]{10}")  # what ends an id of fynd whose words do not say everything

MovieRef = int | ExternalId

# The same grammar as a regular expression, for the OpenAPI document.
REF_PATTERN = (
    r"^([1-9][0-9]{0,9}|imdb:tt[0-9]{5,10}|tmdb:[1-9][0-9]{0,11}|wikidata:Q[1-9][0-9]{0,11}|movielens:[1-9][0-9]{0,11})$"
)


def fault_of(scheme: str, value: str) -> str | None:
    """Return what is wrong with an external id, or None when it is well formed."""
    if scheme not in SCHEMES:
        return f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}"
    pattern, example = SCHEMES[scheme]
    if len(value) > MAX_VALUE_CHARS or not pattern.fullmatch(value):
        return f"{value[:60]!r} is not an id of {scheme}, which look like {example!r}"
    return None


def parse_ref(text: str, parameter: str = "id") -> MovieRef:
    """Read a movie's id in any of its forms.

    Raises: InvalidParameter, naming the forms that work.
    """
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) <= 10 else MAX_ID + 1
        # A number that no movie can have is well formed and simply not found.
        return number if 0 < number <= MAX_ID else 0
    scheme, colon, value = text.partition(":")
    if not colon:
        raise InvalidParameter(
            f"{parameter} {text[:60]!r} is not a movie's id; use our whole number, as 42, or imdb:tt0078748."
        )
    if fault := fault_of(scheme, value):
        raise InvalidParameter(f"{parameter} {text[:60]!r}: {fault}.")
    return ExternalId(scheme, value)


def fynd_id(name: str, director: str) -> ExternalId:
    """Return the id of a record of the fynd format, which has none, made from its name and director.

    Two of its names occur twice and are different films, so that the name alone would lose two. The words alone are the id when
    they say everything: the director's are the last two, and folding loses nothing. Else a hash of the names follows them.
    """
    written, director_words = identity(f"{name} {director}".strip()), identity(director).split()
    words = "-".join("".join(filter(str.isalnum, word)) for word in fold(written).split()).strip("-")
    is_lossless = words.replace("-", " ") == " ".join(written.split()) and len(words) <= MAX_VALUE_CHARS
    if is_lossless and len(director_words) == 2 and name.strip() and not _HASH.fullmatch(director_words[1]):
        return ExternalId("fynd", words)
    told = hashlib.blake2b(f"{identity(name)}\n{identity(director)}".encode(errors="surrogatepass"), digest_size=5).hexdigest()
    kept = re.sub("-+", "-", words)[: MAX_VALUE_CHARS - len(told) - 1].strip("-")
    return ExternalId("fynd", f"{kept}-{told}" if kept else told)


def former_fynd_id(name: str, director: str) -> ExternalId | None:
    """Return the id that Matinee gave such a record before November 2026, None when it gave none or it is the same.

    It was the folded words alone, with the folding of that time, so several records could share one.
    """
    plain = unicodedata.normalize("NFKD", f"{name} {director}".casefold().translate(PLAIN_LETTERS))
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign)).casefold()
    former = ExternalId("fynd", "-".join(re.findall(r"[^\W_]+", plain))[:MAX_VALUE_CHARS].rstrip("-"))
    return former if former.value and former != fynd_id(name, director) else None
