"""Cursors: where the next page begins, opaque and signed, bound to the query that made it.

Invariant: a cursor that this module accepts was made by this installation for the same filters and order.
Called by the read path.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec

from matinee.errors import InvalidCursor

_MAC_BYTES = 12  # 96 bits: far beyond guessing over a network, and the cursor stays short
_DIGEST_BYTES = 8


class CursorSigner:
    """Make and read cursors with one secret; every server of an installation shares it."""

    def __init__(self, secret: str) -> None:
        self._key = hashlib.blake2b(secret.encode(), person=b"matinee-cursor").digest()

    def make(self, digest: bytes, after: tuple[Any, ...]) -> str:
        """Return the cursor of the page that begins after these sort keys."""
        payload = digest + msgspec.msgpack.encode(after)
        return base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b"=").decode()

    def read(self, digest: bytes, cursor: str | None) -> tuple[Any, ...] | None:
        """Return the sort keys after which the page begins, None for the first page.

        Raises: InvalidCursor, which says whether it was damaged or made for another query.
        """
        if cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raw = b""
        mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)) or self._canonical(raw) != cursor:
            raise InvalidCursor(
                f"cursor {cursor[:40]!r} is damaged or was not made by this catalogue; "
                "copy next_cursor as it is, or leave it out to begin at the first page."
            )
        if payload[:_DIGEST_BYTES] != digest:
            raise InvalidCursor(
                "cursor was made for another query; keep filters and sort as they were when you follow next_cursor, "
                "or leave the cursor out to begin at the first page."
            )
        return tuple(msgspec.msgpack.decode(payload[_DIGEST_BYTES:]))

    @staticmethod
    def _canonical(raw: bytes) -> str:
        # Several texts decode to the same bytes; only the one that we made is accepted.
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:_MAC_BYTES]
