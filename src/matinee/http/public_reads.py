"""GETs of everybody: answered from the local tier before any routing, else read once for all who ask at the same time.

What happens on GET /v1/movies/{id}: the front asks `hit` first, which finds a ready answer and judges it by the log of
changes. If there is none, the front calls this as an ASGI application, which has the answer built by reads.py and keeps it.
The API's own handlers (reads.py) answer the rest, such as requests that need a reader's key, with the same builders. The
framework's routing and request object would cost three times what finding the movie does (docs/decisions/0005).

Invariants: no hit is older than what the log shows; none is from before a position that the request shows; who demands
something of its own shares nobody's read.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import lru_cache
from typing import Any, NamedTuple

from matinee.cache.local import LocalTier
from matinee.cache.single_flight import SingleFlight
from matinee.domain.freshness import AsOf, Demand
from matinee.errors import Gone, InvalidParameter, NoReaderAvailable, NotFound, Overloaded
from matinee.http.answers import Answer, Headers
from matinee.http.cdn import without_lifetime
from matinee.http.freshness import demand_of, told
from matinee.http.hosts import hosts_of
from matinee.http.limits import Limits
from matinee.http.reads import Build, require_possible, route_of
from matinee.http.ready import Form, Ready, rendered
from matinee.runtime import Runtime
from matinee.storage.asking import Asking

# A ready answer for one request: its status, headers, body and route; the request's id and origin as they were sent.
Hit = tuple[int, Headers, bytes, str, bytes | None, bytes | None]
_READS = frozenset(("GET", "HEAD"))
_NAMED = frozenset(
    (
        b"if-none-match",
        b"if-modified-since",
        b"accept-encoding",
        b"x-request-id",
        b"origin",
        b"cookie",
        b"cache-control",
        b"matinee-min-position",
    )
)
_MAX_ACCEPTED_BYTES = 256  # of Accept-Encoding; what is longer gets the plain form, and is not remembered
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)
_DEMANDING = frozenset((b"cookie", b"cache-control", b"matinee-min-position"))
_HIT = (b"cache-status", b"matinee-local; hit")
_DOUBTFUL = (b"cache-status", b"matinee-local; hit; detail=stale-while-revalidate")
_IN_ERROR = (b"cache-status", b"matinee-local; hit; detail=stale-if-error")
_STORED = (b"cache-status", b"matinee-local; fwd=uri-miss; stored")
_NOT_STORED = (b"cache-status", b"matinee-local; fwd=uri-miss")
_STALE_STORED = (b"cache-status", b"matinee-local; fwd=stale; stored")
_COLLAPSED = (b"cache-status", b"matinee-local; fwd=uri-miss; collapsed")
_DEMANDED = (b"cache-status", b"matinee-local; fwd=request")


class _Read(NamedTuple):
    """What was read for a request."""

    ready: Ready
    as_of: AsOf | None
    is_kept: bool


class PublicReads:
    """The reads that anybody may have, as an ASGI application of its own."""

    def __init__(self, runtime: Runtime, limits: Limits) -> None:
        self._limits = limits
        self._runtime, self._config, self._catalogue = runtime, runtime.config, runtime.catalogue
        self._tier: LocalTier[Ready] | None = runtime.local
        self._hosts = hosts_of(self._config)
        self._known_hosts = self._hosts.known
        self._flights: SingleFlight[_Read] = SingleFlight()
        self._seen: AsOf | None = None
        self._facts: tuple[tuple[bytes, bytes], ...] = ()  # the headers that say what was seen
        self._refreshing: set[asyncio.Task[Any]] = set()
        self.counts = runtime.counts
        if self._tier is not None:
            from matinee.cache.local_metrics import LocalMeter  # not before the server has said where workers count together

            meter = LocalMeter(self._tier, self._config.cache_policy)
            runtime.publishers.append(lambda: meter.publish(self._flights))

    def takes(self, scope: Any) -> bool:
        """Return whether a request is a GET that this answers."""
        return scope["method"] == "GET" and self._config.public_reads and route_of(scope["path"]) is not None

    def hit(self, scope: Any, now_s: float) -> Hit | None:
        """Return the ready answer to a request; None when there is none that is good enough for it.

        Cost: about 4 microseconds, no await. Staleness: at most replication lag + MATINEE_CHANGE_TAIL_INTERVAL_MS; of a page,
        while changes come, MATINEE_LIST_MAX_STALENESS_S.
        """
        tier = self._tier
        if tier is None or scope["method"] not in _READS:
            return None
        as_of = self._seen or self._look()  # first of all: it brings the log up to date that what is kept is judged by
        if as_of is None:
            return None
        ready, belief = tier.get(_key(scope) if scope["query_string"] else scope["path"], now_s)
        if ready is None or belief == "no":
            return None
        facts = self._facts
        if belief == "doubtful" or ready.stamp > as_of.position:
            if ready.stamp < self._catalogue.written():
                return None
            as_of = self._as_read(ready, as_of)
            facts = (*told(as_of), _HIT if belief == "fresh" else _DOUBTFUL)
        asked = self._asked(scope)
        if asked is None or (asked and not self._suits(scope, asked, ready, as_of)):
            return None
        tier.hits += 1
        if (subject := ready.subject) > 0:
            self.counts[subject] = self.counts.get(subject, 0) + 1
        elif belief == "doubtful":
            tier.doubts += 1
            self._refresh(scope)
        form = self._form(ready, asked, scope, is_hit=True) if asked else ready.plain
        known, since = (asked.get(b"if-none-match"), asked.get(b"if-modified-since")) if asked else (None, None)
        status, headers, body = rendered(scope, self._config, ready, form, facts, known, since)
        if belief == "doubtful":
            headers = without_lifetime(headers)
        if scope["method"] == "HEAD":
            body = b""
        return status, headers, body, ready.route, asked.get(b"x-request-id"), asked.get(b"origin")

    def _asked(self, scope: Any) -> dict[bytes, bytes] | None:
        """Return the headers of a request that make a difference to its answer; None when its Host must be refused."""
        asked: dict[bytes, bytes] = {}
        host = None
        for name, value in scope["headers"]:
            if name in _NAMED:
                asked[name] = value
            elif name == b"host":
                if host is not None or (value not in self._known_hosts and not self._hosts.admits(value)):
                    return None
                host = value
        return asked if host is not None or scope.get("http_version") != "1.1" else None

    def _look(self) -> AsOf | None:
        """Return what the log reflects now, asked for once in a turn of the event loop.

        The turn that is under way answers what had arrived before it was asked: whatever arrives later stands in line behind
        the end of the look, so it is as if each had asked for itself. On SQLite a look costs as much as the rest of a hit.
        """
        self._seen = self._catalogue.known()
        self._facts = (*told(self._seen), _HIT)
        asyncio.get_running_loop().call_soon(self._end_look)
        return self._seen

    def _end_look(self) -> None:
        self._seen = None

    def _suits(self, scope: Any, asked: dict[bytes, bytes], ready: Ready, as_of: AsOf) -> bool:
        """Return whether what the log reflects is as fresh as a request demands. An ETag that it shows may be a newer one."""
        known = asked.get(b"if-none-match")
        if (known is None or known == ready.plain.etag) and _DEMANDING.isdisjoint(asked):
            return True
        try:
            demand = demand_of(scope, knows_etag=ready.subject > 0)
        except InvalidParameter:
            return False  # the miss path raises it again, where it becomes an answer
        is_fresh = demand.max_staleness_s is None or as_of.staleness_s <= demand.max_staleness_s
        return is_fresh and as_of.position >= demand.min_position

    def joins(self, scope: Any) -> bool:
        """Return whether a request is going to wait for a load that is under way, and so costs nothing but its answer."""
        if self._tier is None or not self._flights.is_under_way(_key(scope)) or not self.takes(scope):
            return False
        asked = self._asked(scope)
        return asked is not None and b"if-none-match" not in asked and _DEMANDING.isdisjoint(asked)

    def is_known_absent(self, scope: Any) -> bool:
        """Return whether it is kept, and still true, that nothing is there: to say so costs no more than a hit."""
        is_judged = self._tier is not None and self.takes(scope) and self._catalogue.known() is not None
        return is_judged and self._tier.absent(_key(scope), time.monotonic()) is not None  # type: ignore[union-attr]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request for which there was no hit. The front has bounded the lengths of path and query."""
        route = route_of(scope["path"])
        assert route is not None, "the front asks `takes` first"
        build, scope["path_template"] = route
        require_possible(scope["path"])  # before its bytes become the key of a load or of an entry
        demand = demand_of(scope, knows_etag=scope["path_template"] == "/v1/movies/{movie_id}")
        answer = await self._missed(scope, build, demand)
        await answer(scope, receive, send)

    async def _missed(self, scope: Any, build: Build, demand: Demand) -> Answer:
        tier, key = self._tier, _key(scope)
        if (absent := self._absent(key, demand)) is not None:
            return self._answer(scope, absent, _HIT)
        before = tier.peek(key) if tier is not None else None
        try:
            if tier is None or demand != Demand():
                read, told_status = await self._read(scope, build, demand, key), _DEMANDED
            else:
                tier.missed(before, time.monotonic())
                is_joined = self._flights.is_under_way(key)
                read = await self._flights.do_for(_client_of(scope), key, lambda: self._read(scope, build, demand, key))
                stored = _STORED if before is None else _STALE_STORED
                told_status = _COLLAPSED if is_joined else stored if read.is_kept else _NOT_STORED
        except (NoReaderAvailable, Overloaded):
            if before is None or not self._may_stand_in(before, demand):
                raise
            as_of = AsOf(before.stamp, self._catalogue.staleness_s(before.stamp), is_verified=False)
            read, told_status = _Read(before, as_of, is_kept=True), _IN_ERROR
        return self._answer(scope, read, told_status if tier is not None else None)

    def _absent(self, key: Any, demand: Demand) -> _Read | None:
        """Return that nothing is there, if that was found out before and nothing has changed since."""
        if self._tier is None or demand != Demand() or self._tier.absences.peek(key) is None:
            return None
        as_of = self._catalogue.known()  # brings the log up to date by which the absence is judged
        ready = self._tier.absent(key, time.monotonic())
        if as_of is None or ready is None:
            return None
        self._tier.hits += 1
        return _Read(ready, self._as_read(ready, as_of) if ready.stamp > as_of.position else as_of, is_kept=True)

    def _as_read(self, ready: Ready, known: AsOf) -> AsOf:
        """Return what an answer reflects that shows another position than the log was followed to: the one it was read at.

        Whoever is told an older position than they were shown might be shown an older answer next.
        """
        return AsOf(ready.stamp, self._catalogue.staleness_s(ready.stamp), known.is_verified)

    def _may_stand_in(self, ready: Ready, demand: Demand) -> bool:
        """Return whether an old answer may be given when none can be read: within a hard bound, and never behind a demand."""
        bound_s = self._config.stale_if_error_s
        if demand.max_staleness_s is not None:
            bound_s = min(bound_s, demand.max_staleness_s)
        return ready.stamp >= demand.min_position and self._catalogue.staleness_s(ready.stamp) <= bound_s

    async def _read(self, scope: Any, build: Build, demand: Demand, key: Any) -> _Read:
        """Have an answer built from what is read now, and keep it; that nothing is there is an answer too."""
        catalogue, histories = self._catalogue.view(demand, scope.get("matinee.asking")), self._catalogue.log.histories
        reserved_bytes = self._tier.reserve(key) if self._tier is not None else 0
        try:
            ready = await build(scope, catalogue, self._config)
        except (NotFound, Gone) as error:
            ready = Ready.of_absence(error)
        finally:
            if self._tier is not None:
                self._tier.release(reserved_bytes)
        ready.route = scope["path_template"]
        is_kept = False
        if catalogue.stamp is not None:
            ready.stamp = catalogue.stamp
            is_kept = self._tier is not None and self._tier.keep(key, ready, time.monotonic(), histories)
        return _Read(ready, catalogue.as_of, is_kept)

    async def load(self, path: str, query: bytes = b"", asking: Asking | None = None) -> bool:
        """Have an answer built before anybody asks for it, once for all who do meanwhile; return whether it is kept.

        `asking` is the client that takes a place when the read is expensive. Raises: NoReaderAvailable.
        """
        route = route_of(path)
        assert route is not None, "only addresses that this answers are loaded"
        scope: dict[str, Any] = {"path": path, "query_string": query, "headers": [], "matinee.asking": asking}
        scope["path_template"] = route[1]
        key = _key(scope)
        return (await self._flights.do(key, lambda: self._read(scope, route[0], Demand(), key))).is_kept

    def _refresh(self, scope: Any) -> None:
        """Reload a page in the background while the old one is served: once for all requests, charged to this one's client."""
        if route_of(scope["path"]) is None or self._flights.is_under_way(_key(scope)):
            return
        path, query = scope["path"], scope["query_string"]
        task = asyncio.ensure_future(self._limits.charged(scope, lambda asking: self.load(path, query, asking)))
        self._refreshing.add(task)
        task.add_done_callback(self._refreshed)

    def _refreshed(self, done: asyncio.Task[Any]) -> None:
        self._refreshing.discard(done)
        if not done.cancelled():
            done.exception()  # whoever asks next tries again, and is told

    def _answer(self, scope: Any, read: _Read, told_status: tuple[bytes, bytes] | None) -> Answer:
        if read.ready.absence is not None:
            scope["matinee.as_of"] = read.as_of
            kind, detail = read.ready.absence
            raise kind(detail)
        if read.ready.subject > 0 and read.ready.status == 200:
            self.counts[read.ready.subject] = self.counts.get(read.ready.subject, 0) + 1
        asked = self._asked(scope) or {}
        form = self._form(read.ready, asked, scope, is_hit=False)
        conditions = asked.get(b"if-none-match"), asked.get(b"if-modified-since")
        answer = Answer.of(*rendered(scope, self._config, read.ready, form, told(read.as_of), *conditions))
        if told_status is _IN_ERROR or not self._is_current(read.ready):
            answer.headers = without_lifetime(answer.headers)
        if told_status is not None:
            answer.headers.append(told_status)
        return answer

    def _is_current(self, ready: Ready) -> bool:
        """Return whether an answer is as the log shows the catalogue to be: what is not, no CDN may keep."""
        log = self._catalogue.log
        return log.believes(ready.subject, ready.stamp) if ready.subject > 0 else log.is_newest(ready.stamp)

    def _form(self, ready: Ready, asked: dict[bytes, bytes], scope: Any, *, is_hit: bool) -> Form:
        """Return the form that a client takes; a compressed one is made at a hit: most answers are never asked for again."""
        accepted = asked.get(b"accept-encoding", b"")
        encoding = encoding_of(accepted) if 0 < len(accepted) <= _MAX_ACCEPTED_BYTES and self._tier is not None else None
        form = ready.form(encoding)
        if form is None and is_hit and self._tier is not None and encoding is not None:
            form = ready.pack(encoding)
            self._tier.resize(_key(scope), ready)
        return form or ready.plain


def _key(scope: Any) -> str:
    """Return the name of what is asked for. A path begins with a slash, and no query has a blank: no two have the same name.

    A tuple would do, but the garbage collector walks over a dictionary that holds one, and this one may have a million entries.
    """
    query = scope["query_string"]
    return f"?{query.decode('latin-1')} {scope['path']}" if query else scope["path"]


def _client_of(scope: Any) -> str:
    asking = scope.get("matinee.asking")
    return asking.client if asking is not None else ""


@lru_cache(maxsize=512)
def encoding_of(accepted: bytes) -> str | None:
    """Return the compressed form that an Accept-Encoding prefers: br before gzip, None when it takes neither.

    The caller bounds the length: each value is remembered.
    """
    weights: dict[str, float] = {}
    for part in accepted.decode("latin-1").lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        weights[name] = float(quality) if _QUALITY.fullmatch(quality) else 0.0  # Python would take "nan" and "inf" too
    best = max(("br", "gzip"), key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None
