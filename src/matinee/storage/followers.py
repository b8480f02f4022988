"""Route every read to a copy: the healthy follower, fresh enough, with the fewest reads in flight; the leader when needed.

Invariants: a read that shows a position is never answered behind it. A read is tried elsewhere before it fails: at once when a
server fails it, and after `hedge_ms` when a server is silent, because a frozen one accepts and never answers.
Called by sql_reader.py as a Source. Health is looked after by watch.py, beside the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matinee.domain.change_log import ChangeLog
from matinee.domain.freshness import AsOf, Demand
from matinee.errors import FuturePosition, NoReaderAvailable
from matinee.storage import read_metrics as metrics
from matinee.storage.copies import Copy
from matinee.storage.expensive_reads import ExpensiveReads
from matinee.storage.leader_state import leader as leader_state
from matinee.storage.postgres import Attempt, ServerFailed
from matinee.storage.source import Answered
from matinee.storage.sql import Engine, Statement
from matinee.storage.staleness import LeaderSamples
from matinee.storage.watch import READ_ONLY, Watch

_HEDGES_A_READ = 0.1  # in the long run one read in ten may be asked twice; more would double the load of an overloaded service
_MOST_HEDGES = 50.0  # at once: what a server that freezes costs before it is ejected
_FIRST_PAUSE_S = 0.002
_FIRST_WAIT_S = 3.0  # a process that begins on a busy machine opens its first connections late
_LEADER_WAITING = 100  # reads that wait for the leader, for each that it answers: at a millisecond each, nobody waits for long
_EXPENSIVE_S = 0.025  # a read that a server works on for longer, and for much longer than on others, is expensive
_WAIT_RATIO = 0.5  # of a read's time that it may wait for a place among the expensive ones
_UNCERTAIN_RATIO = 0.75
_LEADER_LEAST_S = 0.25  # what a read has for the leader when followers have used its time up


@dataclass(frozen=True)
class ReadRules:
    """What reads are promised, from the settings."""

    timeout_s: float
    hedge_s: float
    max_lag_s: float
    min_position_wait_s: float
    leader_reads: bool
    leader_reads_at_once: int
    tail_interval_ms: int
    expensive_reads: int = 2
    connections: int = 8  # to each copy


class Followers:
    """All copies behind one face. With no followers at all, the leader is the one copy."""

    engine: Engine = "postgresql"

    def __init__(self, leader: Copy, followers: Sequence[Copy], rules: ReadRules) -> None:
        self._leader, self._rules = leader, rules
        self._copies = list(followers) or [leader]
        self._has_followers = bool(followers)
        self._samples = LeaderSamples()
        self.log = ChangeLog()
        self._watch = Watch(leader, followers, self._samples, self.log, rules.tail_interval_ms)
        self._is_started = False
        leader_state.forget_writes()
        self._turn, self._hedges_left = 0, _MOST_HEDGES
        self.expensive = ExpensiveReads(rules.expensive_reads, rules.timeout_s * _WAIT_RATIO, _EXPENSIVE_S)
        # Reads that may turn out to be expensive leave some connections to those that cannot.
        self._uncertain = asyncio.Semaphore(max(1, int(rules.connections * len(self._copies) * _UNCERTAIN_RATIO)))
        self._leader_turns, self._leader_waiting = asyncio.Semaphore(rules.leader_reads_at_once), 0
        self.statements = 0

    async def turn(self, statement: Statement) -> None:
        """Begin at once: each server's pool has a line of its own."""

    async def rows(self, statement: Statement, demand: Demand) -> Answered:
        """Return all rows of a statement, from a copy that is as fresh as demanded."""
        if not self._watch.settled.is_set():
            await self._settle()
        self.statements += 1
        if not statement.shape:
            answered = await self._answer(statement, demand)
        elif self.expensive.knows(statement.shape):
            async with self.expensive.place(statement.asking):
                answered = await self._answer(statement, demand)
        else:
            async with self._uncertain:
                answered = await self._answer(statement, demand)
        metrics.READ_STALENESS_S.observe(answered.as_of.staleness_s)
        return answered

    async def _answer(self, statement: Statement, demand: Demand) -> Answered:
        return await (self._not_behind(statement, demand) if demand.min_position else self._anywhere(statement, demand))

    async def latest_position(self) -> int:
        """Return the leader's position, asked now; the newest known one when the leader does not answer."""
        if not self._watch.settled.is_set():
            await self._settle()
        await self._watch.sample_now()
        return self.newest_position()

    def newest_position(self) -> int:
        """Return the newest position that the leader or a copy is known to have reached."""
        return max(self._samples.newest, *(copy.position for copy in self._copies))

    def known(self) -> AsOf | None:
        """Return what the log reflects as the watch has followed it.

        None when no copy has been heard of for too long, and when this process has written what the log does not hold yet.
        """
        now_s = time.monotonic()
        position = self.log.position
        is_blind = not self.log.histories or now_s - self._watch.heard_s > self._rules.max_lag_s
        if is_blind or position < leader_state.written:
            return None
        return AsOf(position, self._samples.staleness_s(position, now_s), self._samples.is_verified(position, now_s))

    def written(self) -> int:
        """Return the newest position that this process has written itself: it never shows what was before."""
        return leader_state.written

    def staleness_s(self, position: int) -> float:
        """Return how old a value that was read at a position is at most."""
        return self._samples.staleness_s(position, time.monotonic())

    async def plan(self, statement: Statement) -> tuple[str, list[str]]:
        """Return the copy that would serve a statement now, and its plan there, run for real."""
        copy = self._pick(Demand(), []) or self._leader
        return copy.name, await copy.server.plan(statement)

    def status(self) -> list[dict[str, Any]]:
        """Return a line for each copy."""
        now_s = time.monotonic()
        copies = [*self._copies, self._leader] if self._has_followers else self._copies
        return [copy.line(self._staleness_s(copy, now_s), self._watch.lag_bytes(copy)) for copy in copies]

    def degradation(self) -> str | None:
        """Return in a sentence what readers and writers do without right now; None when all is well."""
        now_s, bound_s = time.monotonic(), self._rules.max_lag_s
        healthy = [copy for copy in self._copies if copy.is_healthy]
        if not self._leader.is_healthy and self._is_started:
            return f"The leader is away ({self._leader.reason}): writes are refused, and staleness grows unverified."
        if self._watch.is_read_only:
            return (
                f"The leader is read-only ({READ_ONLY}): writes are refused. Turn it off, or point DATABASE_URL to the leader."
            )
        if not healthy:
            return "No follower is healthy: the leader answers reads."
        if all(self._staleness_s(copy, now_s) > bound_s for copy in healthy):
            return f"Every follower is more than {bound_s:g} s behind: answers are stale and say so."
        return None

    async def close(self) -> None:
        """End the watch and give all connections back."""
        if self._is_started:
            await self._watch.stop()
            await asyncio.gather(*(copy.server.close() for copy in {*self._copies, self._leader}))

    async def _settle(self) -> None:
        """Begin to watch; the first reads of a process wait until a copy has answered, longer than any later one."""
        if not self._is_started:
            self._is_started = True
            self._watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._watch.settled.wait(), max(self._rules.timeout_s, _FIRST_WAIT_S))
        self._watch.settled.set()

    async def _not_behind(self, statement: Statement, demand: Demand) -> Answered:
        """Return an answer that reflects the demanded position: from a follower after a short wait, else from the leader.

        What a copy has replayed is asked in the statement itself, so no probe has to be waited for: a copy that answers from
        before the position is simply asked again.
        """
        if demand.min_position > self.newest_position() and await self._is_future(demand.min_position):
            if not demand.is_forgiving:
                raise FuturePosition(f"The newest position is {self._samples.newest}, not yet {demand.min_position}.")
            return await self._anywhere(statement, demand._replace(min_position=0))
        ends_s, pause_s = time.monotonic() + self._rules.min_position_wait_s, _FIRST_PAUSE_S
        while True:
            answered = await self._anywhere(statement, demand)
            if answered.as_of.position >= demand.min_position:
                return answered
            if time.monotonic() + pause_s > ends_s:
                break
            await asyncio.sleep(pause_s)
            pause_s *= 1.5
        return await self._from_leader(statement, demand)

    async def _is_future(self, position: int) -> bool:
        """Return whether the leader says that it has never given this position out."""
        return await self._watch.sample_now() and position > self._samples.newest

    async def _from_leader(self, statement: Statement, demand: Demand) -> Answered:
        with contextlib.suppress(ServerFailed):
            answered = await self._ask_leader(statement, time.monotonic() + self._rules.timeout_s)
            if answered.as_of.position >= demand.min_position:
                return answered
        raise NoReaderAvailable(f"No copy has reached position {demand.min_position} yet; try again.")

    async def _anywhere(self, statement: Statement, demand: Demand) -> Answered:
        """Return an answer of the best copy, of the next best when that one fails, and of the leader when all do.

        An answer that has grown too old on its way is kept only if nobody has a fresher one.
        """
        deadline_s, bound_s = time.monotonic() + self._rules.timeout_s, self._bound_s(demand)
        tried: list[Copy] = []
        too_old: Answered | None = None
        reason = "none is healthy"
        while time.monotonic() < deadline_s:
            copy = self._pick(demand, tried)
            if copy is None or (too_old is not None and self._staleness_s(copy, time.monotonic()) > bound_s):
                break
            tried.append(copy)
            try:
                answered = await self._ask(copy, statement, demand, deadline_s, tried)
            except ServerFailed as error:
                reason = f"{copy.name}: {error}"
                continue
            if answered.as_of.staleness_s <= bound_s:
                return answered
            too_old = answered
        if too_old is not None:
            return too_old
        if self._leader not in tried and self._rules.leader_reads:
            try:
                return await self._ask_leader(statement, max(deadline_s, time.monotonic() + _LEADER_LEAST_S))
            except ServerFailed as error:
                reason += f"; {self._leader.name}: {error}"
        raise NoReaderAvailable("No copy of the catalogue can be read right now; try again.", reason=reason)

    def _bound_s(self, demand: Demand) -> float:
        """Return how stale a copy may be for a demand while another one is fresher."""
        bound_s, own_s = self._rules.max_lag_s, demand.max_staleness_s
        return bound_s if own_s is None else min(bound_s, own_s)

    async def _ask_leader(self, statement: Statement, deadline_s: float) -> Answered:
        """Return the leader's answer; few ask it at the same time, some wait for their turn, more are turned away.

        Raises: ServerFailed.
        """
        rules = self._rules
        if not rules.leader_reads or not self._leader.is_healthy:
            raise ServerFailed(self._leader.reason or "MATINEE_LEADER_READS is never")
        if self._leader_waiting >= _LEADER_WAITING * rules.leader_reads_at_once:
            raise ServerFailed("too many wait for it already")
        self._leader_waiting += 1
        try:
            await asyncio.wait_for(self._leader_turns.acquire(), deadline_s - time.monotonic())
        except TimeoutError as error:
            raise ServerFailed("it was not this read's turn in time") from error
        finally:
            self._leader_waiting -= 1
        try:
            return await self._send(self._leader, statement, deadline_s, deadline_s, Attempt())
        finally:
            self._leader_turns.release()

    def _leader_is_free(self) -> bool:
        """Return whether the leader may be asked: when that is allowed, it is well, and few others ask it already."""
        rules, leader = self._rules, self._leader
        return rules.leader_reads and leader.is_healthy and leader.in_flight < rules.leader_reads_at_once

    def _pick(self, demand: Demand, tried: Sequence[Copy]) -> Copy | None:
        """Return the healthy copy, not tried yet, that is fresh enough and has the fewest reads in flight.

        When none is fresh enough, the least stale one: its answer says how old it is. A demand of a request's own goes to the
        leader first then.
        """
        now_s, bound_s = time.monotonic(), self._bound_s(demand)
        wanted = max(demand.min_position, demand.preferred_position)
        self._turn += 1
        best: Copy | None = None
        best_rank: tuple[float, ...] = ()
        for index in range(len(self._copies)):
            copy = self._copies[(self._turn + index) % len(self._copies)]
            if not copy.is_healthy or copy in tried:
                continue
            staleness_s = self._staleness_s(copy, now_s)
            is_stale = staleness_s > bound_s
            rank = (is_stale, copy.position < wanted, staleness_s if is_stale else 0.0, copy.in_flight)
            if best is None or rank < best_rank:
                best, best_rank = copy, rank
        is_told_in_vain = best is not None and best_rank[0] and demand.max_staleness_s is not None
        return self._leader if is_told_in_vain and self._leader not in tried and self._leader_is_free() else best

    async def _ask(self, copy: Copy, statement: Statement, demand: Demand, deadline_s: float, tried: list[Copy]) -> Answered:
        """Return a copy's answer, or that of another one which is asked as well when the first is silent for too long."""
        attempt, now_s = Attempt(), time.monotonic()
        self._hedges_left = min(_MOST_HEDGES, self._hedges_left + _HEDGES_A_READ)
        others = [other for other in self._copies if other.is_healthy and other not in tried]
        # An expensive read takes long on every copy: a second one would only double its cost.
        if not others or self.expensive.knows(statement.shape):
            return await self._send(copy, statement, deadline_s, deadline_s, attempt)
        hedges: list[asyncio.Task[Answered]] = []

        def hedge() -> None:
            hedges.extend(self._hedge(copy, statement, demand, deadline_s, tried, attempt))

        timer = asyncio.get_running_loop().call_later(self._rules.hedge_s, hedge)
        # Without the other copy's help, half of the time is left for it.
        give_up_s = now_s + (deadline_s - now_s) / 2
        # For a free connection of it, only as long as the other one is not asked instead.
        are_too_old = all(self._is_too_old_beside(other, copy, demand) for other in others)
        wait_until_s = give_up_s if are_too_old else now_s + self._rules.hedge_s
        try:
            return await self._send(copy, statement, wait_until_s, give_up_s, attempt)
        except ServerFailed:
            if not hedges:
                raise
            return await asyncio.shield(hedges[0])
        finally:
            timer.cancel()

    def _hedge(
        self, first: Copy, statement: Statement, demand: Demand, deadline_s: float, tried: list[Copy], attempt: Attempt
    ) -> list[asyncio.Task[Answered]]:
        """Ask another copy, if there is one and the budget allows; its answer ends the wait for the first one.

        One that is too old is no help: the first is only late, and its answer will be fresh.
        """
        other = self._pick(demand, tried) if self._hedges_left >= 1 else None
        if other is None or self._is_too_old_beside(other, first, demand):
            return []
        self._hedges_left -= 1
        tried.append(other)
        first.hedged()
        answer = asyncio.create_task(self._send(other, statement, deadline_s, deadline_s, Attempt()))
        answer.add_done_callback(lambda done: _cut_when_answered(done, attempt))
        return [answer]

    async def _send(
        self, copy: Copy, statement: Statement, wait_until_s: float, deadline_s: float, attempt: Attempt
    ) -> Answered:
        """Return one copy's answer. Raises: ServerFailed."""
        now_s, since_s = time.monotonic(), copy.since_s
        copy.in_flight += 1
        try:
            position, rows = await copy.server.rows(statement, wait_until_s - now_s, deadline_s - now_s, attempt)
        except NoReaderAvailable:
            # The server ended it at its own time-out.
            self.expensive.measured(statement.shape, self._rules.timeout_s, statement.asking)
            raise
        except ServerFailed as error:
            others = any(other.is_healthy and other is not copy for other in self._copies)
            copy.failed(error, since_s, is_last=not others)
            raise
        finally:
            copy.in_flight -= 1
        copy.answered(position)
        if attempt.sent_s is not None:
            took_s = time.monotonic() - attempt.sent_s
            self.expensive.typical(took_s)
            self.expensive.measured(statement.shape, took_s, statement.asking)
        return Answered(rows, self._as_of(copy, position))

    def _as_of(self, copy: Copy, position: int) -> AsOf:
        if copy is self._leader:
            return AsOf(position)
        now_s = time.monotonic()
        return AsOf(position, self._samples.staleness_s(position, now_s), self._samples.is_verified(position, now_s))

    def _staleness_s(self, copy: Copy, now_s: float) -> float:
        return 0.0 if copy is self._leader else self._samples.staleness_s(copy.position, now_s)

    def _is_too_old_beside(self, other: Copy, copy: Copy, demand: Demand) -> bool:
        """Return whether another copy is staler than it may be for a demand, while this one is not."""
        now_s = time.monotonic()
        return self._staleness_s(other, now_s) > self._bound_s(demand) >= self._staleness_s(copy, now_s)


def _cut_when_answered(hedge: asyncio.Task[Answered], first: Attempt) -> None:
    if not hedge.cancelled() and hedge.exception() is None:
        first.cut()
