"""How fresh a request wants its answer, and how fresh the answer says it is: headers both ways.

Called by the handlers of reads. A client that sends the `Matinee-Position` it last saw as `Matinee-Min-Position` never goes
back in time, whichever server or copy answers. An ETag of a movie holds a position too, and so does the cookie of the admin
pages.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from matinee.domain.freshness import ANY, AsOf, Demand
from matinee.errors import InvalidParameter

COOKIE = "matinee_position"
_COOKIE = re.compile(rb"(?:^|;\s*)matinee_position=(\d{1,18})(?:;|$)")
_MAX_STALE = re.compile(rb"(?:^|[,\s])max-stale\s*=\s*\"?(\d{1,9})")
_ETAG = re.compile(rb'"\d{1,18}\.(\d{1,18})(?:-br|-gzip)?"')
_POSITION = re.compile(rb"\d{1,18}")
_MAX_SEEN_BYTES = 2_048  # of If-None-Match; longer lists are not searched for positions


def demand_of(scope: Any, *, knows_etag: bool = False) -> Demand:
    """Return what a request asks of the copy that answers it. Raises: InvalidParameter.

    `knows_etag`: the answer's ETag holds a position, so one that the client shows is a position that it has seen.
    """
    stated = seen = 0
    max_staleness_s: float | None = None
    for name, value in scope["headers"]:
        if name == b"matinee-min-position":
            if not _POSITION.fullmatch(value):
                shown = value[:40].decode("latin-1")
                raise InvalidParameter(
                    f"Matinee-Min-Position {shown!r} is no position; send a Matinee-Position as it was told."
                )
            stated = int(value)
        elif name == b"cookie" and (found := _COOKIE.search(value)):
            seen = max(seen, int(found[1]))
        elif name == b"cache-control" and (found := _MAX_STALE.search(value)):
            max_staleness_s = float(found[1])
        elif knows_etag and name == b"if-none-match":
            seen = max([seen, *map(int, _ETAG.findall(value[:_MAX_SEEN_BYTES]))])
    if not stated and not seen and max_staleness_s is None:
        return ANY
    return Demand(max(stated, seen), max_staleness_s, is_forgiving=seen > stated)


@lru_cache(maxsize=64)
def told(as_of: AsOf | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that say what an answer reflects."""
    if as_of is None:
        return ()
    staleness = b"%.3f" % as_of.staleness_s
    return (
        (b"matinee-position", b"%d" % as_of.position),
        (b"matinee-staleness", staleness if as_of.is_verified else staleness + b"; unverified"),
        (b"age", b"%d" % as_of.staleness_s),
    )
