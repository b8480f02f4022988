"""Values as the shared tier holds them: what was read, at which position, in which history of the catalogue, with a MAC.

Invariants: a value opens only when a server with this installation's SECRET_KEY made it for exactly this cache key, and only
for a process that knows, from the log that it follows itself, that the position is of its own history. Nothing of a value is
interpreted before its MAC was verified. So the shared tier may be old, restored, or written by a stranger.
Called by the read room. This module must never raise for what a value holds: a value that does not open is a miss.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from typing import Any, Literal

import msgspec
import structlog

from matinee.domain.change_log import ChangeLog
from matinee.domain.representation import Representation

_FORMAT = 2  # first byte of every value; another one is another version's, and is not opened
_STAMP = struct.Struct(">BQI")  # format, position at which it was read, the mark of that position's change
_MAC_BYTES = 16
_HEAD_BYTES = _STAMP.size + _MAC_BYTES
_PURPOSE = b"matinee: MAC of shared-tier values, format 2"
_MOVIE = struct.Struct(">QQQq")  # id, version, position of its last change, seconds at which it was changed

Refusal = Literal["format", "mac", "history"]
log = structlog.get_logger("matinee.shared_cache")


class Seals:
    """Seal and open values with a key that is derived from SECRET_KEY; all servers of an installation share it."""

    def __init__(self, secret: str) -> None:
        """Without a secret the key is random: this process then opens its own values only."""
        key = hmac.digest(secret.encode(), _PURPOSE, "sha256") if secret else secrets.token_bytes(32)
        # Keyed BLAKE2b takes half of HMAC-SHA256's time for a movie. A copy of this state saves the block of the key.
        self._keyed = hashlib.blake2b(key=key, digest_size=_MAC_BYTES, person=b"matinee-shared")

    def seal(self, history: ChangeLog, key: str, stamp: int, content: bytes) -> bytes | None:
        """Return the value to store under a cache key; None while the log does not know the position."""
        mark = history.mark_of(stamp)
        if mark is None:
            return None
        head = _STAMP.pack(_FORMAT, stamp, mark)
        return head + self._mac(key, head, content) + content

    def unseal(self, history: ChangeLog, key: str, value: bytes) -> tuple[int, bytes] | None:
        """Return position and content of the value found under a cache key; None, counted by reason, when it does not open."""
        if len(value) < _HEAD_BYTES or value[0] != _FORMAT:
            return _refused(key, "format")
        head, content = value[: _STAMP.size], value[_HEAD_BYTES:]
        if not hmac.compare_digest(value[_STAMP.size : _HEAD_BYTES], self._mac(key, head, content)):
            return _refused(key, "mac")
        _, stamp, mark = _STAMP.unpack(head)
        return (stamp, content) if mark == history.mark_of(stamp) else _refused(key, "history")

    def _mac(self, key: str, head: bytes, content: bytes) -> bytes:
        """Return the MAC of a value. No cache key holds a NUL and the head has one length, so no two values give one text."""
        mac = self._keyed.copy()
        mac.update(b"%b\0%b" % (key.encode(errors="surrogatepass"), head))
        mac.update(content)
        return mac.digest()


def _refused(key: str, reason: Refusal) -> tuple[int, bytes] | None:
    """Count a value that does not open, and return None. One without a valid MAC is logged."""
    # prometheus_client reads PROMETHEUS_MULTIPROC_DIR at import, and the server sets it after this module was imported.
    from matinee.cache import shared_metrics

    shared_metrics.REFUSED.labels(reason).inc()
    if reason == "mac":
        log.warning(
            "shared cache holds a value that this installation did not make",
            key=key,
            do="give all servers the same SECRET_KEY, and let nothing else write to the shared cache",
        )
    return None


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
