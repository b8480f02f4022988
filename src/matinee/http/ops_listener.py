"""Answer /livez, /readyz and /metrics to operators on a listener of their own, also while the service's listener is flooded.

Started by app.py with a socket that the server's parent process has opened; every worker accepts from it. It serves nothing but
these paths, one request a connection, and bounds itself: few connections, a small head, a short time. It must never depend on
Granian, whose connections may all be taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog

from matinee.http.health import OPERATOR

SOCKET_VARIABLE = "_MATINEE_OPS_SOCKET"  # set by the server's parent process for its workers; no setting of a user's
PATHS = frozenset(("/livez", "/readyz", "/metrics"))
_METHODS = ("GET", "HEAD")
_MOST_CONNECTIONS = 64  # of a worker; beyond it the oldest gives way
_MOST_HEAD_BYTES = 8192
_TIMEOUT_S = 5.0
log = structlog.get_logger("matinee.ops")


class OpsListener:
    """The listener of one worker."""

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]], listener: socket.socket) -> None:
        self._app, self._listener = app, listener
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, None] = {}  # oldest first

    async def start(self) -> None:
        """Begin to answer; called on the event loop."""
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=_MOST_HEAD_BYTES)

    async def close(self) -> None:
        """Stop."""
        if self._server is not None:
            self._server.close()
        for writer in self._open:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            # What does not speak HTTP, is too long, or takes too long gets no answer.
            with contextlib.suppress(OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._answer(head))
                    await writer.drain()
        except Exception:
            log.exception("a health check failed")
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        method, target, version = head.partition(b"\r\n")[0].decode("ascii").split(" ")
        path = target.partition("?")[0]
        if not version.startswith("HTTP/1."):
            return _plain(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if path not in PATHS:
            return _plain(HTTPStatus.NOT_FOUND)
        if method not in _METHODS:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, [(b"allow", b"GET, HEAD")])
        return await self._of_service(method, path)

    async def _of_service(self, method: str, path: str) -> bytes:
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            messages.append(dict(message))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "client": None,
            "server": self._listener.getsockname()[:2],
            "state": {},
            OPERATOR: True,
        }
        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in messages)
        return _written(messages[0]["status"], messages[0]["headers"], body)


def inherited() -> socket.socket | None:
    """Return the socket that the server's parent process has opened for this; None when there is none."""
    number = os.environ.get(SOCKET_VARIABLE)
    return socket.socket(fileno=os.dup(int(number))) if number else None


def _plain(status: HTTPStatus, headers: list[tuple[bytes, bytes]] | None = None) -> bytes:
    body = f"{status.phrase}. Here are {', '.join(sorted(PATHS))}.\n".encode()
    stated = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    return _written(status, [*stated, *(headers or [])], body)


def _written(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()), b"connection: close"]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", b""]) + body
