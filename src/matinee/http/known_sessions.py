"""The session cookies with which staff were signed in a short time ago, so that they can be told from strangers.

Looked at by exchange.py before a request has a place; noted by sign_in_slots.py after Django has found a user. To ask the
database would let any made-up cookie cost a query. Invariants: it is bounded, and it grants nothing, because Django checks each
session itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

SIGNED_IN = "matinee.signed_in"  # set in a request's scope by the middleware that has found a user
IS_VISITOR = "matinee.is_visitor"  # stands in the scope of a request of the admin without a session that is known
_MOST, _KEPT_S = 1_000, 12 * 3600  # as long as a session may be unused
# Django's keys are letters and digits. At a sign-out it sends an empty value in quotes, which must not become a known session.
_COOKIE = re.compile(rb"(?:^|[;\s])matinee_session=([A-Za-z0-9]{1,64})(?=[;\s]|$)")
_SIGNED_OUT = b'matinee_session="";'


class KnownSessions:
    """Digests of session cookies, the newest last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: dict[bytes, float] = {}

    def note(self, scope: Any, answered: Iterable[tuple[bytes, bytes]]) -> None:
        """Remember the session of a request whose user is signed in, or the new one that its answer's headers give.

        An answer that takes the session away, as at a sign-out, has it forgotten.
        """
        headers = list(answered)
        digest = _digest_of(b"set-cookie", headers) or _digest_of(b"cookie", scope["headers"])
        if digest is None:
            return
        self._until_s.pop(digest, None)
        if not any(name.lower() == b"set-cookie" and value.startswith(_SIGNED_OUT) for name, value in headers):
            if len(self._until_s) >= _MOST:
                del self._until_s[next(iter(self._until_s))]
            self._until_s[digest] = self._clock() + _KEPT_S

    def knows(self, scope: Any) -> bool:
        """Return whether a user was signed in with the session of a request."""
        digest = _digest_of(b"cookie", scope["headers"]) if self._until_s else None
        return digest is not None and self._until_s.get(digest, 0.0) > self._clock()


def _digest_of(header: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name.lower() == header and (found := _COOKIE.search(value)):
            return blake2b(found[1], digest_size=16).digest()
    return None
