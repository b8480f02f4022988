"""The memory of Matinee's server while it answers 100,000 requests: it must stay flat. Called by read_path.py --memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import load
from bench.contestants import OURS
from bench.servers import Process
from bench.tables import table
from matinee.config import Config

_STEPS = (0, 20_000, 50_000, 100_000)
_MOST_MIB = 150


def measure(settings: Config, paths: Path, server_core: int, load_core: int) -> list[dict[str, Any]]:
    """Return the resident memory of the worker, and of all processes, after at least so many requests."""
    ready_path = paths.read_text().split("\n", 1)[0]
    figures = []
    with OURS.serving(settings.home, ready_path=ready_path, core=server_core) as process:
        requests = 0
        for step in _STEPS:
            while requests < step:
                requests += load.run(process.url, paths, core=load_core, seconds=1, seed=requests).requests
            figures.append({"requests": requests, **_mib(process)})
    return figures


def _mib(process: Process) -> dict[str, float]:
    sizes = [size / 2**20 for size in process.rss_bytes().values()]
    return {"worker_rss_mib": max(sizes), "all_rss_mib": sum(sizes)}


def as_table(figures: list[dict[str, Any]]) -> str:
    """Return the figures as text, with whether the target is met."""
    lines = [(f"{row['requests']:,}", f"{row['worker_rss_mib']:.1f}", f"{row['all_rss_mib']:.1f}") for row in figures]
    most = max(row["worker_rss_mib"] for row in figures)
    verdict = f"At most {most:.0f} MiB in the worker, target {_MOST_MIB}: {'met' if most < _MOST_MIB else 'MISSED'}"
    return "\n".join([table(("requests", "worker MiB", "all processes MiB"), lines), "", verdict])
