"""The clients that must not notice an attack: cheap reads and a few writes on a clock, in a process of their own.

Run by __main__.py: `python -m bench.attack.bystander HOST PORT KEY`, until its input ends; then it prints what it saw as JSON.
Latency counts from the moment at which a request was due, so a server that answers late cannot hide it. The requests come from
an address of their own: limits per client must not mix them up with the attackers.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from bench.attack.wire import PROBE, Answer, Target, Wire, request

READS_PER_S, WRITES_PER_S = 50, 2
_HOT_MOVIES, _MOVIES = 100, 17_000  # every other read is of a movie that is asked for often, the rest of any movie
_FRESH_EVERY = 5  # every so many reads on a connection of its own: a new client must be let in, too


@dataclass
class Seen:
    """What the bystanders saw: latencies in milliseconds, failures by kind, acknowledged writes by movie id."""

    latencies_ms: list[float] = field(default_factory=list)
    failed_reads: list[str] = field(default_factory=list)
    failed_writes: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    @property
    def p99_ms(self) -> float:
        """Return the time within which 99 of 100 reads were answered."""
        return statistics.quantiles(self.latencies_ms, n=100)[98] if len(self.latencies_ms) > 1 else 0.0


@contextmanager
def bystanders(target: Target, key: str) -> Iterator[Seen]:
    """Run the bystanders beside the block; what they saw is filled in at its end."""
    seen = Seen()
    command = [sys.executable, "-m", "bench.attack.bystander", target.host, str(target.port), key]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield seen
        said, _ = process.communicate("", 60)
        vars(seen).update(json.loads(said))
    finally:
        process.kill()
        process.communicate()


class _Bystander:
    def __init__(self, target: Target, key: str) -> None:
        self._target, self._key, self._random = target, key, random.Random(10)
        self._seen, self._idle = Seen(), [Wire(target, PROBE)]

    async def run(self) -> Seen:
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        began_s, tasks, number = time.monotonic(), set(), 0
        while not ended.done():
            due_s = began_s + number / READS_PER_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            work = [self._read(number, due_s)]
            if number % (READS_PER_S // WRITES_PER_S) == 0:
                work.append(self._write(number))
            tasks |= {asyncio.create_task(item) for item in work}
            tasks = {task for task in tasks if not task.done()}
            number += 1
        await asyncio.gather(*tasks)
        return self._seen

    async def _exchange(self, message: bytes, *, is_fresh: bool = False) -> Answer:
        wire = self._idle.pop() if self._idle and not is_fresh else Wire(self._target, PROBE)
        answer = await wire.exchange(message)
        if not answer.status and not is_fresh:
            # The server may close an idle connection just as a request is sent on it: HTTP clients try once more.
            answer = await wire.exchange(message)
        if is_fresh:
            wire.close()
        else:
            self._idle.append(wire)
        return answer

    async def _read(self, number: int, due_s: float) -> None:
        movie = self._random.randrange(1, _HOT_MOVIES if number % 2 else _MOVIES)
        message = request("GET", f"/v1/movies/{movie}", self._target)
        answer = await self._exchange(message, is_fresh=number % _FRESH_EVERY == 0)
        self._seen.latencies_ms.append((time.monotonic() - due_s) * 1000)
        if answer.status not in (200, 404):
            self._seen.failed_reads.append(f"{answer.status} after {self._seen.latencies_ms[-1]:.0f} ms")

    async def _write(self, number: int) -> None:
        title = f"attack bystander {number} {time.time_ns()}"
        headers = f"Authorization: Bearer {self._key}\r\nContent-Type: application/json\r\n".encode()
        body = json.dumps({"title": title, "year": 2000}).encode()
        answer = await self._exchange(request("POST", "/v1/movies", self._target, headers, body), is_fresh=True)
        if answer.status == 201:
            self._seen.written[str(json.loads(answer.body)["id"])] = title
        elif answer.status not in (429, 503):
            self._seen.failed_writes.append(str(answer.status))


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_Bystander(Target(sys.argv[1], int(sys.argv[2])), sys.argv[3]).run()))))
