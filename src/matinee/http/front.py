"""The ASGI front: the first of our code that a request meets, and the last that its answer passes.

It asks the local tier for a ready answer. What is not there goes through an exchange (exchange.py): the front turns away what
is too much (places.py), sends /admin and /static to Django, public reads to public_reads.py and the rest to the API. It counts
and logs all.
Invariants: no exception leaves it, whatever raises: a hit, a handler, the client's connection, the log. Every answer has a
request id and, where the access log is on, a line. It must stay thin: every request pays for every line.
"""

from __future__ import annotations

import secrets
import time
from itertools import count
from typing import Any

import structlog

from matinee.config import Config
from matinee.errors import ClientGone, MethodNotAllowed
from matinee.http.bodies import Bodies
from matinee.http.client import client_address
from matinee.http.exchange import ALWAYS_ANSWERED, DJANGO, REQUEST_ID, AsgiApp, Exchange
from matinee.http.hosts import hosts_of
from matinee.http.limits import Limits
from matinee.http.metrics import IN_FLIGHT, Meter
from matinee.http.outgoing import Outgoing
from matinee.http.places import Places
from matinee.http.public_reads import Hit, PublicReads
from matinee.http.sign_in_slots import SignInSlots
from matinee.http.under_way import UnderWay
from matinee.logs import AccessLog

_OF_FILES = frozenset(("GET", "HEAD"))
log = structlog.get_logger("matinee.http")


class Front:
    """The whole service as one ASGI application."""

    def __init__(
        self, api: AsgiApp, reads: PublicReads, django: SignInSlots, config: Config, methods: dict[str, str], limits: Limits
    ) -> None:
        """`methods` holds, for each route's template, what its Allow header lists."""
        self._limits = limits
        self.api, self._reads, self._django, self.config, self.methods = api, reads, django, config, methods
        self._meter, self.access_log = Meter(), AccessLog(config)
        self.places, self.under_way = Places(config.max_in_flight), UnderWay()
        self.sessions = django.sessions
        self.bodies = Bodies(config.max_body_bytes)
        self.hosts = hosts_of(config)
        self.outgoing = Outgoing(config)
        self._trusted = config.trusted_proxies
        self._process, self._numbers = secrets.token_hex(8).encode(), count(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or the application's lifespan. Raises nothing but a cancellation."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        began_s = time.monotonic()
        try:
            hit = self._reads.hit(scope, began_s)
        except Exception as error:  # noqa: BLE001  a fault of the cache must not fail the request
            self._fault("a look into the local cache failed", scope, error)
            hit = None  # the request is answered without it
        try:
            if hit is None:
                await self._exchange(scope, receive, send, began_s)
            else:
                await self._send_hit(scope, send, began_s, hit)
        except Exception as error:  # noqa: BLE001  nothing below could answer or log it in our shape
            self._fault("a request failed outside its handler", scope, error)

    async def _send_hit(self, scope: Any, send: Any, began_s: float, hit: Hit) -> None:
        status, headers, body, route, request_id, origin = hit
        if request_id is None or not REQUEST_ID.fullmatch(request_id):
            request_id = self.new_request_id()
        headers.append((b"x-request-id", request_id))
        if origin is not None and self.outgoing.has_cors:
            headers += self.outgoing.cors(origin)
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except BaseException as error:
            status = ClientGone.status
            if not isinstance(error, Exception):
                raise
        finally:
            duration_s = time.monotonic() - began_s
            self._meter.record(scope["method"], route, status, duration_s)
            if self.access_log.is_on:
                client = self.client(scope) if self._trusted else (scope.get("client") or ("",))[0]
                self.access_log.note(scope["method"], scope["path"], status, duration_s, len(body), request_id, client)

    def _fault(self, event: str, scope: Any, error: Exception) -> None:
        log.error(event, exc_info=error, path=scope["path"][:200], request_id=scope.get("matinee.request_id"))

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        """Start and end with the server; what was counted and noted last is not lost."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # there are none: the server answers 403
            return
        await self.api(scope, receive, send)
        self.publish()
        self.access_log.finish()

    async def _exchange(self, scope: Any, receive: Any, send: Any, began_s: float) -> None:
        exchange = Exchange(self, scope, receive, send, began_s)
        self.under_way.begin(scope)
        try:
            await exchange.run()
        finally:
            self.under_way.end(scope)
            exchange.finish()

    def choose(self, exchange: Exchange, scope: Any) -> AsgiApp:
        """Return what answers a request that was no hit, and give it a place among those under way unless it needs none."""
        is_health = scope["path"] in ALWAYS_ANSWERED
        # A request that waits for a load under way needs no place: a thousand requests for one key would take all places.
        is_joined = not is_health and self._reads.joins(scope)
        if not is_health and not is_joined:
            if exchange.finds_no_place() and not self._reads.is_known_absent(scope):
                return exchange.shed
            exchange.enter()
        application = exchange.own_application() or self._application(scope)
        return self._limits.around(application, scope, exchange.discard)

    def count_shed(self) -> None:
        """Count a request that was turned away."""
        self._meter.shed += 1

    def publish(self) -> None:
        """Bring what was counted of the requests to the metrics."""
        self._meter.publish()
        IN_FLIGHT.set(self.places.taken)

    def _application(self, scope: Any) -> AsgiApp:
        """Return what answers a request: Django, the reads that come before all routing, or the API."""
        if scope["path"].startswith(DJANGO):
            if scope["path"].startswith("/static/") and scope["method"] not in _OF_FILES:
                detail = f"{scope['method'][:20]} is not for files; they take GET, HEAD."
                raise MethodNotAllowed(detail, allowed="GET, HEAD")
            return self._django
        if scope["method"] == "HEAD":
            scope["method"] = "GET"  # the same answer, of which `Exchange` passes the head on
        return self._reads if self._reads.takes(scope) else self.api

    def new_request_id(self) -> bytes:
        """Return an id that no other request has: a random part of the process and a number. A tenth of a UUID's cost."""
        return b"%b-%x" % (self._process, next(self._numbers))

    def record(self, scope: Any, method: str, status: int, sent_bytes: int, duration_s: float) -> None:
        """Count and log a request that has been answered."""
        route = scope.get("path_template") or ("/admin" if scope["path"].startswith(DJANGO) else "unmatched")
        self._meter.record(method, route, status, duration_s)
        request_id = scope["matinee.request_id"].encode()
        self.access_log.note(method, scope["matinee.path"], status, duration_s, sent_bytes, request_id, self.client(scope))

    def client(self, scope: Any) -> str:
        """Return the address of a request's client, behind the trusted proxies."""
        return client_address(scope, self._trusted)
