"""The watchdog: it ends a process whose event loop is stuck, and none that was only frozen or starved."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from matinee.http.watchdog import EXIT_CODE, Delays, Patience, Watchdog

pytestmark = pytest.mark.unit


def steps(patience: Patience, *taken: tuple[int, float]) -> list[bool]:
    """Return what is said after each step: how often the loop had beaten by then, and how long the step took."""
    return [patience.is_over(beats, slept_s) for beats, slept_s in taken]


def test_a_loop_that_beats_is_never_stuck() -> None:
    assert steps(Patience(10), *((beats, 0.5) for beats in range(100))) == [False] * 100


def test_a_silent_loop_is_stuck_when_the_bound_is_reached() -> None:
    said = steps(Patience(10), (7, 0.5), *[(7, 0.5)] * 20)

    assert said == [False] * 20 + [True]


def test_a_thaw_begins_anew_even_when_the_loop_has_not_beaten_yet() -> None:
    patience = Patience(10)

    said = steps(patience, *[(7, 0.5)] * 20, (7, 3600.0), *[(7, 0.5)] * 20)

    assert said == [False] * 40 + [True]


def test_one_that_is_starved_of_processor_time_all_along_ends_nothing() -> None:
    assert steps(Patience(10), *[(7, 1.5)] * 50) == [False] * 50


@pytest.mark.parametrize(("bound_s", "step_s"), [(1, 0.05), (10, 0.5), (3600, 0.5)])
def test_the_thread_looks_often_within_the_bound_and_twice_a_second_at_least(bound_s: float, step_s: float) -> None:
    assert Patience(bound_s).step_s == step_s


def test_the_longest_delay_is_remembered_for_a_window_and_then_forgotten() -> None:
    delays, shown = Delays(0.0), []
    for now_s in (0.0, 0.1, 2.2, 2.3, 31.0, 31.1, 62.0, 62.1, 93.0):
        delays.beat(now_s)
        shown.append(round(delays.longest_s, 3))

    # A beat is due a tenth of a second after the one before; the two long pauses are of this test alone.
    assert shown == [0.0, 0.0, 2.0, 2.0, 28.6, 28.6, 30.8, 30.8, 30.8]


def test_a_process_whose_loop_is_stuck_is_ended_soon_after_the_bound() -> None:
    ended: list[int] = []
    over = threading.Event()

    async def get_stuck() -> None:
        watchdog = Watchdog(1.0, lambda code: (ended.append(code), over.set()))
        watchdog.start()
        over.wait(10)  # it blocks the loop
        watchdog.stop()

    began_s = time.monotonic()
    asyncio.run(get_stuck())

    assert ended == [EXIT_CODE]
    assert time.monotonic() - began_s < 8


def test_without_a_bound_there_is_no_thread_and_the_delay_is_measured() -> None:
    async def live() -> int:
        watchdog = Watchdog(0.0)
        watchdog.start()
        await asyncio.sleep(0.15)
        watchdog.stop()
        return watchdog._beats

    before = threading.active_count()

    assert asyncio.run(live()) >= 1
    assert threading.active_count() == before
