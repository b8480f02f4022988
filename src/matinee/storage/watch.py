"""Look after the copies: sample the leader's position, tail each follower, eject what fails and take back what is well again.

Called by followers.py, which starts it with the first read. Everything here runs beside the requests, over connections of
its own: a request never waits for a probe, and no request of a user's is sent to find out whether a copy is well again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import psycopg

from matinee import background
from matinee.domain.change_log import FLOOD_CHANGES, ChangeLog, LogRow
from matinee.storage import read_metrics as metrics
from matinee.storage.copies import LAST_ONES_PATIENCE, Copy
from matinee.storage.leader_state import leader as leader_state
from matinee.storage.postgres import (
    CONNECT_TIMEOUT_S,
    Attempt,
    Connection,
    Server,
    ServerFailed,
    ServerSilent,
    cut,
    plain_text,
)
from matinee.storage.sql import named_queries
from matinee.storage.staleness import LeaderSamples

PROBE_TIMEOUT_S = 0.3
READ_ONLY = "default_transaction_read_only is on there"
_GOOD_PROBES = 2  # in a row, before a copy that was ejected is taken back
_BAD_PROBES = 3  # in a row, before one is ejected for them: a busy machine is late now and then
_LOOK_FOR_WRITE_S = 0.005  # what this process has just written is on its way to the copies
_LOOK_AGAIN_S = 0.02  # after a failure that is none of time: whoever waits for this server should not wait for our clock
_LONGEST_PAUSE_S = 2.0
_LONGEST_LEADER_PAUSE_S = 0.5  # nothing can be written until it is found
_SAMPLES_A_SECOND = 50  # of the leader, by all processes together
_COUNT_EVERY = 50  # samples between two looks at how many processes there are


class _Probe:
    """One connection for questions that must be answered at once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Connection | None = None

    async def ask(self, text: str) -> Any:
        """Return the one row of a question, None when there is none. Raises: ServerFailed, ServerSilent."""
        rows = await self.ask_all(text, {})
        return rows[0] if rows else None

    async def ask_all(self, text: str, values: dict[str, Any]) -> list[Any]:
        """Return the rows of a question. Raises: ServerFailed; ServerSilent when the time for it was over."""
        attempt = Attempt()
        try:
            if self._connection is None or self._connection.closed:
                self._connection = await self._connect()
            attempt.on(self._connection)
            timer = asyncio.get_running_loop().call_later(PROBE_TIMEOUT_S, attempt.cut)
            try:
                cursor = await self._connection.execute(text, values or None)
                return await cursor.fetchall()
            finally:
                timer.cancel()
        except (psycopg.Error, OSError, TimeoutError) as error:
            self.close()
            if attempt.was_cut or isinstance(error, TimeoutError):
                raise ServerSilent("it does not answer") from error
            raise ServerFailed(" ".join(str(error).split())[:160]) from error

    async def _connect(self) -> Connection:
        session = self._server.session("watch")
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await psycopg.AsyncConnection.connect(self._server.url, **session)

    def close(self) -> None:
        """Drop the connection; the next question opens another."""
        if self._connection is not None:
            cut(self._connection)
            with contextlib.suppress(psycopg.Error):
                self._connection.pgconn.finish()
            self._connection = None


