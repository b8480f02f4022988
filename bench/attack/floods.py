"""The floods: connections, slow clients, cache keys, log lines, expensive reads, sign-ins. Called by __main__.py.

Each has a bound in number or time and drops its connections at its end. What must hold beside them is what the bystanders see,
and what the server's memory and log grow by.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from bench.attack.wire import Statuses, Target, Wire, connected, in_parallel, request

HOLD_S = 12.0  # how long connections are held, and floods without a natural end go on
_AT_ONCE = 16
_LOST = (OSError, TimeoutError, asyncio.IncompleteReadError)
_STEP_S = 0.5  # a slow client sends, or takes, a byte that often


@asynccontextmanager
async def _held(target: Target, count: int) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """Hold so many connections; those that the server does not accept in time are left out."""
    async with AsyncExitStack() as stack:
        wires: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

        async def one(_: object) -> None:
            with contextlib.suppress(*_LOST):
                wires.append(await stack.enter_async_context(connected(target)))

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(in_parallel(range(count), 64, one), HOLD_S)
        yield wires


async def idle(target: Target, answered: Statuses, count: int = 2_000) -> None:
    """Hold idle connections."""
    async with _held(target, count) as wires:
        await asyncio.sleep(HOLD_S)
        for reader, _ in wires:
            answered[-1 if reader.at_eof() else 0] += 1


async def slow(target: Target, answered: Statuses, count: int = 200) -> None:
    """Send heads and bodies byte by byte, and take no answer, each by a third of the clients; they come back when cut off."""
    ends_s = time.monotonic() + HOLD_S

    async def client(number: int) -> None:
        while time.monotonic() < ends_s:
            with contextlib.suppress(*_LOST):
                async with connected(target) as (reader, writer):
                    await _dawdle(number % 3, target, reader, writer, ends_s)
                    answered[-1 if reader.at_eof() else 0] += 1
            await asyncio.sleep(_STEP_S)

    await asyncio.gather(*(client(number) for number in range(count)))


async def _dawdle(kind: int, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends_s: float) -> None:
    if kind == 0:
        pieces: Iterator[bytes] = itertools.chain([b"GET / HTTP/1.1\r\n" + target.host_header + b"X: "], itertools.repeat(b"x"))
    elif kind == 1:
        head = request("POST", "/v1/movies", target, b"Content-Type: application/json\r\nContent-Length: 100000\r\n")
        pieces = itertools.chain([head], itertools.repeat(b" "))
    else:
        # Answers that fill the socket's buffers: this client never reads them.
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport reads, too
        pieces = itertools.repeat(request("GET", "/docs/assets/swagger-ui-bundle.js", target))
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(_STEP_S)
        if reader.at_eof() or writer.is_closing() or time.monotonic() > ends_s:
            return


async def churn(target: Target, answered: Statuses, count: int = 10_000) -> None:
    """Open connections and drop them at once."""

    async def one(_: object) -> None:
        with contextlib.suppress(*_LOST):
            async with connected(target):
                answered[0] += 1

    await in_parallel(range(count), _AT_ONCE, one)


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_WINDOW = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x00\x00\x00\x00"  # SETTINGS: initial window size 0


def _headers_frame(stream: int, target: Target) -> bytes:
    """Return a GET of the largest asset as a HEADERS frame, without compression."""

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    block = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/docs/assets/swagger-ui-bundle.js"),
            (b":authority", f"{target.host}:{target.port}".encode()),
        )
    )  # fmt: skip
    return len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + block


async def http2(target: Target, answered: Statuses, count: int = 60, streams: int = 200) -> None:
    """Open HTTP/2 connections that take no data, with many requests for a large file on each."""
    async with _held(target, count) as wires:
        for _, writer in wires:
            frames = b"".join(_headers_frame(2 * number + 1, target) for number in range(streams))
            writer.write(_PREFACE + _NO_WINDOW + frames)
        await asyncio.sleep(HOLD_S)
        for reader, _ in wires:
            answered[-1 if reader.at_eof() else 0] += 1


async def _requests(target: Target, messages: Iterator[bytes], answered: Statuses, at_once: int = _AT_ONCE) -> None:
    wires = [Wire(target) for _ in range(at_once)]

    async def one(message: bytes) -> None:
        wire = wires.pop()
        answered[(await wire.exchange(message)).status] += 1
        wires.append(wire)

    await in_parallel(messages, at_once, one)
    for wire in wires:
        wire.close()


async def long_ids(target: Target, answered: Statuses, count: int = 10_000) -> None:
    """Ask for movies with ids of 60,000 digits."""
    digits = "7" * 59_990
    await _requests(target, (request("GET", f"/v1/movies/{n:010}{digits}", target) for n in range(count)), answered)


async def many_keys(target: Target, answered: Statuses, count: int = 20_000) -> None:
    """Ask for what is not there, for pages with long queries and odd forms: each a key of its own."""
    chance = random.Random(7)

    def messages() -> Iterator[bytes]:
        for number in range(count):
            kind = number % 4
            encoding = f"Accept-Encoding: {'br' if number % 2 else 'gzip'}, x{number};q=0.{number % 10}\r\n".encode()
            if kind == 0:
                path = f"/v1/movies/{10**11 + number}"
            elif kind == 1:
                path = f"/v1/movies?limit={chance.randrange(1, 100)}&genre={number}{'g' * 3_000}"
            elif kind == 2:
                path = f"/v1/search?q={number}%20{'%20'.join('abcdefgh')}"
            else:
                path = f"/v1/movies/{chance.randrange(1, 17_000)}"
            yield request("GET", path, target, encoding)

    await _requests(target, messages(), answered)


async def log_lines(target: Target, answered: Statuses, count: int = 20_000) -> None:
    """Ask for long addresses with hosts, agents and ids that are to end up in the log."""

    def messages() -> Iterator[bytes]:
        for number in range(count):
            path = f"/admin/{number}{'a' * 8_000}" if number % 2 else f"/v1/nothing/{number}{'%0a' * 2_000}"
            headers = (
                b"User-Agent: " + b"u" * 8_000 + b"\r\nReferer: http://x/" + b"r" * 8_000 + b"\r\nX-Forwarded-For: 1.2.3.4\r\n"
            )
            bad_host = b"GET %b HTTP/1.1\r\nHost: evil%d.example\r\n%b\r\n" % (path.encode(), number, headers)
            yield bad_host if number % 3 else request("GET", path, target, headers)

    await _requests(target, messages(), answered)


async def expensive(target: Target, answered: Statuses, clients: int = 10) -> None:
    """Ask for lists that match next to nothing in the order of another key, from ten clients without a pause."""
    ends_s = time.monotonic() + HOLD_S

    def messages() -> Iterator[bytes]:
        for number in itertools.count():
            if time.monotonic() > ends_s:
                return
            filters = (
                ("runtime_min=99999", f"votes_min={number}")
                if number % 2
                else ("rating_min=9.9", f"runtime_min={300 + number}")
            )
            yield request("GET", f"/v1/movies?{'&'.join(filters)}", target)

    await _requests(target, messages(), answered, clients)


async def sign_ins(target: Target, answered: Statuses, session: str) -> list[bytes]:
    """Open the sign-in page and other pages of the admin, and try passwords, from forty anonymous clients.

    Returns what a signed-in admin saw beside them that is no 200.
    """
    ends_s = time.monotonic() + HOLD_S
    csrf = "a" * 32
    cookie = f"Cookie: matinee_csrf={csrf}\r\nContent-Type: application/x-www-form-urlencoded\r\n".encode()
    refused: list[bytes] = []

    def attempts() -> Iterator[bytes]:
        for number in itertools.count():
            if time.monotonic() > ends_s:
                return
            form = f"csrfmiddlewaretoken={csrf}&username=admin&password=guess{number}&next=/admin/".encode()
            yield request("POST", "/admin/login/", target, cookie, form)
            yield request("GET", "/admin/login/", target)
            yield request("GET", "/admin/catalogue/movie/", target, f"Cookie: matinee_session=made-up-{number}\r\n".encode())

    page = request("GET", "/admin/catalogue/movie/", target, f"Cookie: matinee_session={session}\r\n".encode())
    wire = Wire(target, "127.0.8.2")
    await wire.exchange(page)  # the session was made without a sign-in, so the server does not know it yet

    async def admin() -> None:
        while time.monotonic() < ends_s:
            if (answer := await wire.exchange(page)).status != 200:
                refused.append(b"the signed-in admin got %d" % answer.status)
            await asyncio.sleep(0.1)
        wire.close()

    await asyncio.gather(admin(), _requests(target, attempts(), answered, 40))
    return refused
