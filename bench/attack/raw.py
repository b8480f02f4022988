"""The raw-request fuzzer: bytes that no decent client sends, as requests for reads. Called by __main__.py.

Each request is a well-formed one with one to three mutations. The same seed sends the same bytes. A closed connection without
an answer is fine for bytes that are no HTTP; a 5xx never is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from bench.attack.wire import Statuses, Target, in_parallel, send

_AT_ONCE = 16
_PATHS = (
    "/v1/movies/1", "/v1/movies/imdb:tt0078748", "/v1/movies", "/v1/search?q=star", "/v1/suggest?q=st",
    "/v1/people/5", "/v1/genres", "/v1/trending", "/v1/changes?since=0", "/docs", "/openapi.json", "/livez",
    "/readyz", "/metrics", "/admin/login/", "/static/admin/css/base.css", "/", "/docs/errors/not-found",
)  # fmt: skip
_METHODS = ("GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW", "get", "")
_QUERIES = (
    "limit", "cursor", "sort", "genre", "year", "year_from", "year_to", "rating_min", "votes_min", "runtime_min",
    "runtime_max", "ids", "q", "window", "since", "person", "director", "language", "country", "%00", "",
)  # fmt: skip
_VALUES = (
    "", "0", "-1", "1e999", "NaN", "inf", "9" * 30, "9" * 400, "%00", "%ff%fe", "%ed%a0%80", "%zz", "%",
    "%F0%9F%8E%AC", "a|b|c", "null", "true", "[]", "{}", "'", '"', "--", "..%2f..%2f", "%D9%A1", "-popularity",
    "+title", "\u00df".encode().decode("latin-1"), "a" * 9_000, ",".join(map(str, range(300))), "%E2%80%8B", "$", "*",
    "1;drop", "\x7f",
)  # fmt: skip
_HEADERS = (
    b"Matinee-Min-Position: abc", b"Matinee-Min-Position: " + b"9" * 40, b"Matinee-Min-Position: \xd9\xa1",
    b"Matinee-Min-Position: -1", b"If-None-Match: \xff,,\"", b'If-None-Match: "1.2", W/"x", *',
    b"If-Match: W/\"1.1\"", b"If-Modified-Since: yesterday", b"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
    b"Accept-Encoding: br;q=nan, gzip;q=1e999", b"Accept-Encoding: " + b"x," * 4_000,
    b"Cache-Control: max-stale=" + b"9" * 20, b"Cache-Control: max-stale=-1",
    b"Cookie: matinee_position=" + b"9" * 30, b"Cookie: matinee_session=\xff\xfe; ;=;", b"Origin: \xff",
    b"Origin: null", b"X-Request-Id: " + b"\xff" * 10, b"X-Request-Id: a b\tc", b"Host: evil.example\"><script>",
    b"Host: \xff\xfe", b"Host: a/b?c#d", b"Host:", b"X-Forwarded-For: 1.2.3.4, nonsense, \xff",
    b"X-Forwarded-Proto: \xff", b"Authorization: Bearer \xff\xfe\x80", b"Authorization: Bearer",
    b"Authorization: Basic x", b"Range: bytes=0-", b"Expect: 100-continue", b"Content-Length: 5",
    b"Content-Length: -1", b"Content-Length: many", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    b"X: " + b"y" * 70_000, b"X\x00: y", b" folded: line", b"NoColon", b"\xff: 1", b"Accept: " + b"*/*," * 3_000,
    b"Content-Type: application/json; charset=\xff",
)  # fmt: skip
_BODIES = (
    b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"ffffffffffffffff\r\n", b"5\r\nhe", b"-1\r\n\r\n", b"\x00" * 50,
    b"0\r\nX: y\r\n\r\n",
)  # fmt: skip

Mutation = Callable[[random.Random, bytearray], None]


def _flip(chance: random.Random, message: bytearray) -> None:
    for _ in range(chance.randrange(1, 6)):
        message[chance.randrange(len(message))] = chance.randrange(256)


def _cut(chance: random.Random, message: bytearray) -> None:
    del message[chance.randrange(len(message)) :]
    message += b"\r" if chance.random() < 0.3 else b""


def _repeat(chance: random.Random, message: bytearray) -> None:
    start = chance.randrange(len(message))
    piece = message[start : start + chance.randrange(1, 40)]
    message[start:start] = piece * chance.randrange(1, 50)


def _line_ends(chance: random.Random, message: bytearray) -> None:
    message[:] = message.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"\r\n\r\n", b" \r\n")))


def _pipeline(_: random.Random, message: bytearray) -> None:
    message += bytes(message)


_MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _repeat, _line_ends, _pipeline)


def messages(count: int, seed: int, target: Target) -> Iterator[tuple[bytes, bool]]:
    """Yield requests, and whether their answer has a body."""
    chance = random.Random(seed)
    for _ in range(count):
        method = chance.choice(_METHODS)
        path = chance.choice(_PATHS)
        for _ in range(chance.choice((0, 0, 1, 2))):
            path += f"{'&' if '?' in path else '?'}{chance.choice(_QUERIES)}={chance.choice(_VALUES)}"
        if chance.random() < 0.3:
            path = path.replace("movies/1", f"movies/{chance.choice(_VALUES)}")
        headers = [chance.choice(_HEADERS) for _ in range(chance.choice((0, 1, 1, 2, 3)))]
        version = chance.choice(("HTTP/1.1",) * 8 + ("HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "FTP/1", ""))
        start = f"{method} {path} {version}\r\n".encode("latin-1")
        message = bytearray(start + target.host_header + b"".join(header + b"\r\n" for header in headers) + b"\r\n")
        if chance.random() < 0.2:
            message += chance.choice(_BODIES)
        if chance.random() < 0.5:
            for _ in range(chance.randrange(1, 4)):
                chance.choice(_MUTATIONS)(chance, message)
                message = message or bytearray(b"\x00")
        yield bytes(message), not message.startswith(b"HEAD")


async def attack(target: Target, count: int, seed: int, answered: Statuses) -> list[bytes]:
    """Send the requests and count the answers by status; return the requests that were answered with a 5xx."""
    faults: list[bytes] = []

    async def one(item: tuple[bytes, bool]) -> None:
        answer = await send(target, item[0], has_body=item[1])
        answered[answer.status] += 1
        if answer.status >= 500 and answer.status != 505:  # 505: the HTTP version is the client's
            faults.append(b"%d to %r" % (answer.status, item[0][:400]))

    await in_parallel(messages(count, seed, target), _AT_ONCE, one)
    return faults
