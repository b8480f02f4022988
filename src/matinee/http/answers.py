"""Answers: bytes with their validators, and the conditional request that needs no body.

Called by all handlers. An `Answer` is an ASGI application of its own, because a framework's response object would cost
more than finding the movie does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Self

from litestar import Request

from matinee.config import Config
from matinee.domain.freshness import AsOf
from matinee.http.dates import http_date_s
from matinee.http.freshness import told
from matinee.http.hosts import hosts_of

JSON = b"application/json"
_FORM = re.compile(r'-(?:br|gzip)"$')
NOSNIFF = (b"x-content-type-options", b"nosniff")
_MAX_VALIDATORS_BYTES = 2_048  # of If-None-Match; a longer list counts as unknown: to split 60 kB takes 30 milliseconds
_SETTLED_S = 2  # a version this old is not followed by another one of the same second
_FIRST_VERSION = re.compile(rb'"1\.')
Headers = list[tuple[bytes, bytes]]


class Answer:
    """One answer: status, headers, body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers, content_type: bytes = JSON) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        if body or status not in (204, 301, 304):
            headers.append((b"content-type", content_type))
        if status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))

    @classmethod
    def of(cls, status: int, headers: Headers, body: bytes) -> Self:
        """Return an answer whose headers are complete."""
        answer = cls.__new__(cls)
        answer.status, answer.headers, answer.body = status, headers, body
        return answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002  ASGI's signature
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def plain_json(body: bytes, status: int = 200) -> Answer:
    """Return JSON that nobody should keep."""
    return Answer(status, body, [(b"cache-control", b"no-store")])


def body_answer(scope: Any, config: Config, body: bytes, as_of: AsOf | None = None) -> Answer:
    """Return JSON that is its own validator, or 304 when the client has it."""
    etag = body_etag(body)
    # No s-maxage: whoever follows the log of changes, which is one of these, wants its end.
    headers = [(b"etag", etag.encode()), _cache_control(config.max_age_s, 0, config.public_reads), *told(as_of)]
    stated = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
    return Answer(304, b"", headers) if stated and is_known(stated, etag) else Answer(200, body, headers)


def body_etag(body: bytes) -> str:
    """Return a strong ETag of the bytes themselves."""
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def validators(config: Config, etag: str, updated_at_s: int) -> Headers:
    """Return ETag, Cache-Control and, where it is known, Last-Modified."""
    headers = [(b"etag", etag.encode()), _cache_control(config.max_age_s, config.s_maxage_s, config.public_reads)]
    if updated_at_s:
        headers.append(_last_modified(updated_at_s))
    return headers


@lru_cache(maxsize=8)
def _cache_control(max_age_s: int, s_maxage_s: int, public: bool) -> tuple[bytes, bytes]:
    if s_maxage_s and public:
        # HAProxy reads from left to right: its cache takes `max-age=0` for a refusal that only a `public` after it takes back.
        # As long again nginx may answer while it asks anew; without that word it would do so however old its answer is.
        shared = f"s-maxage={s_maxage_s}, stale-while-revalidate={s_maxage_s}"
        return b"cache-control", f"max-age={max_age_s}, public, {shared}, must-revalidate".encode()
    return b"cache-control", f"{'public' if public else 'private'}, max-age={max_age_s}, must-revalidate".encode()


_LAST_MOMENT_S = 253_402_300_799  # the last second of the year 9999, after which there is no date in HTTP


@lru_cache(maxsize=4096)
def _last_modified(moment_s: int) -> tuple[bytes, bytes]:
    # A stored row may hold any moment: an import of an older version took over what a file said.
    return b"last-modified", formatdate(min(max(moment_s, 0), _LAST_MOMENT_S), usegmt=True).encode()


def varies_by_origin(config: Config) -> bool:
    """Return whether answers depend on the Origin header: named origins get CORS headers, others none."""
    return bool(config.cors_origins) and "*" not in config.cors_origins


def is_known(stated: bytes, etag: str) -> bool:
    """Return whether an If-None-Match names this ETag in any of its forms, compared weakly as RFC 9110 asks for a GET."""
    if len(stated) > _MAX_VALIDATORS_BYTES:
        return False
    if stated.strip() == b"*":
        return True
    return etag in [plain_etag(part.strip().removeprefix("W/")) for part in stated.decode("latin-1").split(",")]


def is_unmodified(stated: bytes, headers: Iterable[tuple[bytes, bytes]], now_s: float) -> bool:
    """Return whether an answer with these headers was last modified at or before the date of an If-Modified-Since.

    Dates have whole seconds. A movie that was changed twice in one second has one date for two versions, so for a moment after
    a change the same second does not count as unmodified, unless the movie was never changed before.
    """
    values = dict(headers)
    since_s, changed_s = http_date_s(stated), http_date_s(values.get(b"last-modified", b""))
    if since_s is None or changed_s is None or since_s < changed_s:
        return False
    return since_s > changed_s or now_s >= changed_s + _SETTLED_S or _FIRST_VERSION.match(values[b"etag"]) is not None


def plain_etag(etag: str) -> str:
    """Return the ETag of the plain form for that of a compressed one."""
    return _FORM.sub('"', etag)


def header(request: Request[Any, Any, Any], name: str) -> str | None:
    """Return a request header as text, None when it is not there."""
    return request.headers.get(name)


def base_url(scope: Any, config: Config) -> str:
    """Return the address under which the client sees this service; empty when the request names a host that is not ours.

    Links are relative then, which every client resolves against the address that it sent the request to.
    """
    if config.public_url:
        return config.public_url
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}" if hosts_of(config).is_named(host) else ""


def next_url(scope: Any, config: Config, cursor: str) -> str:
    """Return the address of the next page: the same request with its cursor."""
    query = [part for part in scope["query_string"].split(b"&") if part and not part.startswith(b"cursor=")]
    text = b"&".join([*query, b"cursor=" + cursor.encode()]).decode("latin-1").replace(">", "%3E")
    return f"{base_url(scope, config)}{scope['path']}?{text}"
