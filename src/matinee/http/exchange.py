"""One request that was no hit, and its answer, on their way through the front. Made by front.py for each such request.

It gives the request an id, refuses what cannot be answered, bounds the body in size and time, answers what no handler answered,
and counts and logs the request at its end. It must never let an error of a handler or of the client's connection out.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from matinee.errors import BodyTooLarge, ClientGone, MalformedBody, Overloaded, RequestTimeout
from matinee.http.addresses import require_possible
from matinee.http.client import client_site
from matinee.http.known_sessions import IS_VISITOR
from matinee.http.outgoing import PREFLIGHT
from matinee.http.problems import as_matinee_error, problem_answer
from matinee.http.reads import route_of
from matinee.http.sign_in_slots import hashes_a_password

if TYPE_CHECKING:
    from matinee.http.front import Front

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
DJANGO = ("/admin", "/static/")
ALWAYS_ANSWERED = frozenset(("/livez", "/readyz", "/metrics"))
# A client that is still sending does not read; what it sends beyond the limit is thrown away up to here, so
# that it gets to read why.
_DISCARD_BYTES = 64 * 1024 * 1024
_LAST_RESORT = (
    b'{"type":"%b/docs/errors/internal-error","title":"A fault of ours; the request id finds it in the log.","status":500,'
    b'"detail":"Something went wrong on our side.","errors":[],"request_id":"%b"}'
)


class Exchange:
    """One request and its answer on their way through the front."""

    __slots__ = (
        "_began_s",
        "_body_due_s",
        "_body_timeout",
        "_extra",
        "_front",
        "_has_place",
        "_is_admin",
        "_is_body_over",
        "_is_chunked",
        "_is_discarding",
        "_is_django",
        "_is_evicted",
        "_is_gone",
        "_is_preflight",
        "_method",
        "_read_bytes",
        "_receive",
        "_scope",
        "_send",
        "_sent_bytes",
        "_stated_bytes",
        "_status",
        "_visitor",
    )

    def __init__(self, front: Front, scope: Any, receive: Any, send: Any, began_s: float) -> None:
        self._front, self._scope, self._receive, self._send = front, scope, receive, send
        self._began_s = began_s
        self._method = scope["method"]
        # Sign-ins have slots of their own (sign_in_slots.py): a flood of them must not fill the admin's share of the places.
        self._is_admin = scope["path"].startswith("/admin") and not hashes_a_password(scope)
        self._is_django = scope["path"].startswith(DJANGO)
        self._visitor = self.client if self._is_admin and not front.sessions.knows(scope) else None
        if self._visitor is not None:
            scope[IS_VISITOR] = True
        self._has_place = self._is_body_over = self._is_chunked = self._is_gone = False
        self._is_discarding = self._is_evicted = self._is_preflight = False
        self._status = self._sent_bytes = self._read_bytes = self._stated_bytes = 0
        self._body_due_s: float | None = None
        self._body_timeout: asyncio.Timeout | None = None
        self._extra: list[tuple[bytes, bytes]] = []
        scope["matinee.path"] = scope["path"]
        self._read_headers()

    async def run(self) -> None:
        """Hand the request to what answers it, and watch over what goes in and out."""
        scope = self._scope
        try:
            require_possible(scope, self._front.hosts, is_health=scope["path"] in ALWAYS_ANSWERED, is_admin=self._is_django)
            app = self._front.choose(self, scope)
            await app(scope, self._take_in, self._pass_on)
        except Exception as error:  # noqa: BLE001  it is answered, and logged if it is a fault of ours
            await self._fail(error)

    @property
    def client(self) -> str:
        """Return what bodies and visitors are counted by: the client's address, of IPv6 its /48 network."""
        return client_site(self._front.client(self._scope))

    def own_application(self) -> AsgiApp | None:
        """Return what answers the request without a handler: a preflight, and a body whose length is above the limit."""
        if self._stated_bytes > self._front.config.max_body_bytes:
            return self._refuse_large
        return self._answer_preflight if self._is_preflight else None

    async def _fail(self, error: Exception) -> None:
        """Answer an error that no handler answered. An answer that has begun is left incomplete, which cuts the connection."""
        if self._is_gone:
            return
        try:
            problem = as_matinee_error(error, self._scope)
            if not self._status:
                await problem_answer(self._scope, self._front.config, problem)(self._scope, self._receive, self._pass_on)
        except Exception:
            if self._is_gone:
                return  # there is no client to answer any more
            if self._status:
                raise
            body = _LAST_RESORT % (self._front.config.public_url.encode(), self._scope["matinee.request_id"].encode())
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
            await self._pass_on({"type": "http.response.start", "status": 500, "headers": headers})
            await self._pass_on({"type": "http.response.body", "body": body})
            raise

    def _read_headers(self) -> None:
        """Take the request's id, its origin and its length from its headers, in one walk."""
        request_id, requests_method = None, False
        for name, value in self._scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                request_id = value
            elif name == b"content-length" and value.isdigit():
                self._stated_bytes = int(value.lstrip(b"0")[:20] or b"0")  # twenty digits are larger than any limit
            elif name == b"transfer-encoding":
                self._is_chunked = True
            elif name == b"origin" and self._front.outgoing.has_cors:
                self._extra = self._front.outgoing.cors(value)
            elif name == b"access-control-request-method":
                requests_method = True
        # Only an origin of MATINEE_CORS_ORIGINS gets headers here; pages of other sites have no business in the admin.
        self._is_preflight = requests_method and self._method == "OPTIONS" and bool(self._extra) and not self._is_django
        request_id = request_id or self._front.new_request_id()
        self._scope["matinee.request_id"] = request_id.decode()
        self._extra.append((b"x-request-id", request_id))
        self._scope["matinee.headers"] = self._extra  # limits.py adds what is left of a limit

    def finds_no_place(self) -> bool:
        """Return whether too many requests of its kind are under way."""
        return self._front.places.are_taken(is_admin=self._is_admin, visitor=self._visitor)

    def enter(self) -> None:
        """Take a place among the requests under way."""
        self._has_place = True
        self._front.places.take(is_admin=self._is_admin, visitor=self._visitor)

    def _leave(self) -> None:
        self._has_place = False
        self._front.places.free(is_admin=self._is_admin, visitor=self._visitor)

    async def shed(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002  ASGI's signature
        """Turn the request away. Raises: Overloaded."""
        await self.discard(self._front.config.max_body_bytes)
        route = route_of(scope["path"])
        if route is not None:
            scope["path_template"] = route[1]
        raise self._refusal()

    def _refusal(self) -> Overloaded:
        self._front.count_shed()
        return Overloaded(self._front.places.refusal)

    async def _more(self) -> Any:
        """Return the next message. Who waits for a body gives the place up: slow senders cost nothing, and keep nobody out.

        Raises: Overloaded when there is none left at its end; RequestTimeout when the body takes too long as a whole.
        """
        if self._is_body_over:
            return await self._receive()
        if not self._has_place:
            return await self._next_of_body()
        self._leave()
        message = await self._next_of_body()
        if self._is_body_over and self.finds_no_place():
            raise self._refusal()
        self.enter()
        return message

    async def _next_of_body(self) -> Any:
        if self._is_evicted:
            raise self._late()
        loop = asyncio.get_running_loop()
        self._body_due_s = self._body_due_s or loop.time() + self._front.config.body_timeout_s
        try:
            async with asyncio.timeout_at(self._body_due_s) as self._body_timeout:
                message = await self._receive()
        except TimeoutError:
            raise self._late() from None
        finally:
            self._body_timeout = None
        self._is_body_over = message["type"] == "http.request" and not message.get("more_body", False)
        if not message.get("more_body", False):
            self._front.bodies.remove(self)
        elif not self._is_discarding:  # a piece that is dropped takes no memory
            self._front.bodies.add(self, len(message.get("body", b"")))
        return message

    def _late(self) -> RequestTimeout:
        """Return the error of a body that has taken too long, or that was evicted, and expect no more of it."""
        self._is_body_over = True
        timeout_s, most_bytes = self._front.config.body_timeout_s, self._front.bodies.most_bytes
        if self._is_evicted:
            return RequestTimeout(
                f"Bodies that are still arriving fill {most_bytes} bytes of this server process, and this one was the largest "
                "of the client that sends the most; send it again later, faster, and fewer at once."
            )
        return RequestTimeout(
            f"The body did not arrive completely within {timeout_s} s; send it faster, or raise MATINEE_BODY_TIMEOUT_S."
        )

    def end_body(self) -> None:
        """Stop waiting for the rest of the body: see bodies.py."""
        self._is_evicted = True
        # A timeout that has expired already ends the wait itself; to reschedule it raises.
        if self._body_timeout is not None and not self._body_timeout.expired():
            self._body_timeout.reschedule(-1.0)  # before any moment of the loop's clock

    async def _take_in(self) -> Any:
        message = await self._more()
        if message["type"] == "http.request":
            self._read_bytes += len(message.get("body", b""))
            if self._read_bytes > self._front.config.max_body_bytes:
                raise BodyTooLarge(self._too_large())
            if message.get("more_body", False):
                return message
            self._is_body_over = True
        if not self._is_body_over or (not self._is_chunked and self._read_bytes < self._stated_bytes):
            raise self._broken_off()
        return message

    def _broken_off(self) -> ClientGone | MalformedBody:
        """Return the error of a body that has ended too early: no handler may take what arrived for all of it.

        The server below reports a malformed chunk in the same way as a closed connection, so chunked bodies count as malformed.
        """
        if self._is_chunked:
            return MalformedBody("The chunks of the body are malformed, or end before the last one.")
        return ClientGone(f"The body ended after {self._read_bytes} of {self._stated_bytes} bytes.")

    def _too_large(self) -> str:
        return f"The body is larger than {self._front.config.max_body_bytes} bytes; send less, or raise MATINEE_MAX_BODY_BYTES."

    async def discard(self, most_bytes: int) -> None:
        """Read the rest of the body and drop it: the client then reads its answer, and its connection can be used again.

        A body with a stated length above `most_bytes` is not read at all; the server below closes its connection.
        """
        has_body = self._stated_bytes or self._is_chunked
        if not has_body or self._stated_bytes > most_bytes:
            return
        if self._has_place:
            self._leave()
        self._is_discarding = True
        self._front.bodies.remove(self)
        while not self._is_body_over and self._read_bytes <= most_bytes:
            message = await self._next_of_body()
            self._read_bytes += len(message.get("body", b""))
            if message["type"] == "http.disconnect":
                raise self._broken_off()

    async def _refuse_large(self, *_: Any) -> None:
        """Raises: BodyTooLarge, when what is worth reading of the body has been read."""
        await self.discard(_DISCARD_BYTES)
        raise BodyTooLarge(self._too_large())

    async def _pass_on(self, message: Any) -> None:
        if self._is_gone:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = message.get("headers", ())
            if self._method == "OPTIONS" and self._scope.get("path_template") in self._front.methods:
                # Litestar lists the methods of one of the handlers of an address; we list those of all.
                allowed = self._front.methods[self._scope["path_template"]]
                headers = [(name, value) for name, value in headers if name != b"allow"] + [(b"allow", allowed.encode())]
            message["headers"] = self._front.outgoing.completed(headers, self._extra)
        elif message["type"] == "http.response.body":
            if self._method == "HEAD":
                message = {**message, "body": b""}
            self._sent_bytes += len(message.get("body", b""))
        try:
            await self._send(message)
        except BaseException as error:
            self._is_gone, self._status = True, ClientGone.status
            if isinstance(error, Exception):
                raise ClientGone from error
            raise

    async def _answer_preflight(self, *_: Any) -> None:
        await self._pass_on({"type": "http.response.start", "status": 204, "headers": PREFLIGHT})
        await self._pass_on({"type": "http.response.body", "body": b""})

    def finish(self) -> None:
        """Count and log the request; a client who hung up before the answer is a 499."""
        if self._has_place:
            self._leave()
        self._front.bodies.remove(self)
        duration_s = time.monotonic() - self._began_s
        self._front.record(self._scope, self._method, self._status or ClientGone.status, self._sent_bytes, duration_s)
