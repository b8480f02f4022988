"""What stands between the read path and a shared cache's server: what a tick gathers, a deadline, and when it is left alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from matinee.cache import batch, breaker, exchange
from matinee.cache.batch import ReadBatch, WriteQueue
from matinee.cache.breaker import Breaker
from matinee.cache.exchange import Exchange
from matinee.cache.link import Entry, Found, Lease, LinkFailed, LinkSilent


def waiters(count: int) -> list[asyncio.Future[Any]]:
    return [asyncio.get_running_loop().create_future() for _ in range(count)]


def test_everybody_who_asked_is_told_what_was_found() -> None:
    async def scenario() -> list[Any]:
        reads, asking, leasing = ReadBatch(0.0), waiters(4), waiters(2)
        for key, waiter in zip(("a", "b", "a", "c"), asking, strict=True):
            reads.want(key, waiter)
        for waiter in leasing:
            reads.want_lease(Lease("l", 5), waiter)
        asking[2].cancel()
        hits = reads.answer(Found([b"of a", None, b"of c"], [True, False]))
        told = [waiter.result() for waiter in (asking[0], asking[1], asking[3], *leasing)]
        return [reads.keys, reads.leases, reads.waiting(), hits, *told]

    seen = asyncio.run(scenario())

    assert seen == [["a", "b", "c"], [Lease("l", 5)] * 2, (4, 2), 3, b"of a", None, b"of c", True, False]


def test_who_is_given_up_has_no_value_and_every_lease() -> None:
    async def scenario() -> list[Any]:
        reads, (value, lease) = ReadBatch(0.0), waiters(2)
        reads.want("a", value)
        reads.want_lease(Lease("l", 5), lease)
        reads.give_up()
        return [value.result(), lease.result()]

    assert asyncio.run(scenario()) == [None, True]


def test_a_key_waits_once_to_be_written_as_it_was_left_last() -> None:
    queue = WriteQueue()
    for key, entry in (("a", Entry(b"1", 9)), ("b", None), ("a", None), ("b", Entry(b"2", 9))):
        assert queue.add(key, entry)

    assert (len(queue), queue.take(), len(queue)) == (2, {"a": None, "b": Entry(b"2", 9)}, 0)


def test_what_waits_to_be_written_is_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MOST_WAITING_WRITES", 3)
    queue = WriteQueue()

    assert [queue.add(str(number), None) for number in range(5)] == [True] * 3 + [False] * 2
    assert (queue.clear(), queue.clear(), queue.add("9", None)) == (3, 0, True)


def test_what_waits_to_be_written_is_bounded_in_bytes() -> None:
    entry = Entry(b"x" * (batch.MOST_WAITING_BYTES // 4), 9)
    queue = WriteQueue()
    added = [queue.add(str(number), entry) for number in range(5)]

    taken = queue.take()

    assert (added, list(taken)) == ([True] * 3 + [False] * 2, ["0"])
    assert [queue.add(str(number), entry) for number in (5, 6)] == [True, False]


def test_a_round_trip_writes_few_values_and_the_oldest_first() -> None:
    queue = WriteQueue()
    for number in range(200):
        queue.add(str(number), None)

    assert [list(queue.take()), list(queue.take())] == [[str(n) for n in range(128)], [str(n) for n in range(128, 200)]]


def ended(due_in_s: float, disturb: Any = None) -> Any:
    """Return what came of a question that is answered by a byte on a socket."""

    async def scenario() -> Any:
        loop, over = asyncio.get_running_loop(), waiters(1)[0]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            asked = Exchange(loop.sock_recv(ours, 1), loop.time() + due_in_s, over.set_result)
            if disturb is not None:
                loop.call_soon(disturb, theirs)
            outcome = await over
            await asyncio.wait({asked.task})
            return outcome

    return asyncio.run(scenario())


def test_an_answer_in_time_is_taken() -> None:
    assert ended(5.0, lambda theirs: theirs.send(b"x")) == b"x"


def test_a_wait_ends_at_the_deadline() -> None:
    outcome = ended(0.01)

    assert (type(outcome), str(outcome)) == (LinkSilent, "it does not answer in time")


def test_an_answer_that_came_while_this_process_was_busy_is_no_silence() -> None:
    def disturb(theirs: socket.socket) -> None:
        theirs.send(b"x")
        threading.Event().wait(0.1)  # the loop stands still, past the deadline

    assert ended(0.02, disturb) == b"x"


def test_whatever_a_link_raises_is_its_failure() -> None:
    async def asking() -> None:
        raise KeyError("nobody thought of this")

    outcome = asyncio.run(exchange.ask(asking(), 5.0))

    assert (type(outcome), str(outcome)) == (LinkFailed, "KeyError: 'nobody thought of this'")


class Health:
    """A breaker over a server whose answers to probes are given."""

    def __init__(self, *probes: LinkFailed | None) -> None:
        self.probes, self.opened = list(probes), 0
        self.breaker = Breaker("redis", self._probe, self._opened)

    async def _probe(self) -> LinkFailed | None:
        return self.probes.pop(0)

    def _opened(self) -> None:
        self.opened += 1

    async def well(self) -> None:
        while self.breaker.is_open:
            await asyncio.sleep(0.001)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """Return what the breaker logs; it need not wait for long here."""
    logger = CapturingLogger()
    monkeypatch.setattr(breaker, "log", logger)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.001)
    return logger


def test_a_server_is_left_alone_after_three_failures_in_a_row(said: CapturingLogger) -> None:
    async def scenario() -> list[bool]:
        health = Health(None)
        seen = []
        for outcome in ("bad", "bad", "good", "bad", "bad", "bad", "bad"):
            if outcome == "good":
                health.breaker.answered()
            else:
                health.breaker.failed("it refuses")
            seen.append(health.breaker.is_open)
        assert (health.breaker.reason, health.opened) == ("it refuses", 1)
        await health.well()
        return [*seen, health.breaker.is_open]

    assert asyncio.run(scenario()) == [False] * 5 + [True] * 2 + [False]


def test_a_silent_server_is_left_alone_at_once_and_taken_back_by_a_good_probe(said: CapturingLogger) -> None:
    async def scenario() -> list[Any]:
        health = Health(LinkSilent("silent"), LinkFailed("refuses"), None)
        health.breaker.failed("it is silent", is_silent=True)
        assert health.breaker.is_open
        await health.well()
        return [health.probes, health.breaker.reason, health.opened]

    assert asyncio.run(scenario()) == [[], "", 1]
    assert [call.args[0] for call in said.calls] == ["shared cache left alone", "shared cache used again"]


def test_a_breaker_that_is_stopped_asks_no_more_and_stays_open(said: CapturingLogger) -> None:
    async def scenario() -> list[Any]:
        health = Health()
        health.breaker.failed("it is silent", is_silent=True)
        await health.breaker.stop()
        return [health.breaker.is_open, health.breaker.reason]

    assert asyncio.run(scenario()) == [True, "it is closed"]


def test_one_that_fails_again_and_again_is_asked_ever_less_often(said: CapturingLogger) -> None:
    async def scenario() -> list[float]:
        health, pauses = Health(None, None, None, None), []
        for _ in range(4):
            health.breaker.failed("it is silent", is_silent=True)
            pauses.append(health.breaker._pause_s)
            await health.well()
        return pauses

    assert asyncio.run(scenario()) == [0.001, 0.002, 0.004, 0.008]
