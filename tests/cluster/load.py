"""A steady load over HTTP and the history of every answer, with the checks that are made of it afterwards.

Reads are sent on a clock, not one after another: a server that is slow does not slow the load. Positions, staleness and
times are recorded as they were told; whether they were true is found out from what the writers were answered.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

READS_A_SECOND = 300
WRITES_A_SECOND = 2
CLIENT_DEADLINE_S = 8.0
_CONNECTIONS = 64


@dataclass(frozen=True)
class Seen:
    """One request and its answer; status 0 is none. `shown` is the position that the request showed."""

    kind: str
    began_s: float
    took_s: float
    status: int
    shown: int
    position: int
    staleness_s: float
    detail: str = ""


@dataclass
class Load:
    """What runs beside a fault; its history."""

    url: str
    key: str
    movies: int
    history: list[Seen] = field(default_factory=list)
    ends_within_s: float = 30.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _newest: tuple[int, int] = (0, 0)  # the last acknowledged write: position and movie

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self.ends_within_s)

    def seen(self, kind: str, since_s: float = 0.0) -> list[Seen]:
        """Return what was answered to one kind of request."""
        return [item for item in list(self.history) if item.kind == kind and item.began_s >= since_s]

    async def _run(self) -> None:
        self._idle: list[Wire] = []
        running = {asyncio.create_task(self._every(1 / READS_A_SECOND, self._read)), asyncio.create_task(self._write_on())}
        await asyncio.to_thread(self._stop.wait)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _every(self, interval_s: float, work: Any) -> None:
        due_s, tasks = time.monotonic(), set()
        for number in itertools.count():
            task = asyncio.create_task(work(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            due_s += interval_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    async def _write_on(self) -> None:
        # One after another: an answer that does not come is waited for, up to the client's own deadline.
        for number in itertools.count():
            pause = asyncio.create_task(asyncio.sleep(1 / WRITES_A_SECOND))
            body = json.dumps({"title": f"Written {number}", "year": 2000 + number % 20, "genres": ["Drama"]}).encode()
            headers = f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            seen, _, answer = await self._ask("write", "POST", "/v1/movies", headers, body)
            if seen.status == 201:
                self._newest = seen.position, json.loads(answer)["id"]
            await pause

    async def _read(self, number: int) -> None:
        position, movie_id = self._newest
        if number % 10 == 0 and position:
            await self._ask("own", "GET", f"/v1/movies/{movie_id}", f"Matinee-Min-Position: {position}\r\n", shown=position)
        elif number % 10 == 5:
            await self._ask("read", "GET", "/v1/movies?genre=drama&sort=-added&limit=20")
        else:
            await self._ask("read", "GET", f"/v1/movies/{number % self.movies + 1}")

    async def _ask(
        self, kind: str, method: str, path: str, headers: str = "", body: bytes = b"", shown: int = 0
    ) -> tuple[Seen, dict[str, str], bytes]:
        began_s, status, position, staleness_s, answer = time.monotonic(), 0, 0, 0.0, b""
        wire, told = None, dict[str, str]()
        try:
            async with asyncio.timeout(CLIENT_DEADLINE_S):
                # The server ends a connection that was not used for half a minute; that is no read that fails.
                self._idle = [kept for kept in self._idle if kept.is_open]
                wire = self._idle.pop() if self._idle else await Wire.connect(self.url)
                status, told, answer = await wire.ask(method, path, headers, body)
                position = int(told.get("matinee-position", 0))
                staleness_s = float(told.get("matinee-staleness", "0").partition(";")[0])
                if told.get("connection") == "close":
                    wire.close()
                elif len(self._idle) < _CONNECTIONS:
                    self._idle.append(wire)
        except (OSError, TimeoutError, EOFError) as error:
            answer = repr(error).encode()
            if wire is not None:
                wire.close()
        detail = "" if 200 <= status < 300 else answer.decode(errors="replace")[:300]
        seen = Seen(kind, began_s, time.monotonic() - began_s, status, shown, position, staleness_s, detail)
        self.history.append(seen)
        return seen, told, answer


class Wire:
    """One connection of a client's; requests follow one another on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, url: str) -> Wire:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    @property
    def is_open(self) -> bool:
        """Return whether the server has not ended the connection."""
        return not self._reader.at_eof()

    async def ask(self, method: str, path: str, headers: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return int(lines[0].split()[1]), told, await self._reader.readexactly(int(told.get("content-length", 0)))

    def close(self) -> None:
        """Hang up, whatever is still to come."""
        self._writer.close()


# The checks. Each returns what is wrong; of a good history, nothing.


def failed_reads(load: Load) -> list[Seen]:
    """Return the reads that were not answered."""
    return [item for item in load.history if item.kind != "write" and item.status != 200]


def reads_behind_a_shown_position(load: Load) -> list[Seen]:
    """Return the reads that were answered from before the position that they showed."""
    return [item for item in load.history if item.status == 200 and item.position < item.shown]


def reads_staler_than_told(load: Load, tolerance_s: float = 0.05) -> list[tuple[Seen, Seen]]:
    """Return the reads that missed a write which had been acknowledged for longer than they said they might be stale."""
    writes = [item for item in load.history if item.kind == "write" and item.status == 201]
    return [
        (read, write)
        for read in load.history
        if read.kind != "write" and read.status == 200
        for write in writes
        if write.position > read.position and write.began_s + write.took_s < read.began_s - read.staleness_s - tolerance_s
    ]


def stale_reads(load: Load, bound_s: float) -> list[Seen]:
    """Return the reads that say they may be staler than the bound."""
    return [item for item in load.history if item.kind != "write" and item.staleness_s > bound_s]


def lost_writes(load: Load, log: set[int]) -> list[Seen]:
    """Return the acknowledged writes whose position is not in the log of the leader."""
    return [item for item in load.history if item.kind == "write" and item.status == 201 and item.position not in log]


def p99_s(load: Load) -> float:
    """Return the time within which ninety-nine of a hundred reads were answered."""
    times = sorted(item.took_s for item in load.history if item.kind != "write")
    return times[int(len(times) * 0.99)]