class Watch:
    """The watch over one leader and its followers, in one process."""

    def __init__(
        self, leader: Copy, followers: Sequence[Copy], samples: LeaderSamples, log: ChangeLog, interval_ms: int
    ) -> None:
        self._leader, self._followers, self._samples, self._log = leader, followers, samples, log
        self._interval_s = self._leader_interval_s = interval_ms / 1000
        self._sql = named_queries("postgresql")
        self._tasks: list[asyncio.Task[None]] = []
        self._sampler = _Probe(leader.server)
        self._next_sample: asyncio.Task[bool] | None = None
        self._last_sample_s = 0.0
        self._sample_count = 0
        self.leader_bytes = 0
        self.is_read_only = False  # the leader answers, and refuses writes
        self.heard_s = float("-inf")  # when a copy last answered
        self._is_written = asyncio.Event()
        self.settled = asyncio.Event()  # a copy that is read from has answered, or has had the time for it

    def start(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        leader_state.when_written = lambda: None if loop.is_closed() else loop.call_soon_threadsafe(self._hurry)
        self._begin(self._leader, self._sample)
        for copy in self._followers:
            self._begin(copy, self._tailing(copy, _Probe(copy.server)))

    def _begin(self, copy: Copy, look: Callable[[], Awaitable[None]]) -> None:
        watching = background.keep_going(f"the watch over {copy.name}", partial(self._repeat, copy, look))
        self._tasks.append(asyncio.create_task(watching))

    async def stop(self) -> None:
        """End the watch."""
        leader_state.when_written = lambda: None
        await background.end(self._tasks)
        leader_state.found()  # nobody looks any longer

    def _hurry(self) -> None:
        """Wake those who wait for their next look."""
        self._is_written.set()
        self._is_written.clear()

    async def _pause(self, copy: Copy, pause_s: float) -> None:
        """Wait until the next look at a copy; where the log is followed, what this process writes is looked for at once.

        Nothing that is kept is given while its own write is not in the log.
        """
        if not copy.is_healthy or (copy is self._leader and self._followers):
            await asyncio.sleep(pause_s)
            return
        if not leader_state.awaits(self._log.position):
            try:
                # Not wait_for: in Python 3.11 it keeps a cancellation to itself that comes together with what it waits for.
                async with asyncio.timeout(pause_s):
                    await self._is_written.wait()
            except TimeoutError:
                return
        await asyncio.sleep(min(pause_s, _LOOK_FOR_WRITE_S))

    async def sample_now(self) -> bool:
        """Ask the leader for its position and return whether it answered.

        Those who ask before the question is sent share it; one that is on its way already might miss what the caller has seen.
        """
        if self._next_sample is None:
            self._next_sample = asyncio.create_task(self._sample_soon())
        return await asyncio.shield(self._next_sample)

    async def _sample_soon(self) -> bool:
        now_s = time.monotonic()
        await asyncio.sleep(max(0.0, self._last_sample_s + 1 / _SAMPLES_A_SECOND - now_s))
        self._next_sample = None
        self._last_sample_s = time.monotonic()
        try:
            await self._sample()
        except ServerFailed:
            return False
        return True

    async def _repeat(self, copy: Copy, look: Callable[[], Awaitable[None]]) -> None:
        """Look at a copy again and again: eject it after bad looks, take it back after good ones, less often while away."""
        good = bad = 0
        pause_s = self._interval_s
        while True:
            answered = copy.reads
            try:
                await look()
                good, bad, pause_s = good + 1, 0, self._interval_s
                if not copy.is_healthy and (good >= _GOOD_PROBES or not copy.reads):
                    await copy.take_back()
                    if copy is not self._leader or not self._followers:
                        self.settled.set()
            except ServerFailed as error:
                good, bad = 0, bad + 1
                # On a machine that has too much to do, looks are late while reads are still answered.
                is_answering = copy.is_healthy and copy.reads > answered
                if (bad >= _BAD_PROBES * self._patience(copy, error) and not is_answering) or not copy.is_healthy:
                    copy.eject(str(error))
                    longest_s = _LONGEST_PAUSE_S
                    if copy is self._leader:
                        leader_state.lost(str(error))
                        longest_s = _LONGEST_LEADER_PAUSE_S
                    pause_s = min(max(pause_s, 0.05) * 1.5, longest_s)
                elif not isinstance(error, ServerSilent):
                    pause_s = min(pause_s, _LOOK_AGAIN_S)
            is_sampled = copy is self._leader
            await self._pause(copy, max(pause_s, self._leader_interval_s) if is_sampled else pause_s)

    def _patience(self, copy: Copy, error: ServerFailed) -> int:
        """Return how much longer than others a copy is kept: the last healthy follower is, when it is only silent."""
        others = any(other.is_healthy and other is not copy for other in self._followers)
        return LAST_ONES_PATIENCE if isinstance(error, ServerSilent) and copy is not self._leader and not others else 1

    async def _sample(self) -> None:
        self._sample_count += 1
        text = self._sql["leader_sample"]
        if self._sample_count % _COUNT_EVERY == 1:
            await self._count_samplers()
        asked_s, known = time.monotonic(), self._log.position
        row = await self._sampler.ask(text)
        if row is None:
            raise ServerFailed("it holds no catalogue; run `matinee migrate`")
        position, is_follower, self.leader_bytes, self.is_read_only = row
        if is_follower:
            self._sampler.close()
            raise ServerFailed("it is a follower now; there is no leader at this address")
        self._samples.add(position, asked_s)
        self.heard_s = time.monotonic()
        if position < known or not any(copy.is_healthy for copy in self._followers):
            # Nobody else tells of the changes; or there is a leader that lacks some of those that were told.
            await self._follow(self._sampler, position, is_replaced=position < known)
        self._leader.position = position
        if not self.is_read_only:
            leader_state.found()
        elif leader_state.away != READ_ONLY:
            leader_state.lost(READ_ONLY)

    async def _count_samplers(self) -> None:
        (processes,) = await self._sampler.ask(self._sql["leader_samplers"]) or (1,)
        self._leader_interval_s = max(self._interval_s, processes / _SAMPLES_A_SECOND)

    def _tailing(self, copy: Copy, probe: _Probe) -> Callable[[], Awaitable[None]]:
        async def look() -> None:
            row = await probe.ask(self._sql["follower_tail"])
            if row is None:
                raise ServerFailed("it holds no catalogue")
            position, is_follower, replayed_bytes = row
            if not is_follower:
                raise ServerFailed("it leads now; it is read from when it follows again")
            self.heard_s = now_s = time.monotonic()
            await self._follow(probe, position)
            if position != copy.position:
                metrics.VISIBLE_S.labels(copy.name).observe(self._samples.staleness_s(position, now_s))
            copy.position, copy.replayed_bytes = position, replayed_bytes
            copy.gauge(self._samples.staleness_s(position, now_s), self.lag_bytes(copy))

        return look

    async def _follow(self, probe: _Probe, position: int, *, is_replaced: bool = False) -> None:
        """Bring the log up to a copy's position: what is kept is judged by it, and must not be believed for longer.

        Raises: ServerFailed.
        """
        log, since, histories = self._log, self._log.position, self._log.histories
        if histories and position <= since and not is_replaced:
            return
        values = {"since": since, "limit": FLOOD_CHANGES + 1}
        rows = await self._rows(probe, "log_from", values) if histories and not is_replaced else []
        newest = await self._rows(probe, "log_newest", {}) if is_replaced or log.must_begin(rows) else None
        if log.histories != histories:
            return  # by another copy's word it was begun anew meanwhile
        if newest is None:
            log.append(rows, time.monotonic())  # of which another copy may have told the first ones meanwhile
        elif log.position == since:
            log.begin(newest[0] if newest else None)
            if is_replaced:
                leader_state.forget_writes()

    async def _rows(self, probe: _Probe, name: str, values: dict[str, Any]) -> list[LogRow]:
        return [LogRow(*row) for row in await probe.ask_all(plain_text(self._sql[name]), values)]

    def lag_bytes(self, copy: Copy) -> int:
        """Return how many bytes of the leader's log a follower has not replayed, as of the last two looks."""
        return max(0, self.leader_bytes - copy.replayed_bytes) if copy is not self._leader else 0
