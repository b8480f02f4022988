"""Reads sent on a clock, not one after another: a server that is slow does not slow the load.

Called by shared_tier.py and overload.py. What is measured of a read begins when it was due, so that waiting for a free
connection counts. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, cycle
from typing import NamedTuple, Self
from urllib.parse import urlsplit

_ANSWER_WITHIN_S = 5.0
_END_WITHIN_S = 10.0


class Read(NamedTuple):
    """One read: when it was due, how long it took from then on, and its status; 0 is no answer."""

    due_s: float
    took_s: float
    status: int


class Steady:
    """So many reads a second of paths in their order, over all servers in turn, until the block ends."""

    def __init__(self, urls: Sequence[str], paths: Sequence[str], per_s: float) -> None:
        self._servers = [(address.hostname or "", address.port or 80) for address in map(urlsplit, urls)]
        self._paths, self._per_s = cycle(paths), per_s
        self.reads: list[Read] = []
        self._idle: dict[tuple[str, int], list[_Wire]] = {server: [] for server in self._servers}
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Send no more; what was sent is waited for at the block's end."""
        self._stop.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(_END_WITHIN_S)

    async def _run(self) -> None:
        began_s, tasks = time.monotonic(), set()
        for number, server, path in zip(count(), cycle(self._servers), self._paths, strict=False):
            due_s = began_s + number / self._per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if self._stop.is_set():
                break
            task = asyncio.create_task(self._read(server, path, due_s))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for wire in self._wires():
            wire.close()

    def _wires(self) -> Iterator[_Wire]:
        for idle in self._idle.values():
            yield from idle

    async def _read(self, server: tuple[str, int], path: str, due_s: float) -> None:
        status = 0
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                idle = self._idle[server]
                wire = idle.pop() if idle else await _Wire.to(*server)
                status = await wire.get(path)
                idle.append(wire)
        self.reads.append(Read(due_s, time.monotonic() - due_s, status))


class _Wire:
    """One connection that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    async def get(self, path: str) -> int:
        """Send a GET and return its status when its body has come."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length or 0))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
