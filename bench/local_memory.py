"""Whether the local tier keeps to its bound in real memory, and whether it ever holds up the event loop.

Run from the root of the repository: `python -m bench.local_memory`. In this process, without a socket: a million movies (the
sample over and over), asked for as a day's visitors would, until the tier has been full and evicting for long. Then the worst
that can happen at once: a flood of changes, a purge of everything, pages of 100 to be compressed. What counts is the
processor time of a turn of the event loop; on the clock a turn also waits for whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import uvloop

from bench import catalogues
from bench.repeated_sample import RepeatedSample, Request, Visitors, scope
from bench.servers import rss_bytes
from bench.tables import table
from bench.turns import Turns
from matinee.config import Config
from matinee.domain.change_log import FLOOD_CHANGES

_MEMORY_WITHIN = 0.15  # of the bound and the empty process together
_LONGEST_TURN_MS = 5.0
_MIB = 2**20
_FIRST_REQUESTS = 2_000  # until then a process has not imported and filled what it needs without any tier
_LOOK_EVERY, _AT_ONCE = 50_000, 1_000  # requests: how often memory is looked at, how many are made up before they are sent
_AFTERWARDS = 3_000  # requests, which meet what a change left behind
_FLOODS = (100, FLOOD_CHANGES, FLOOD_CHANGES + 100, 60_000)  # in one commit: the last two are too many to be followed
_INSERT = (
    "INSERT INTO change (subject, subject_id, kind, version, actor, at, detail) VALUES (?, ?, 'update', 1, 'bench', ?, '{}')"
)


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    with (
        catalogues.sample_home(options.home, options.sample) as settings,
        tempfile.TemporaryDirectory(prefix="matinee-bench-") as folder,
    ):
        path = _copied(settings, Path(folder) / "catalogue.sqlite3")
        config = dataclasses.replace(
            settings,
            local_cache_bytes=options.bound_mib * _MIB,
            cache_policy=options.policy,
            access_log=False,
        )
        figures = uvloop.run(_measure(config, RepeatedSample(path, catalogues.movie_ids(settings)), path, options.requests))
    print(json.dumps(figures) if options.json else _as_text(figures))
    return 0 if _is_within(figures) and _is_quick(figures) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.local_memory", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--bound-mib", type=int, default=256, help="bound of the local tier")
    parser.add_argument("--policy", default="s3fifo", help="policy of the local tier")
    parser.add_argument("--requests", type=int, default=2_000_000, help="requests until memory is measured last")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def _copied(settings: Config, path: Path) -> Path:
    """Return a copy of the catalogue's file, to which changes can be added."""
    with closing(sqlite3.connect(settings.database_path)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = wal")
    return path


async def _measure(config: Config, source: RepeatedSample, path: Path, count: int) -> dict[str, Any]:
    from matinee.http.app import build

    front = build(config, source)
    server, visitors = _Server(front), Visitors()
    await server.ask("the first requests of all", visitors.requests(_FIRST_REQUESTS))
    gc.collect()
    gc.freeze()  # as asgi.py does; what this bench holds is not to be walked over either
    empty_bytes = rss_bytes() - server.policy.used_bytes
    looks = []
    for _ in range(0, count, _LOOK_EVERY):
        for _ in range(_LOOK_EVERY // _AT_ONCE):
            await server.ask("requests, misses and evictions", visitors.requests(_AT_ONCE))
        looks.append(_look(server, empty_bytes))
        print(json.dumps(looks[-1]), file=sys.stderr)
    await _worst_cases(server, path, visitors)
    del server.turns.longest["the first requests of all"]  # they import what is needed
    return {
        "bound_bytes": config.local_cache_bytes,
        "policy": config.cache_policy,
        "looks": looks,
        "turns": server.turns.longest,
    }


def _look(server: _Server, empty_bytes: int) -> dict[str, int]:
    policy = server.policy
    return {
        "requests": server.requests,
        "empty_bytes": empty_bytes,
        "rss_bytes": rss_bytes(),
        "used_bytes": policy.used_bytes,
        "entries": len(policy),
        "evictions": policy.evictions,
        "hits": server.tier.hits,
    }


class _Server:
    """The service in this process, and the turns that its loop takes while it answers."""

    def __init__(self, front: Any) -> None:
        self._front = front
        runtime = front.api.state.runtime
        self.tier, self.policy, self._runtime = runtime.local, runtime.local.policy, runtime
        self.turns, self.requests = Turns(), 0

    async def ask(self, phase: str, requests: list[Request]) -> None:
        """Send requests one after the other, each in a turn of the loop of its own."""
        self.turns.begin(phase)
        for request in requests:
            await self._front(scope(request), None, _ignore)
            await asyncio.sleep(0)
        self.turns.end()
        self.requests += len(requests)
        self._runtime.publish()
        self._runtime.counts.clear()  # as what counts popularity does when it has taken them


async def _ignore(_: Any) -> None:
    pass


async def _worst_cases(server: _Server, path: Path, visitors: Visitors) -> None:
    """Let happen at once what can happen at once, each followed by requests that meet what it left behind."""
    for changes in _FLOODS:
        _commit(path, [("movie", number + 1) for number in range(changes)])
        await server.ask(f"{changes:,} changes in one commit", visitors.requests(_AFTERWARDS))
    _commit(path, [("cache", 0)])
    await server.ask("a purge of everything", visitors.requests(_AFTERWARDS))
    queries = [f"limit=100&year={year}".encode() for year in range(1950, 2020)]
    for encoding in (None, b"br", b"gzip"):
        await server.ask("pages of 100, compressed", [("/v1/movies", query, encoding) for query in queries])


def _commit(path: Path, subjects: list[tuple[str, int]]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(_INSERT, [(subject, number, "2026-11-25 12:00:00") for subject, number in subjects])


def _share(look: dict[str, int], bound_bytes: int) -> float:
    """Return resident memory as a share of the bound and the empty process."""
    return look["rss_bytes"] / (bound_bytes + look["empty_bytes"])


def _is_within(figures: dict[str, Any]) -> bool:
    return abs(_share(figures["looks"][-1], figures["bound_bytes"]) - 1) <= _MEMORY_WITHIN


def _is_quick(figures: dict[str, Any]) -> bool:
    return all(turn.processor_ms <= _LONGEST_TURN_MS for turn in figures["turns"].values())


def _as_text(figures: dict[str, Any]) -> str:
    last, bound_bytes = figures["looks"][-1], figures["bound_bytes"]
    most = max(_share(look, bound_bytes) for look in figures["looks"])
    memory = table(
        ("requests", "hit ratio", "entries", "evictions", "tier MiB", "resident MiB", "of bound + empty"),
        [
            (
                f"{look['requests']:,}",
                f"{look['hits'] / look['requests']:.3f}",
                f"{look['entries']:,}",
                f"{look['evictions']:,}",
                f"{look['used_bytes'] / _MIB:.1f}",
                f"{look['rss_bytes'] / _MIB:.1f}",
                f"{_share(look, bound_bytes):.3f}",
            )
            for look in figures["looks"][3::4]
        ],
    )
    turns = [(name, f"{turn.processor_ms:.1f}", f"{turn.clock_ms:.1f}") for name, turn in figures["turns"].items()]
    kept = (last["rss_bytes"] - last["empty_bytes"]) / last["used_bytes"]
    verdicts = [
        f"Bound {bound_bytes / _MIB:.0f} MiB, empty process {last['empty_bytes'] / _MIB:.1f} MiB",
        f"Resident for each byte that the tier counts: {kept:.3f}",
        f"Resident, of bound and empty process: at the end {_share(last, bound_bytes):.3f}, at most {most:.3f}",
        f"At the end, target 0.85 to 1.15: {_met(_is_within(figures))}",
        f"The longest turn, target {_LONGEST_TURN_MS:.0f} ms of processor time: {_met(_is_quick(figures))}",
    ]
    return "\n\n".join([memory, table(("while", "processor ms", "clock ms"), turns), "\n".join(verdicts)])


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
