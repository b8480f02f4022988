"""Clients that keep a connection and send little or nothing on it, as an attacker or a bad line does."""

from __future__ import annotations

import contextlib
import itertools
import resource
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from tests.processes import Server

HOST = b"Host: localhost\r\n"
GET = b"GET /v1/movies/1 HTTP/1.1\r\n" + HOST + b"\r\n"
SLOW_HEAD = b"GET /v1/movies/1 HTTP/1.1\r\n" + HOST + b"X-Slow: "
SLOW_BODY = b"POST /admin/login/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n"


def allow_many_files() -> None:
    """Raise this process's limit of open files to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address_of(server: Server) -> tuple[str, int]:
    """Return where a server listens."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


@contextmanager
def wire(server: Server, first: bytes = b"", *, source: str = "127.0.0.1", buffer_bytes: int = 0) -> Iterator[socket.socket]:
    """Connect from an address of this machine and send something; `buffer_bytes` is the room for answers."""
    with socket.socket() as connection:
        if buffer_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        connection.bind((source, 0))
        connection.settimeout(15)
        connection.connect(address_of(server))
        connection.sendall(first)
        yield connection


def wires(
    stack: ExitStack, server: Server, count: int, first: bytes = b"", *, source: str = "127.0.0.1"
) -> list[socket.socket]:
    """Open several connections that end with the stack."""
    return [stack.enter_context(wire(server, first, source=source)) for _ in range(count)]


def is_open(connection: socket.socket) -> bool:
    """Return whether the server has neither answered nor closed a connection."""
    readable, _, _ = select.select([connection], [], [], 0)
    return not readable


def rest(connection: socket.socket) -> bytes:
    """Return what comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return found


def trickle(connection: socket.socket, pieces: Iterable[bytes] = itertools.repeat(b"x"), every_s: float = 0.1) -> bytes:
    """Send a piece now and then until something comes or the server closes; return what comes until it closes."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for piece in pieces:
            connection.sendall(piece)
            if select.select([connection], [], [], every_s)[0]:
                break
    return rest(connection)
