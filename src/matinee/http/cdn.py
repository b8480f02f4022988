"""What a CDN in front is told: how long it may keep an answer, what the answer shows, and what a change makes it drop.

Which tags an answer has and which tags a change drops stand here side by side: the one is only as good as the other. Called by
ready.py, once for each answer that is kept, and by `matinee changes follow --purge-list`.
Invariant: whatever a change may alter has a tag that it drops. A page of cards may be altered by any change.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from matinee.config import Config
from matinee.domain.change_log import PURGE
from matinee.http.answers import Headers

LISTS = "lists"  # pages of cards, genres, suggestions, and where a merged movie went
EVERYTHING = "everything"  # stands on every answer

_HEADERS = {"surrogate-key": (b"surrogate-key", " "), "cache-tag": (b"cache-tag", ",")}
_LIFETIME = b"cdn-cache-control"
_S_MAXAGE = re.compile(rb", s-maxage=\d+, stale-while-revalidate=\d+")


def movie_tag(movie_id: int) -> str:
    """Return the tag of a movie's own page."""
    return f"movie-{movie_id}"


def person_tag(person_id: int) -> str:
    """Return the tag of a person's page."""
    return f"person-{person_id}"


def dropped_by(subject: str, subject_id: int) -> tuple[str, ...]:
    """Return the tags that a change makes a CDN drop. Whoever is renamed changes their movies too, each in a row of its own."""
    if subject == PURGE and not subject_id:
        return (EVERYTHING,)
    if subject in ("movie", PURGE):
        return (movie_tag(subject_id), LISTS)
    return (person_tag(subject_id), LISTS) if subject == "person" else (LISTS,)


def cdn_headers(config: Config, *tags: str, kept_s: float = math.inf) -> Headers:
    """Return what a CDN is told of an answer with these tags: nothing where reads need a key.

    `kept_s` bounds how long it may be kept at most.
    """
    if not config.public_reads:
        return []
    headers = [(_LIFETIME, _lifetime(min(config.cdn_max_age_s, kept_s)))] if config.cdn_max_age_s else []
    if config.cdn_tags in _HEADERS:
        name, between = _HEADERS[config.cdn_tags]
        headers.append((name, between.join((*tags, EVERYTHING)).encode()))
    return headers


@lru_cache(maxsize=4)
def _lifetime(max_age_s: float) -> bytes:
    return b"public, max-age=%d" % max_age_s


def without_lifetime(headers: Headers) -> Headers:
    """Return the headers of an answer that is known to be old: a CDN, or another cache in front, is to ask again for it.

    It may be asked for just after the purge that was to drop it, and would be kept as if it were new.
    """
    return [(name, _S_MAXAGE.sub(b"", value)) for name, value in headers if name != _LIFETIME]
