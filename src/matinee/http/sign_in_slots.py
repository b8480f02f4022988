"""Slots for the admin's requests that hash a password, and the client's address for all of the admin's requests.

Called by the front in place of Django; passes everything on to it. A password hash takes 0.3 s of a core. Only
`_RUNNING` of these requests run at once in a process and `_WAITING` wait; the rest gets 429 or 503 before Django sees it.
The body is read before a slot is taken, so a slow sender holds none. A form in another encoding than UTF-8 is refused. Must
never look at what a body says.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from typing import Any

from matinee.config import Config
from matinee.http.client import client_address, client_site
from matinee.http.known_sessions import SIGNED_IN, KnownSessions
from matinee.http.public_path import for_django

# For sign-ins, and as many for signed-in users. The last of those that wait begins within seven seconds, so attempts from forty
# addresses do not block other users; each of these addresses is soon refused before anything is hashed (write/sign_ins.py).
_RUNNING, _WAITING = 2, 40
_OF_ONE_CLIENT = 2  # of these at once, so that one stranger leaves the other slots free
_MAX_FORM_BYTES = 65_536  # a form with two passwords has less than a kilobyte
_SIGN_IN = "/admin/login"
_HASHES = re.compile(r"/admin/(?:login|password_change|auth/user/add|auth/user/[^/]+/password)/?")
_CHARSET = re.compile(rb";\s*charset\s*=([^;]*)", re.IGNORECASE)
_READABLE = frozenset(("utf-8", "utf8"))
_HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{title} | Matinee</title>"
    "<h1>{title}</h1><p>{text}</p><p>{remedy}</p>"
)


def hashes_a_password(scope: Any) -> bool:
    """Return whether a request is one of those that hash a password."""
    return scope["method"] == "POST" and _HASHES.fullmatch(scope["path"]) is not None


class Slots:
    """How many of these requests run, how many wait, and how many each client has of both. Used on one event loop."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(_RUNNING)
        self._inside = 0
        self._of_client: Counter[str] = Counter()

    def refusal(self, client: str) -> tuple[int, str] | None:
        """Return status and reason of a refusal, None when there is a slot or a place in the queue."""
        if client and self._of_client[client] >= _OF_ONE_CLIENT:
            return 429, "Your address has other sign-ins under way."
        if self._inside >= _RUNNING + _WAITING:
            return 503, "Too many sign-ins are under way."
        return None

    @asynccontextmanager
    async def taken(self, client: str) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        self._inside += 1
        self._of_client[client] += 1
        try:
            async with self._running:
                yield
        finally:
            self._inside -= 1
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]


class SignInSlots:
    """An ASGI application in front of Django."""

    def __init__(self, django: Any, config: Config) -> None:
        self._django, self._trusted, self._path = django, config.trusted_proxies, config.public_path
        self._sign_ins, self._signed_in = Slots(), Slots()
        self.sessions = KnownSessions()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        address = client_address(scope, self._trusted)
        # Django's REMOTE_ADDR; without one it is left out, and the admin takes the address as unknown.
        scope = {**scope, "client": (address, 0) if address else None}
        if charset := _foreign_charset(scope):
            text = f"This form is encoded as {charset[:40]!r}; the admin reads UTF-8 only."
            await _refuse(send, 415, text)
            return
        if not hashes_a_password(scope):
            await self._answer(scope, receive, send)
            return
        slots = self._sign_ins if scope["path"].rstrip("/") == _SIGN_IN else self._signed_in
        try:
            body = await _form(receive)
        except ConnectionAbortedError:
            return  # there is no client to answer
        client = client_site(address)
        if body is None:
            await _refuse(send, 413, "This form is larger than any that the admin sends.")
        elif refusal := slots.refusal(client):
            await _refuse(send, *refusal)
        else:
            async with slots.taken(client):
                await self._answer(scope, _replay(body, receive), send)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Let Django answer, and remember the session when it has found a user."""
        scope = for_django(self._path, scope)

        async def pass_on(message: Any) -> None:
            # Before the client has the answer: its next request may come at once.
            if SIGNED_IN in scope and message["type"] == "http.response.start":
                self.sessions.note(scope, message["headers"])
            await send(message)

        await self._django(scope, receive, pass_on)


def _foreign_charset(scope: Any) -> str:
    """Return the charset that a body says it has, empty if it is UTF-8 or says none.

    Django decodes with whatever codec Python has of that name, and fails on most of them with an error of the server.
    """
    for name, value in scope["headers"]:
        if name == b"content-type" and (found := _CHARSET.search(value)):
            charset = found[1].decode("latin-1").strip("\"' ").lower()
            return "" if charset in _READABLE else charset or "nothing"
    return ""


async def _form(receive: Any) -> bytes | None:
    """Return the request's body, None when it is too large. What comes after the limit is read and dropped.

    Raises: ConnectionAbortedError when the client disconnects before its end.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        part = message.get("body", b"")
        size += len(part)
        if size <= _MAX_FORM_BYTES:
            parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts) if size <= _MAX_FORM_BYTES else None


def _replay(body: bytes, receive: Any) -> Any:
    """Return a `receive` that gives the body in one message, then what the connection says."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return messages.pop() if messages else await receive()

    return again


async def _refuse(send: Any, status: int, text: str) -> None:
    is_later = status != 415
    title = "Not right now" if is_later else "This form cannot be read"
    remedy = "Go back, and try again in 1 s." if is_later else "Go back, and change what you sent."
    page = _PAGE.format(title=title, text=escape(text), remedy=remedy).encode()
    headers = [*_HEADERS, (b"content-length", str(len(page)).encode())]
    headers += [(b"retry-after", b"1")] if is_later else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": page})
