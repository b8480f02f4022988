"""A small HTTP/1.1 client that sends exactly the bytes it is given. Called by the attacks.

Client libraries refuse to send what an attacker sends. Every wait has a deadline, so an attack ends whatever the server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import NamedTuple

ANSWER_WITHIN_S = 10.0
# Attackers come from these loopback addresses; the clients that must not notice the attack come from PROBE.
ATTACKERS = tuple(f"127.0.9.{host}" for host in range(1, 5))
PROBE = "127.0.8.1"
_sources = itertools.cycle(ATTACKERS)
_LOST = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError)


class Answer(NamedTuple):
    """An answer: its status (0: the connection was closed without one), its head in lower case, its body."""

    status: int
    head: bytes = b""
    body: bytes = b""

    def header(self, name: bytes) -> bytes:
        """Return a header's value; empty when it is missing."""
        return self.head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()


class Target(NamedTuple):
    """Where the server listens."""

    host: str
    port: int

    @property
    def host_header(self) -> bytes:
        """Return a Host header that the server accepts."""
        return f"Host: {self.host}:{self.port}\r\n".encode()


@asynccontextmanager
async def connected(
    target: Target, source: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect from one of the attackers' addresses, or from `source`; the connection is dropped at the end."""
    opening = asyncio.open_connection(target.host, target.port, local_addr=(source or next(_sources), 0))
    reader, writer = await asyncio.wait_for(opening, ANSWER_WITHIN_S)
    try:
        yield reader, writer
    finally:
        # Abort, not close: tens of thousands of connections in TIME_WAIT would use up the ports of this machine.
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, *, has_body: bool = True) -> Answer:
    """Read one answer with its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    answer = Answer(status, head)
    if not has_body or status in (204, 304) or status < 200:
        return answer
    if b"chunked" in answer.header(b"transfer-encoding"):
        return answer._replace(body=await _chunks(reader))
    return answer._replace(body=await reader.readexactly(int(answer.header(b"content-length") or 0)))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size_bytes := int(await reader.readline(), 16):
        body += (await reader.readexactly(size_bytes + 2))[:-2]
    await reader.readline()
    return body


async def send(target: Target, request: bytes, *, has_body: bool = True) -> Answer:
    """Send these bytes on a connection of their own, half-close it, and return the first answer."""
    with contextlib.suppress(*_LOST):
        async with asyncio.timeout(ANSWER_WITHIN_S), connected(target) as (reader, writer):
            writer.write(request)
            # Half-closed: a request that is not complete ends here instead of waiting for its rest.
            writer.write_eof()
            return await read_answer(reader, has_body=has_body)
    return Answer(0)


class Wire:
    """One connection that is kept open between requests and opened again when the server has closed it."""

    def __init__(self, target: Target, source: str | None = None) -> None:
        self._target, self._source = target, source or next(_sources)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self, request: bytes, *, has_body: bool = True) -> Answer:
        """Send a request and return its answer."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                if self._reader is None or self._reader.at_eof():
                    opening = asyncio.open_connection(self._target.host, self._target.port, local_addr=(self._source, 0))
                    self._reader, self._writer = await opening
                assert self._writer is not None
                self._writer.write(request)
                answer = await read_answer(self._reader, has_body=has_body)
        except _LOST:
            self.close()
            return Answer(0)
        if answer.header(b"connection") == b"close":
            self.close()
        return answer

    def close(self) -> None:
        """Drop the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


async def in_parallel(items: Iterable[object], at_once: int, work: Callable[..., Awaitable[None]]) -> None:
    """Work on all items, so many at a time."""
    shared = iter(items)

    async def worker() -> None:
        for item in shared:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(at_once)))


def request(method: str, path: str, target: Target, headers: bytes = b"", body: bytes | None = None) -> bytes:
    """Return a well-formed request."""
    if body is not None:
        headers += b"Content-Length: %d\r\n" % len(body)
    return f"{method} {path} HTTP/1.1\r\n".encode() + target.host_header + headers + b"\r\n" + (body or b"")


Statuses = Counter[int]
