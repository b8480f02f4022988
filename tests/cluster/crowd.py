"""A crowd of clients that read from all servers and write through them, and the record of every answer.

Run beside faults by test_coherence.py, which checks the record afterwards (history.py). Each client reads one thing after
another, from a server that it chooses anew each time. One in four shows the newest position that it has seen, so that it is
never answered from before that; one in four asks again for what it knows, by its ETag.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Self

from tests.cluster.history import Acknowledged, Read
from tests.cluster.load import Wire

CLIENTS = 32
WRITERS = 2
READ_EVERY_S = 0.025  # each client, if the servers are that fast
# Each writing client: a server that has just written believes nothing that it keeps until the log shows that write.
WRITE_EVERY_S = 0.4
PAGES = (
    "/v1/movies?sort=-added&limit=10",
    "/v1/movies?sort=title&limit=10",
    "/v1/movies?genre=drama&sort=year&limit=10",
    "/v1/search?q=film&limit=10",
)
_PAGE_SHARE, _ETAG_SHARE = 0.1, 0.5
_CLIENT_DEADLINE_S = 8.0
_MOVIE = re.compile(rb'"id":(\d+),"version":(\d+),')
_TAG = re.compile(r'"(\d+)\.\d+"')

Seen = tuple[tuple[int, int], ...]


@dataclass
class Crowd:
    """Clients that read and write; `urls` may grow meanwhile. `written` movies, the first ones, are changed all the time."""

    urls: list[str]
    key: str
    movies: int
    written: int
    seed: int
    reads: list[Read] = field(default_factory=list)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _run(self) -> None:
        clients = [_Client(self, number) for number in range(CLIENTS + WRITERS)]
        readers = [client.read_on(self._stop) for client in clients[:CLIENTS]]
        await asyncio.gather(*readers, *(client.write_on(self._stop) for client in clients[CLIENTS:]))


class _Client:
    """One of the crowd."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd, self._number = crowd, number
        self._chance = random.Random(f"{crowd.seed} {number}")
        self._keeps = number % 4 == 0 or number >= CLIENTS
        self._knows = number % 4 == 1
        self._position = 0
        self._tags: dict[int, str] = {}
        self._wires: dict[int, Wire] = {}

    async def read_on(self, stop: threading.Event) -> None:
        """Read one thing after another."""
        due_s = time.monotonic() + self._chance.random() * READ_EVERY_S
        while not stop.is_set():
            await self._read()
            due_s = max(due_s + READ_EVERY_S, time.monotonic())  # what is late is not caught up with
            await asyncio.sleep(due_s - time.monotonic())

    async def write_on(self, stop: threading.Event) -> None:
        """Change one movie after another, each through any server, and look at it at once through any other."""
        number = 0
        while not stop.is_set():
            number += 1
            movie = self._chance.randrange(self._crowd.written) + 1
            await self._write(movie, number)
            await self._read_movie(movie)
            await asyncio.sleep(self._chance.random() * 2 * WRITE_EVERY_S)

    async def _write(self, movie: int, number: int) -> None:
        words = f"Written by client {self._number} as number {number}. " * self._chance.randrange(1, 30)
        body = json.dumps({"runtime_min": number, "overview": words.strip()}).encode()
        headers = f"Authorization: Bearer {self._crowd.key}\r\nContent-Type: application/merge-patch+json\r\nIf-Match: *\r\n"
        try:
            _, status, told, answer = await self._ask("PATCH", f"/v1/movies/{movie}", headers, body)
        except (OSError, TimeoutError, EOFError) as error:
            self._crowd.refused.append(repr(error))
            return
        if status == 200:
            self._position = int(told["matinee-position"])
            self._crowd.acknowledged.append(Acknowledged(time.monotonic(), self._position))
        else:
            self._crowd.refused.append(f"{status} {answer!r}")

    async def _read(self) -> None:
        if self._chance.random() < _PAGE_SHARE:
            await self._get(self._chance.choice(PAGES), self._own_headers(), movie=0)
        else:
            # Half of the reads are of the first quarter of the movies.
            await self._read_movie(int(self._crowd.movies * self._chance.random() ** 2) + 1)

    async def _read_movie(self, movie: int) -> None:
        headers = self._own_headers()
        if self._knows and movie in self._tags and self._chance.random() < _ETAG_SHARE:
            headers += f"If-None-Match: {self._tags[movie]}\r\n"
        await self._get(f"/v1/movies/{movie}", headers, movie)

    def _own_headers(self) -> str:
        return f"Matinee-Min-Position: {self._position}\r\n" if self._keeps and self._position else ""

    async def _get(self, path: str, headers: str, movie: int) -> None:
        shown = self._position if self._keeps else 0
        began_s, server, status, seen, told, detail = time.monotonic(), -1, 0, (), defaultdict(str), ""
        try:
            server, status, told, answer = await self._ask("GET", path, headers)
            seen = self._seen(status, told, answer, movie)
            detail = "" if status in (200, 304) else answer.decode(errors="replace")[:300]
        except (OSError, TimeoutError, EOFError, ValueError) as error:
            status, detail = 0, repr(error)
        took_s, position = time.monotonic() - began_s, int(told["matinee-position"] or 0)
        staleness, _, unverified = (told["matinee-staleness"] or "0").partition(";")
        self._position = max(self._position, position)
        self._crowd.reads.append(
            Read(self._number, self._keeps, server, began_s, took_s, status, not movie, seen, shown, position,
                 float(staleness), not unverified, told["cache-status"], detail)
        )  # fmt: skip

    def _seen(self, status: int, told: dict[str, str], answer: bytes, movie: int) -> Seen:
        """Return the movies of an answer with their versions. Raises: ValueError for an answer at odds with its own ETag."""
        if status == 200 and not movie:
            return tuple((int(found[1]), int(found[2])) for found in _MOVIE.finditer(answer))
        if status not in (200, 304):
            return ()
        tag, body = _TAG.fullmatch(told["etag"]), _MOVIE.search(answer)
        if tag is None or (status == 200 and (body is None or (int(body[1]), body[2]) != (movie, tag[1].encode()))):
            raise ValueError(f"{told['etag']} over {answer[:80]!r}")
        if status == 304 and told["etag"] != self._tags[movie]:
            raise ValueError(f"304 for {self._tags[movie]} is {told['etag']}")
        self._tags[movie] = told["etag"]
        return ((movie, int(tag[1])),)

    async def _ask(self, method: str, path: str, headers: str, body: bytes = b"") -> tuple[int, int, dict[str, str], bytes]:
        """Return which server was asked, and its answer. Raises: OSError, TimeoutError, EOFError."""
        server = self._chance.randrange(len(self._crowd.urls))
        async with asyncio.timeout(_CLIENT_DEADLINE_S):
            kept = self._wires.pop(server, None)
            wire = kept if kept is not None and kept.is_open else await Wire.connect(self._crowd.urls[server])
            status, told, answer = await wire.ask(method, path, headers, body)
        self._wires[server] = wire
        return server, status, defaultdict(str, told), answer
