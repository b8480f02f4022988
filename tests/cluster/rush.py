"""More clients than can be answered, over HTTP: wrk, which takes little from the cluster that it shares the machine with.

Used by test_rows_servers.py. What they ask for costs a server and a follower some milliseconds, and no cache has it.
"""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).with_name("rush.lua")
_GIVE_UP_S = 8


@dataclass(frozen=True)
class Rush:
    """How many requests were answered, turned away by a 503, and became of something else."""

    good: int
    refused: int
    odd: int
    lasted_s: float

    @property
    def good_per_s(self) -> float:
        """Return how many requests a second were answered."""
        return self.good / self.lasted_s

    @property
    def offered_per_s(self) -> float:
        """Return how many requests a second had an end."""
        return (self.good + self.refused + self.odd) / self.lasted_s


def send(url: str, seconds: int, clients: int, pause_s: float = 0.0) -> Rush:
    """Let so many clients ask for some seconds, each again when it has had an answer for so long."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{_GIVE_UP_S}s", "-s", str(_SCRIPT), url]
    arguments = [str(round(pause_s * 1000)), str(random.randrange(10**6, 10**7))]
    output = subprocess.run([*command, "--", *arguments], stdout=subprocess.PIPE, check=True, text=True).stdout
    return Rush(**json.loads(output.strip().splitlines()[-1]))
