"""An answer that is the same for everybody: its bytes and validators, made once, and what is added for each who asks.

Called by the reads; kept by the local tier. What differs from one request to the next (position, staleness, links that name the
host, a compressed form) is added when it is sent.
"""

from __future__ import annotations

import gzip
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import brotli
from msgspec import Struct

from matinee.cache.local import EVERYTHING, PAGE
from matinee.config import Config
from matinee.domain.freshness import AsOf
from matinee.domain.representation import Representation
from matinee.errors import MatineeError
from matinee.http.answers import (
    JSON,
    NOSNIFF,
    Answer,
    Headers,
    base_url,
    body_etag,
    is_known,
    is_unmodified,
    next_url,
    validators,
    varies_by_origin,
)
from matinee.http.cdn import LISTS, cdn_headers, movie_tag, person_tag
from matinee.http.freshness import told
from matinee.read.catalogue import Moved, Page

LEAST_PACKED_BYTES = 512  # below, a compressed form saves less than a packet
_GZIP_LEVEL, _BROTLI_QUALITY = 6, 5  # a movie takes 40 and 60 microseconds, once
# Of the objects around the bytes, as the resident memory of a process shows them after a day's traffic (bench/local_memory.py).
_OVERHEAD_BYTES, _FORM_OVERHEAD_BYTES = 650, 600
_TYPE = (b"content-type", JSON)
_VARY_ENCODING, _VARY_ORIGIN = (b"vary", b"Accept-Encoding"), (b"vary", b"Origin")
_VARY_BOTH = (b"vary", b"Accept-Encoding, Origin")


# The garbage collector leaves out what is kept (gc=False): there may be a million of them, and none can be part of a cycle.
class Form(Struct, gc=False, frozen=True):
    """One form of an answer's bytes: plain, or compressed. `headers` begins with those that a 304 has too."""

    etag: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    validators: int


class Ready(Struct, gc=False):
    """An answer that can be kept. `subject` says what may change it, `stamp` at which position it was read (cache/local.py)."""

    status: int
    subject: int
    plain: Form
    size_bytes: int
    stamp: int = 0
    histories: int = 0
    expires_s: float = math.inf
    route: str = ""
    next_cursor: str | None = None
    moved_to: int | None = None
    absence: tuple[type[MatineeError], str] | None = None
    br: Form | None = None
    gzip: Form | None = None

    @classmethod
    def of(cls, config: Config, status: int, subject: int, headers: Headers, body: bytes = b"") -> Self:
        """Return an answer of these headers, of which the ETag is the first if it has one."""
        by_origin = varies_by_origin(config)
        if body:
            headers = [*headers, _VARY_BOTH if by_origin else _VARY_ENCODING, NOSNIFF]
        else:
            headers = [*headers, _VARY_ORIGIN, NOSNIFF] if by_origin else [*headers, NOSNIFF]
        return cls(status, subject, _form(headers, body, ()), len(body) + _OVERHEAD_BYTES)

    @classmethod
    def of_movie(cls, config: Config, found: Representation) -> Self:
        """Return a movie's own bytes."""
        headers = validators(config, found.etag, found.updated_at_s) + cdn_headers(config, movie_tag(found.id))
        return cls.of(config, 200, found.id, headers, found.body)

    @classmethod
    def of_move(cls, config: Config, moved: Moved) -> Self:
        """Return where a merged movie went."""
        headers = [(b"cache-control", b"no-cache"), *cdn_headers(config, movie_tag(moved.id), LISTS)]
        ready = cls.of(config, 301, EVERYTHING, headers)
        ready.moved_to = moved.id
        return ready

    @classmethod
    def of_page(cls, config: Config, page: Page, kept_s: float = math.inf, person_id: int | None = None) -> Self:
        """Return a page of cards, with the cursor of the next one.

        `kept_s` bounds how long it may be kept at most; `person_id` is whose page it is.
        """
        tags = (LISTS,) if person_id is None else (person_tag(person_id), LISTS)
        # No Last-Modified: when a movie leaves a page, the newest of those that stay was changed no later than before.
        headers = validators(config, body_etag(page.body), 0) + cdn_headers(config, *tags, kept_s=kept_s)
        ready = cls.of(config, 200, PAGE, headers, page.body)
        ready.next_cursor = page.next_cursor
        ready.size_bytes += len(page.next_cursor or "")
        ready.expires_s = time.monotonic() + kept_s
        return ready

    @classmethod
    def of_body(cls, config: Config, body: bytes) -> Self:
        """Return JSON that is its own validator."""
        return cls.of(config, 200, PAGE, validators(config, body_etag(body), 0) + cdn_headers(config, LISTS), body)

    @classmethod
    def of_absence(cls, error: MatineeError) -> Self:
        """Return that nothing is there, which is an answer too. The error itself is not kept: it holds on to its request."""
        detail = error.detail
        ready = cls(error.status, EVERYTHING, _NO_BODY, sys.getsizeof(detail) + _OVERHEAD_BYTES)
        ready.absence = type(error), detail
        return ready

    def form(self, encoding: str | None) -> Form | None:
        """Return the form in an encoding, None when it has not been made yet."""
        if encoding is None or len(self.plain.body) < LEAST_PACKED_BYTES:
            return self.plain
        return self.br if encoding == "br" else self.gzip

    def pack(self, encoding: str) -> Form:
        """Make the form in an encoding, once, and return it. Cost: 40 to 60 us for a movie, a millisecond for a page."""
        plain, (told, pack) = self.plain, _PACKED[encoding]
        body = pack(plain.body)
        headers = [(b"etag", b'%b-%b"' % (plain.etag[:-1], told[1])), *plain.headers[1 : plain.validators]]
        form = _form(headers, body, (told,))
        if encoding == "br":
            self.br = form
        else:
            self.gzip = form
        self.size_bytes += len(body) + _FORM_OVERHEAD_BYTES
        return form


