"""A load whose writes each carry an Idempotency-Key and are sent again until it is known what became of them.

Used by the rows of the whole cluster (whole.py). A write that was not answered, or was answered by a 502 or 504 of the
balancer, is unknown: it may be in the catalogue. A 503 is a refusal, unless it says that the write may be there; what was
refused must not be there, and is not sent again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Literal

from tests.cluster.load import CLIENT_DEADLINE_S, READS_A_SECOND, Load, Seen

WRITES_A_SECOND = 5
RESOLVED_WITHIN_S = 60.0
_SENT_AGAIN_AFTER_S = 0.25
_YEARS = 80  # as many different pages: too many to be answered from what was kept a moment ago
_MAY_BE_THERE = b"the write may be there"

Outcome = Literal["invoke", "ok", "fail", "unknown"]


@dataclass
class Write:
    """One movie that a client wants: its key, all its attempts, and what is known of it."""

    key: str
    began_s: float
    attempts: list[Seen] = field(default_factory=list)
    outcome: Outcome = "invoke"
    was_unknown: bool = False
    position: int = 0
    movie_id: int = 0
    ended_s: float = 0.0

    @property
    def title(self) -> str:
        """Return the title, by which the movie is found."""
        return f"Written as {self.key}"


@dataclass
class KeyedLoad(Load):
    """Reads on a clock, and writes on another one that are followed to their end."""

    writes: list[Write] = field(default_factory=list)
    without_retry_after: list[Seen] = field(default_factory=list)  # the refusals that do not say when to come again
    began_s: float = 0.0
    ended_s: float = 0.0
    remark: str = ""  # what a row has to say of itself beside its figures
    ends_within_s: float = RESOLVED_WITHIN_S + 2 * CLIENT_DEADLINE_S

    @property
    def acknowledged(self) -> list[Write]:
        """Return the writes that are known to be done."""
        return [item for item in list(self.writes) if item.outcome == "ok"]

    def waiting(self, for_s: float) -> list[Write]:
        """Return the writes that have waited for so long for an answer to their first attempt."""
        return [item for item in list(self.writes) if not item.attempts and time.monotonic() - item.began_s > for_s]

    async def _run(self) -> None:
        self._idle = []
        self._pending: set[asyncio.Task[None]] = set()
        self.began_s = time.monotonic()
        clocks = {
            asyncio.create_task(self._every(1 / READS_A_SECOND, self._read)),
            asyncio.create_task(self._every(1 / WRITES_A_SECOND, self._begin_write)),
        }
        await asyncio.to_thread(self._stop.wait)
        self.ended_s = time.monotonic()
        for clock in clocks:
            clock.cancel()
        await asyncio.gather(*clocks, *self._pending, return_exceptions=True)
        for wire in self._idle:
            wire.close()

    async def _begin_write(self, number: int) -> None:
        # A task of its own: it is followed to its end also when the load has ended.
        task = asyncio.create_task(self._write(number))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _write(self, number: int) -> None:
        write = Write(f"{number}-{uuid.uuid4().hex}", time.monotonic())
        self.writes.append(write)
        body = json.dumps({"title": write.title, "year": 2000 + number % 20, "genres": ["Drama"]}).encode()
        headers = f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\nIdempotency-Key: {write.key}\r\n"
        give_up_s = time.monotonic() + RESOLVED_WITHIN_S
        while write.outcome == "invoke" or (write.outcome == "unknown" and time.monotonic() < give_up_s):
            seen, told, answer = await self._ask("write", "POST", "/v1/movies", headers, body)
            write.attempts.append(seen)
            if seen.status == 503 and "retry-after" not in told:
                self.without_retry_after.append(seen)
            write.ended_s = seen.began_s + seen.took_s
            if seen.status in {200, 201}:
                write.outcome, write.position, write.movie_id = "ok", seen.position, json.loads(answer)["id"]
                self._newest = max(self._newest, (write.position, write.movie_id))
            elif seen.status in {0, 502, 504} or _MAY_BE_THERE in answer:
                write.outcome, write.was_unknown = "unknown", True
            elif not write.was_unknown:
                write.outcome = "fail"
            if write.outcome == "unknown":
                await asyncio.sleep(_SENT_AGAIN_AFTER_S)

    async def _read(self, number: int) -> None:
        position, movie_id = self._newest
        if number % 10 == 0 and position:
            await self._ask("own", "GET", f"/v1/movies/{movie_id}", f"Matinee-Min-Position: {position}\r\n", shown=position)
        elif number % 3 == 1:
            await self._ask("read", "GET", f"/v1/movies?genre=drama&sort=-added&limit=10&year_from={1920 + number % _YEARS}")
        else:
            await self._ask("read", "GET", f"/v1/movies/{number * 7_919 % self.movies + 1}")


# The checks. Each returns what is wrong; of a good history, nothing.


def hung_writes(load: KeyedLoad) -> list[Seen]:
    """Return the attempts to write that had no answer within the client's deadline."""
    return [seen for write in load.writes for seen in write.attempts if seen.took_s > CLIENT_DEADLINE_S - 0.1]


def unresolved_writes(load: KeyedLoad) -> list[Write]:
    """Return the writes of which nobody knows what became of them."""
    return [write for write in load.writes if write.outcome in {"invoke", "unknown"}]


def odd_answers(load: KeyedLoad) -> list[Seen]:
    """Return the answers to writes that are neither an acknowledgement, a refusal, nor an unknown end."""
    return [seen for write in load.writes for seen in write.attempts if seen.status not in {0, 200, 201, 502, 503, 504}]


def interrupted_writes(load: KeyedLoad) -> list[Seen]:
    """Return the attempts to write that were not acknowledged."""
    return [seen for write in load.writes for seen in write.attempts if seen.status not in {200, 201}]


def write_gap_s(load: KeyedLoad) -> float:
    """Return the longest time without an acknowledged write."""
    moments = sorted(write.ended_s for write in load.acknowledged if write.ended_s < load.ended_s)
    moments = [load.began_s, *moments, load.ended_s]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))
