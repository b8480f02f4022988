"""The body fuzzer: documents that break rules, as writes with a valid key. Called by __main__.py.

It writes to movies that it made itself, and deletes them at the end. Valid documents are among the bodies, so the write path is
reached, too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from bench.attack.wire import Statuses, Target, Wire, in_parallel, request

_AT_ONCE = 8
SCRATCH_MOVIES = 20
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, 10**40, "", " ", "a", "x" * 5_000,
    "\u0000", "\u200b", "\ud800", "\u202e", "9999-12-31", "0000-00-00", "2000-02-30", "9999-12-31T23:59:59Z", [], {},
    [[]], [None], [1, "a"], [{"name": "Attack Person"}], [{"name": ""}], [{"id": 2**62}],
    [{"name": "A", "character": 5}], {"a": 1}, {"imdb": "tt1"}, {"imdb": "tt0078748"}, {"average": "high"},
    {"average": 11}, {"score": -5}, ["Drama"], ["Drama", "drama"], ["\u0301"], ["x" * 400],
)  # fmt: skip
_FIELDS = (
    "ids", "title", "original_title", "year", "released", "runtime_min", "genres", "directors", "writers", "cast",
    "languages", "countries", "companies", "overview", "tagline", "certificate", "rating", "critics", "awards",
    "popularity", "poster", "id", "version", "position", "updated_at", "nonsense", "", "\u0000", "__proto__",
    "title\u200b",
)  # fmt: skip
_RAW = (
    b"", b"null", b"[]", b'"x"', b"1", b"{", b'{"title":', b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 5_000,
    b'{"a":' * 3_000, b"\x00", b'{"title": "\\ud800"}', b'{"title": 1e999}', b'{"title": NaN}',
    b'{"title":"a","title":"b"}', b"<xml/>", b"title=a&year=2000",
)  # fmt: skip
_TYPES = (
    *(b"application/json",) * 8, *(b"application/merge-patch+json",) * 2, b"text/plain", b"", b"\xff",
    b"application/json; charset=utf-7",
)  # fmt: skip


def documents(chance: random.Random) -> bytes:
    """Return one body."""
    if chance.random() < 0.15:
        return chance.choice(_RAW)
    document: dict[str, Any] = {"title": f"attack {chance.randrange(10**9)}", "year": 1999}
    for _ in range(chance.randrange(0, 4)):
        document[chance.choice(_FIELDS)] = chance.choice(_VALUES)
    text = json.dumps(document).encode()
    return text[: chance.randrange(len(text))] if chance.random() < 0.05 else text


def messages(count: int, seed: int, target: Target, key: str, movies: list[int]) -> Iterator[bytes]:
    """Yield the requests."""
    chance = random.Random(seed)
    for _ in range(count):
        movie = chance.choice([*movies, 10**12, 0])
        method, path = chance.choice(
            (
                ("POST", "/v1/movies"),
                ("PUT", f"/v1/movies/{movie}"),
                ("PATCH", f"/v1/movies/{movie}"),
                ("PATCH", f"/v1/movies/{movie}"),
                ("POST", f"/v1/movies/{movie}/merge"),
            )
        )
        headers = b"Content-Type: " + chance.choice(_TYPES) + b"\r\n"
        headers += b"Authorization: Bearer %b\r\n" % (key.encode() if chance.random() < 0.97 else b"mk_wrong")
        if method != "POST":
            headers += b"If-Match: " + chance.choice((b"*", b"*", b"*", b'"1.1"', b'W/"1"', b"nonsense", b"")) + b"\r\n"
        elif chance.random() < 0.3:
            headers += (
                b"Idempotency-Key: " + chance.choice((b"a", b"attack-%d" % chance.randrange(50), b"\xff", b"x" * 300)) + b"\r\n"
            )
        yield request(method, path, target, headers, documents(chance))


async def attack(target: Target, key: str, count: int, seed: int, answered: Statuses) -> list[bytes]:
    """Send the documents; return the requests that were answered with a 5xx."""
    faults: list[bytes] = []
    wires = [Wire(target) for _ in range(_AT_ONCE)]
    created: list[int] = []

    async def one(message: bytes) -> None:
        wire = wires.pop()
        answer = await wire.exchange(message)
        wires.append(wire)
        answered[answer.status] += 1
        if answer.status == 201:
            created.append(json.loads(answer.body)["id"])
        if answer.status >= 500:
            faults.append(b"%d %b to %r" % (answer.status, answer.body[:200], message[:400]))

    headers = f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n".encode()
    scratch = [
        request("POST", "/v1/movies", target, headers, b'{"title":"attack scratch %d"}' % n) for n in range(SCRATCH_MOVIES)
    ]
    await in_parallel(scratch, _AT_ONCE, one)
    await in_parallel(messages(count, seed, target, key, list(created)), _AT_ONCE, one)
    await delete(target, key, created)
    return faults


async def delete(target: Target, key: str, movies: list[int]) -> None:
    """Delete the movies that the attack made."""
    wire = Wire(target)
    for movie in movies:
        await wire.exchange(
            request("DELETE", f"/v1/movies/{movie}", target, f"Authorization: Bearer {key}\r\nIf-Match: *\r\n".encode())
        )
    wire.close()
