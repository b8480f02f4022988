"""Values as the shared tier holds them: what was read, at which position, in which history of the catalogue.

Invariant: a value is opened only for a process that knows, from the log that it follows itself, that the position is one of its
own history and that nothing the value shows has changed since. So the shared tier may be old, restored or somebody else's.
Called by the read room.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from matinee.domain.change_log import ChangeLog
from matinee.domain.representation import Representation

_FORMAT = 1  # first byte of every value; another one is another version's, and is not opened
_SEAL = struct.Struct(">BQI")  # format, position at which it was read, the mark of that position's change
_MOVIE = struct.Struct(">QQQq")  # id, version, position of its last change, seconds at which it was changed


def seal(log: ChangeLog, stamp: int, content: bytes) -> bytes | None:
    """Return a value to be shared; None while the log was not followed to its position, so that nobody could judge it."""
    mark = log.mark_of(stamp)
    return None if mark is None else _SEAL.pack(_FORMAT, stamp, mark) + content


def unseal(log: ChangeLog, value: bytes) -> tuple[int, bytes] | None:
    """Return a value's position and content; None when it is not of the history that was followed, or damaged."""
    if len(value) < _SEAL.size:
        return None
    form, stamp, mark = _SEAL.unpack_from(value)
    if form != _FORMAT or mark != log.mark_of(stamp):
        return None
    return stamp, value[_SEAL.size :]


def movie_content(found: Representation) -> bytes:
    """Return a movie as the content of a value."""
    return _MOVIE.pack(found.id, found.version, found.position, found.updated_at_s) + found.body


def movie_of(content: bytes) -> Representation | None:
    """Return the movie that a content holds; None when it is damaged."""
    if len(content) < _MOVIE.size:
        return None
    movie_id, version, position, updated_at_s = _MOVIE.unpack_from(content)
    return Representation(movie_id, version, position, updated_at_s, content[_MOVIE.size :])


def rows_content(*parts: Any) -> bytes:
    """Return rows and numbers as the content of a value."""
    return msgspec.msgpack.encode(parts)


def rows_of(content: bytes) -> list[Any] | None:
    """Return what a content of rows holds; None when it is damaged."""
    try:
        found: list[Any] = msgspec.msgpack.decode(content, type=list)
    except msgspec.MsgspecError:
        return None
    return found
