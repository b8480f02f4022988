"""Headers that every answer has, whatever made it: `X-Content-Type-Options`, and what CORS needs.

Called by the front. Ready answers hold their share already (ready.py), so that a hit pays for none of this but CORS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from matinee.config import Config
from matinee.http.answers import NOSNIFF, Headers, varies_by_origin

_VARY = b"vary"
_OF_ONE_CLIENT = frozenset((b"ratelimit", b"ratelimit-policy"))  # what is left to one client; a shared cache would store it
_S_MAXAGE, _MAX_AGE = b"s-maxage=", re.compile(rb"max-age=[1-9]")
_SHOWN = (
    b"Age, Cache-Status, ETag, Link, Location, Matinee-Position, Matinee-Staleness, RateLimit, RateLimit-Policy, X-Request-Id, "
    b"Retry-After"
)
PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Matinee-Min-Position",
    ),
    (b"access-control-max-age", b"600"),
    (b"content-length", b"0"),
]


class Outgoing:
    """What the settings add to answers. `has_cors` says whether any other origin may read them."""

    def __init__(self, config: Config) -> None:
        self._origins = frozenset(origin.encode() for origin in config.cors_origins)
        self.has_cors, self._is_any = bool(self._origins), b"*" in self._origins
        self._varies_by_origin = varies_by_origin(config)

    def cors(self, origin: bytes) -> Headers:
        """Return the headers that let a page of this origin read the answer; none for other origins."""
        if not self._is_any and origin not in self._origins:
            return []
        return [
            (b"access-control-allow-origin", b"*" if self._is_any else origin),
            (b"access-control-expose-headers", _SHOWN),
        ]

    def completed(self, headers: Iterable[tuple[bytes, bytes]], extra: Headers) -> Headers:
        """Return the headers of an answer, with `extra` and those that every answer has, each once."""
        sent = [*headers]
        if any(name in _OF_ONE_CLIENT for name, _ in extra) and _is_shared(sent):
            extra = [each for each in extra if each[0] not in _OF_ONE_CLIENT]
        sent += extra
        # Most answers have it in this form already, which is found in a tenth of the time.
        if NOSNIFF not in sent and not any(name.lower() == NOSNIFF[0] for name, _ in sent):
            sent.append(NOSNIFF)
        return _varied(sent) if self._varies_by_origin else sent


def _is_shared(headers: Headers) -> bool:
    """Return whether a CDN or another shared cache may give an answer to other clients without asking again."""
    for name, value in headers:
        if name == b"cdn-cache-control" or (name == b"cache-control" and _S_MAXAGE in value):
            return True
        if name == b"cache-control" and b"public" in value and _MAX_AGE.search(value):
            return True
    return False


def _varied(headers: Headers) -> Headers:
    """Return headers with one Vary that names Origin: caches must keep the answers to different origins apart."""
    varied = [value for name, value in headers if name.lower() == _VARY]
    if any(b"Origin" in value for value in varied):
        return headers
    kept = [(name, value) for name, value in headers if name.lower() != _VARY]
    return [*kept, (_VARY, b", ".join([*varied, b"Origin"]))]
