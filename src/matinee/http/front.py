"""The ASGI front: the first of our code that a request meets, and the last that its answer passes.

It asks the local tier for a ready answer. For what is not there, it gives the request an id, answers HEAD, refuses large
bodies, turns away what is too much (places.py), sends /admin and /static to Django, public reads to public_reads.py and the
rest to the API. It counts and logs all.
It must stay thin: every request pays for every line.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from matinee.config import Config
from matinee.errors import BodyTooLarge, Overloaded
from matinee.http.metrics import IN_FLIGHT, Meter
from matinee.http.places import Places
from matinee.http.problems import as_matinee_error, problem_answer
from matinee.http.public_reads import PublicReads
from matinee.http.reads import route_of
from matinee.http.sign_in_slots import hashes_a_password
from matinee.logs import AccessLog

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_DJANGO = ("/admin", "/static/")
_ALWAYS_ANSWERED = frozenset(("/livez", "/readyz", "/metrics"))
_WITH_BODY = frozenset((b"content-length", b"transfer-encoding"))
# A client that is still sending does not read; what it sends beyond the limit is thrown away up to here, so
# that it gets to read why.
_DISCARD_BYTES = 64 * 1024 * 1024


class Front:
    """The whole service as one ASGI application."""

    def __init__(self, api: AsgiApp, reads: PublicReads, django: AsgiApp, config: Config, methods: dict[str, str]) -> None:
        """`methods` holds, for each route's template, what its Allow header lists."""
        self.api, self._reads, self._django, self.config, self.methods = api, reads, django, config, methods
        self._meter, self.access_log = Meter(), AccessLog(config)
        self.places = Places(config.max_in_flight)
        self.origins = frozenset(config.cors_origins)
        self._process, self._numbers = secrets.token_hex(8).encode(), count(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or the application's lifespan."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        began_s = time.monotonic()
        hit = self._reads.hit(scope, began_s)
        if hit is None:
            await self._exchange(scope, receive, send, began_s)
            return
        status, headers, body, route, request_id, origin = hit
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            request_id = self.new_request_id()
        headers.append((b"x-request-id", request_id))
        if origin is not None and self.origins:
            headers += self.cors_headers(origin.decode("latin-1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        duration_s = time.monotonic() - began_s
        self._meter.record(scope["method"], route, status, duration_s)
        if self.access_log.is_on:
            self.access_log.note(scope["method"], scope["path"], status, duration_s, len(body), request_id)

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        """Start and end with the server; what was counted and noted last is not lost."""
        await self.api(scope, receive, send)
        self.publish()
        self.access_log.flush()

    async def _exchange(self, scope: Any, receive: Any, send: Any, began_s: float) -> None:
        exchange = _Exchange(self, scope, receive, send, began_s)
        # Who waits for a load that is under way needs no place: a thousand on one key would keep all others out.
        is_joined = self._reads.joins(scope)
        is_shed = not is_joined and self.places.are_taken(is_admin=exchange.is_admin) and self._may_shed(scope)
        if not is_shed and not is_joined:
            exchange.enter()
        try:
            await exchange.run(exchange.shed if is_shed else self._application(scope))
        finally:
            exchange.finish()

    def _may_shed(self, scope: Any) -> bool:
        """Return whether a request may be turned away: not those that watch over us, nor what is answered in microseconds."""
        return scope["path"] not in _ALWAYS_ANSWERED and not self._reads.is_known_absent(scope)

    def count_shed(self) -> None:
        """Count a request that was turned away."""
        self._meter.shed += 1

    def publish(self) -> None:
        """Bring what was counted of the requests to the metrics."""
        self._meter.publish()
        IN_FLIGHT.set(self.places.taken)

    def _application(self, scope: Any) -> AsgiApp:
        """Return what answers a request: Django, the reads that come before all routing, or the API."""
        if scope["path"].startswith(_DJANGO):
            return self._django
        if scope["method"] == "HEAD":
            scope["method"] = "GET"  # the same answer, of which `_Exchange` passes the head on
        return self._reads if self._reads.takes(scope) else self.api

    def cors_headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Return what allows a page of this origin to read the answer."""
        if origin not in self.origins and "*" not in self.origins:
            return []
        shown = b"Age, Cache-Status, ETag, Link, Location, Matinee-Position, Matinee-Staleness, X-Request-Id, Retry-After"
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", shown),
            (b"vary", b"Origin"),
        ]

    def new_request_id(self) -> bytes:
        """Return an id that no other request has: a random part of the process and a number. A tenth of a UUID's cost."""
        return b"%b-%x" % (self._process, next(self._numbers))

    def record(self, scope: Any, method: str, status: int, sent_bytes: int, duration_s: float) -> None:
        """Count and log a request that has been answered."""
        route = scope.get("path_template") or ("/admin" if scope["path"].startswith(_DJANGO) else "unmatched")
        self._meter.record(method, route, status, duration_s)
        request_id = scope["matinee.request_id"].encode()
        self.access_log.note(method, scope["matinee.path"], status, duration_s, sent_bytes, request_id)


class _Exchange:
    """One request and its answer on their way through the front."""

    __slots__ = (
        "_began_s",
        "_extra",
        "_front",
        "_has_place",
        "_is_body_over",
        "_method",
        "_read_bytes",
        "_receive",
        "_scope",
        "_send",
        "_sent_bytes",
        "_status",
        "is_admin",
    )

    def __init__(self, front: Front, scope: Any, receive: Any, send: Any, began_s: float) -> None:
        self._front, self._scope, self._receive, self._send = front, scope, receive, send
        self._began_s = began_s
        self._method = scope["method"]
        # Sign-ins have slots of their own (sign_in_slots.py): a flood of them must not fill the admin's share of the places.
        self.is_admin = scope["path"].startswith("/admin") and not hashes_a_password(scope)
        self._has_place = self._is_body_over = False
        self._status = self._sent_bytes = self._read_bytes = 0
        self._extra: list[tuple[bytes, bytes]] = []

    async def run(self, app: AsgiApp) -> None:
        """Hand the request to the application and watch over what goes in and out."""
        scope, config = self._scope, self._front.config
        scope["matinee.path"] = scope["path"]
        stated_bytes = self._read_headers()
        try:
            if stated_bytes > config.max_body_bytes:
                if stated_bytes <= _DISCARD_BYTES:
                    await self._discard()
                raise BodyTooLarge(self._too_large())
            if self._method == "OPTIONS" and self._extra and b"access-control-request-method" in dict(scope["headers"]):
                await self._answer_preflight()
            else:
                await app(scope, self._take_in, self._pass_on)
        except Exception as error:
            if self._status:
                raise
            await problem_answer(scope, config, as_matinee_error(error, scope))(scope, self._receive, self._pass_on)

    def _read_headers(self) -> int:
        """Take the request's id, its origin and its length from its headers, in one walk."""
        request_id, stated_bytes = None, 0
        for name, value in self._scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value
            elif name == b"content-length" and value.isdigit():
                stated_bytes = int(value[:20])
            elif name == b"origin" and self._front.origins:
                self._extra = self._front.cors_headers(value.decode("latin-1"))
        request_id = request_id or self._front.new_request_id()
        self._scope["matinee.request_id"] = request_id.decode()
        self._extra.append((b"x-request-id", request_id))
        return stated_bytes

    def enter(self) -> None:
        """Take a place among the requests under way."""
        self._has_place = True
        self._front.places.take(is_admin=self.is_admin)

    def _leave(self) -> None:
        self._has_place = False
        self._front.places.free(is_admin=self.is_admin)

    async def shed(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002  ASGI's signature
        """Turn the request away. Raises: Overloaded."""
        if not _WITH_BODY.isdisjoint(name for name, _ in scope["headers"]):
            await self._discard()  # the connection can be used again only when the body has been read
        route = route_of(scope["path"])
        if route is not None:
            scope["path_template"] = route[1]
        raise self._refusal()

    def _refusal(self) -> Overloaded:
        self._front.count_shed()
        return Overloaded(self._front.places.refusal)

    async def _more(self) -> Any:
        """Return the next message. Who waits for a body gives the place up: slow senders cost nothing, and keep nobody out.

        Raises: Overloaded when there is none left at its end.
        """
        if self._is_body_over or not self._has_place:
            return await self._receive()
        self._leave()
        message = await self._receive()
        self._is_body_over = not message.get("more_body", False)
        if self._is_body_over and self._front.places.are_taken(is_admin=self.is_admin):
            raise self._refusal()
        self.enter()
        return message

    async def _take_in(self) -> Any:
        message = await self._more()
        if message["type"] == "http.request":
            self._read_bytes += len(message.get("body", b""))
            if self._read_bytes > self._front.config.max_body_bytes:
                raise BodyTooLarge(self._too_large())
        return message

    def _too_large(self) -> str:
        return f"The body is larger than {self._front.config.max_body_bytes} bytes; send less, or raise MATINEE_MAX_BODY_BYTES."

    async def _discard(self) -> None:
        more, read_bytes = True, 0
        while more and read_bytes <= _DISCARD_BYTES:
            message = await self._more()
            read_bytes += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)

    async def _pass_on(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = message.get("headers", ())
            if self._method == "OPTIONS" and self._scope.get("path_template") in self._front.methods:
                # Litestar lists the methods of one of the handlers of an address; we list those of all.
                allowed = self._front.methods[self._scope["path_template"]]
                headers = [(name, value) for name, value in headers if name != b"allow"] + [(b"allow", allowed.encode())]
            message["headers"] = [*headers, *self._extra]
        elif message["type"] == "http.response.body":
            if self._method == "HEAD":
                message = {**message, "body": b""}
            self._sent_bytes += len(message.get("body", b""))
        await self._send(message)

    async def _answer_preflight(self) -> None:
        headers = [
            (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
            (
                b"access-control-allow-headers",
                b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Matinee-Min-Position",
            ),
            (b"access-control-max-age", b"600"),
            (b"content-length", b"0"),
        ]
        await self._pass_on({"type": "http.response.start", "status": 204, "headers": headers})
        await self._pass_on({"type": "http.response.body", "body": b""})

    def finish(self) -> None:
        """Count and log the request; a client who hung up before the answer is a 499."""
        if self._has_place:
            self._leave()
        duration_s = time.monotonic() - self._began_s
        self._front.record(self._scope, self._method, self._status or 499, self._sent_bytes, duration_s)
