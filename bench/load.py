"""Put load on a server with wrk, from a core of its own, and return what wrk measured.

Called by read_path.py and followers.py.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.servers import pin

_SCRIPT = Path(__file__).with_name("random_paths.lua")


class Measured(NamedTuple):
    """One run of wrk."""

    requests: int
    per_s: float
    p50_ms: float
    p99_ms: float


class LoadFailed(Exception):
    """The server answered something else than 2xx, or broke connections: the figures would mean nothing."""


def run(base_url: str, paths: Path, *, core: int, seconds: int, connections: int = 32, seed: int = 1) -> Measured:
    """Ask for random paths of the file for some seconds. Raises: LoadFailed."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), base_url, "--", str(paths), str(seed)]
    output = _output(command, core)
    figures = json.loads(output.strip().splitlines()[-1])
    if figures["bad_status"] or figures["broken"]:
        raise LoadFailed(f"{base_url}: {figures['bad_status']} answers were not 2xx, {figures['broken']} connections broke")
    return Measured(
        figures["requests"],
        figures["requests"] / figures["duration_us"] * 1e6,
        figures["p50_us"] / 1000,
        figures["p99_us"] / 1000,
    )


def _output(command: Sequence[str], core: int) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, preexec_fn=pin(core))
    return done.stdout