def _form(headers: Headers, body: bytes, more: tuple[tuple[bytes, bytes], ...]) -> Form:
    tag = headers[0][1] if headers and headers[0][0] == b"etag" else b""
    if body:
        more = (_TYPE, *more)
    return Form(tag, (*headers, *more, (b"content-length", b"%d" % len(body))), body, len(headers))


_NO_BODY = _form([], b"", ())


def rendered(
    scope: Any,
    config: Config,
    ready: Ready,
    form: Form,
    facts: Sequence[tuple[bytes, bytes]],
    stated: bytes | None,
    since: bytes | None,
) -> tuple[int, Headers, bytes]:
    """Return status, headers and body as one request gets them.

    `facts` are the headers of this moment, such as what the answer reflects; `stated` is the request's If-None-Match, `since`
    its If-Modified-Since, which counts only when there is no If-None-Match.
    """
    if ready.status != 200:
        is_unchanged = False
    elif stated is not None:
        is_unchanged = stated == form.etag or is_known(stated, ready.plain.etag.decode())
    else:
        is_unchanged = since is not None and is_unmodified(since, ready.plain.headers, time.time())
    if is_unchanged:
        status, headers, body = 304, [*form.headers[: form.validators], *facts], b""
    else:
        status, headers, body = ready.status, [*form.headers, *facts], form.body
    if ready.next_cursor is not None:
        headers.append((b"link", f'<{next_url(scope, config, ready.next_cursor)}>; rel="next"'.encode()))
    if ready.moved_to is not None:
        headers.append((b"location", f"{base_url(scope, config)}/v1/movies/{ready.moved_to}".encode()))
    return status, headers, body


def personal_answer(scope: Any, config: Config, ready: Ready, as_of: AsOf | None) -> Answer:
    """Return the answer to a request that was read for alone."""
    stated = dict(scope["headers"])
    conditions = stated.get(b"if-none-match"), stated.get(b"if-modified-since")
    return Answer.of(*rendered(scope, config, ready, ready.plain, told(as_of), *conditions))


_PACKED: dict[str, tuple[tuple[bytes, bytes], Callable[[bytes], bytes]]] = {
    "br": ((b"content-encoding", b"br"), lambda body: brotli.compress(body, quality=_BROTLI_QUALITY)),
    "gzip": ((b"content-encoding", b"gzip"), lambda body: gzip.compress(body, _GZIP_LEVEL, mtime=0)),
}
