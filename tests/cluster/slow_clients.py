"""Clients that keep a server waiting: each sends the head of a request byte by byte, as an attacker or a bad line does.

Run by test_rows_servers.py as a process of its own, so that it takes nothing from the load beside it:
`python slow_clients.py URL COUNT`. It goes on until its input ends; then it prints how many were answered, by status.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_A_BYTE_EVERY_S = 0.5


@contextmanager
def slow_clients(url: str, count: int) -> Iterator[Counter[str]]:
    """Keep so many slow clients connected; return, when they have gone, how many were answered by each status."""
    answered: Counter[str] = Counter()
    process = subprocess.Popen(
        [sys.executable, __file__, url, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield answered
        said, _ = process.communicate("", 20)
        answered.update(json.loads(said))
    finally:
        process.kill()
        process.communicate()


async def _dawdle(url: str, answered: Counter[str]) -> None:
    parts = urlsplit(url)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            with contextlib.closing(writer):
                answer = asyncio.create_task(reader.readline())
                for piece in itertools.chain("GET / HTTP/1.1\r\nHost: localhost\r\n", itertools.repeat("x")):
                    writer.write(piece.encode())
                    if await asyncio.wait([answer], timeout=_A_BYTE_EVERY_S) != (set(), {answer}):
                        break
                answered[(await answer).decode().split()[1]] += 1


async def _all(url: str, count: int) -> None:
    answered: Counter[str] = Counter()
    tasks = [asyncio.create_task(_dawdle(url, answered)) for _ in range(count)]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(answered))


if __name__ == "__main__":
    asyncio.run(_all(sys.argv[1], int(sys.argv[2])))
