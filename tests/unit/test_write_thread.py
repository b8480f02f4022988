"""The thread that writes: who waits in line does not wait for the time-outs of all those before him."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from matinee.errors import LeaderUnavailable
from matinee.runtime import WriteThread
from matinee.storage import leader_link
from matinee.storage.leader_link import within_deadline
from matinee.storage.leader_state import LeaderState, due, due_s


def test_the_time_in_line_counts_as_time_of_the_write() -> None:
    thread, gate = WriteThread(timeout_s=10.0), threading.Event()
    thread.submit(gate.wait)

    before_s = time.monotonic()
    second = thread.submit(due_s.get)
    after_s = time.monotonic()
    gate.set()

    told_s = second.result()
    assert told_s is not None
    assert before_s <= told_s - 10.0 <= after_s
    thread.shutdown()


def test_a_write_that_has_spent_its_time_in_line_is_refused_and_not_begun() -> None:
    leader: Any = SimpleNamespace(vendor="postgresql", in_atomic_block=False)
    begun = []

    with due(time.monotonic() - 0.001), pytest.raises(LeaderUnavailable), within_deadline(leader):
        begun.append(True)

    assert begun == []


def test_a_leader_that_is_lost_ends_a_write_whose_connection_is_lost_already() -> None:
    def fileno() -> int:
        raise psycopg.OperationalError("the connection is lost")

    connection: Any = SimpleNamespace(vendor="postgresql", in_atomic_block=False, connection=SimpleNamespace(fileno=fileno))
    state = LeaderState()
    state.waits(lambda: leader_link._cut(connection, leader_link.Wait()))

    state.lost("it is away")

    assert state.away == "it is away"
