"""How long each turn of an event loop takes: what others must wait for. Called by local_memory.py.

A turn's processor time is what we are to blame for; on the clock it is longer whenever the machine has something else to do.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple


class Longest(NamedTuple):
    """The longest turn of a phase."""

    processor_ms: float
    clock_ms: float


class Turns:
    """Measures each turn of the running loop, by phases."""

    def __init__(self) -> None:
        self.longest: dict[str, Longest] = {}
        self._phase = ""
        self._began_s = self._cpu_began_s = 0.0
        self._handle: asyncio.Handle | None = None

    def begin(self, phase: str) -> None:
        """Measure the turns from now on as those of a phase."""
        self.end()
        self._phase = phase
        self.longest.setdefault(phase, Longest(0.0, 0.0))
        self._began_s, self._cpu_began_s = time.perf_counter(), time.thread_time()
        self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def end(self) -> None:
        """Measure no longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._note()
            self._handle = None

    def _turn(self) -> None:
        self._note()
        self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def _note(self) -> None:
        now_s, cpu_s = time.perf_counter(), time.thread_time()
        before = self.longest[self._phase]
        turn = Longest((cpu_s - self._cpu_began_s) * 1000, (now_s - self._began_s) * 1000)
        self.longest[self._phase] = Longest(max(before.processor_ms, turn.processor_ms), max(before.clock_ms, turn.clock_ms))
        self._began_s, self._cpu_began_s = now_s, cpu_s
