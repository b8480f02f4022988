"""The bytes that readers get: a movie's body and card, made once when it is written, and the ETag that names them.

Called by storage when documents are rebuilt and by the read path. Nothing here is run on a GET except `etag`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from matinee.domain.movie import Card, MovieDocument

_encoder = msgspec.json.Encoder()


class Representation(NamedTuple):
    """A movie as bytes, with what names them."""

    id: int
    version: int
    position: int
    updated_at_s: int
    body: bytes

    @property
    def etag(self) -> str:
        """Return the strong ETag of these bytes."""
        return etag(self.version, self.position)


class Tombstone(NamedTuple):
    """What is left of a movie that was deleted (`merged_into` is None) or merged into another one."""

    id: int
    position: int
    merged_into: int | None


def etag(version: int, position: int) -> str:
    """Return the strong ETag of a movie's version.

    It carries the position too: a reader that shows a newer one proves that our copy is old.
    """
    return f'"{version}.{position}"'


def encode_body(document: MovieDocument) -> bytes:
    """Return the movie's full JSON, UTF-8."""
    return _encoder.encode(document)


def encode_card(document: MovieDocument) -> bytes:
    """Return the short JSON that lists are joined from."""
    card = Card(
        id=document.id,
        version=document.version,
        title=document.title,
        original_title=document.original_title,
        year=document.year,
        runtime_min=document.runtime_min,
        genres=document.genres,
        directors=document.directors,
        rating=document.rating,
        critics_score=document.critics.score,
        popularity=document.popularity,
        poster=document.poster,
    )
    return _encoder.encode(card)
