"""What a second follower adds to the reads of one server, how evenly both are read, and how soon each shows a write.

Run from the root of the repository: `python -m bench.followers`, with PostgreSQL and wrk installed. It makes a leader and two
streaming followers by itself, with the settings of `matinee cluster up`, loads the sample, and ends everything it started.

On a machine where the server's one core is the bottleneck the second follower adds little: what it is for is that reads go on
without the first. So the ratio has no target; the targets are evenness and the time from commit to visible.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.load import READS_A_SECOND, Load, failed_reads, p99_s

from bench import read_path, visibility
from bench.contestants import OURS, Contestant
from bench.fleet import Fleet, fleet
from bench.servers import Process
from bench.tables import table
from matinee.ops.processes import happens

_FOLLOWERS = 2
_USES = ("reads", "retries", "hedges")
_UNEVENNESS = 0.1  # of the mean of the two followers
_ALONE, _LOADED = "none", f"{READS_A_SECOND} reads/s"
_P99_TARGETS_MS = {_ALONE: 250.0, _LOADED: 1000.0}
_REASONS = 5  # of reads that failed; more say the same of other copies
_SEES_ALL_WITHIN_S = 30.0
_NOTE = (
    "The server has one core, and that is what its rate ends at here: the second follower is there so that reads go on "
    "without the first.\nThe ratio is no claim that two followers answer twice as much."
)


class Verdict(NamedTuple):
    """What was to be reached, and whether it was."""

    what: str
    figure: str
    target: str
    met: bool


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended, too
    with fleet(_FOLLOWERS) as made:
        figures = _turns(made, options) | _visible(made, options)
    verdicts = _verdicts(figures)
    shown = figures | {"verdicts": [verdict._asdict() for verdict in verdicts]}
    print(json.dumps(shown) if options.json else _as_text(figures, verdicts))
    return 0 if all(verdict.met for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.followers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each server takes its turn")
    parser.add_argument("--seconds", type=int, default=5, help="length of a turn")
    parser.add_argument("--connections", type=int, default=32, help="open connections of wrk")
    parser.add_argument("--writes", type=int, default=120, help="writes watched without load, and as many under load")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on; PostgreSQL runs on any")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk runs on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed; on Debian: apt install wrk")
    return options


def _turns(made: Fleet, options: argparse.Namespace) -> dict[str, Any]:
    """Let a server with one follower and a server with two take turns; return their rates, and how often each copy was read."""
    everybody = [_contestant(made, followers) for followers in (1, _FOLLOWERS)]
    with ExitStack() as stack, _paths(made) as paths:
        running = [(item, stack.enter_context(_serving(made, item, options))) for item in everybody]
        read_path.check(running, paths)
        before = _copies(made, running[-1][1].url)
        turns = read_path.take_turns(running, paths, options)
        after = _copies(made, running[-1][1].url)
    rows = [read_path.row(name, several, turns[everybody[-1].name]) for name, several in turns.items()]
    return {"servers": rows, "ratio": rows[0]["ours_is"], "copies_in_turns": _used(before, after)}


def _visible(made: Fleet, options: argparse.Namespace) -> dict[str, Any]:
    """Return how soon writes are seen through a server of both followers and on each, without load and under it."""
    with _serving(made, _contestant(made, _FOLLOWERS), options) as process:
        _tell(f"{options.writes} writes without load")
        times = {_ALONE: visibility.measure(process.url, made.key, made.follower_urls(), options.writes)}
        _tell(f"{options.writes} writes under load")
        with visibility.reads(process.url, len(made.movie_ids)) as load:
            before, began_s = _copies(made, process.url), time.monotonic()
            times[_LOADED] = visibility.measure(process.url, made.key, made.follower_urls(), options.writes)
            after, took_s = _copies(made, process.url), time.monotonic() - began_s
    rows = [_percentiles(name, where, several) for name, places in times.items() for where, several in places.items()]
    return {"visible": rows, "load": _load_figures(load, took_s), "copies_under_load": _used(before, after)}


def _contestant(made: Fleet, followers: int) -> Contestant:
    name = f"{followers} follower{'s' if followers > 1 else ''}"
    return dataclasses.replace(OURS, name=name, environ={**OURS.environ, **made.environ(followers)})


@contextmanager
def _serving(made: Fleet, item: Contestant, options: argparse.Namespace) -> Iterator[Process]:
    """Run a server until the block ends; it reads from all its copies when the block begins."""
    ready_path = f"/v1/movies/{made.movie_ids[0]}"
    with item.serving(made.home, ready_path=ready_path, core=options.server_core) as process:
        if not happens(lambda: _all_healthy(made, process.url), _SEES_ALL_WITHIN_S):
            raise RuntimeError(f"the server of {item.name} does not read from every copy: {_copies(made, process.url)}")
        yield process


@contextmanager
def _paths(made: Fleet) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"/v1/movies/{movie_id}\n" for movie_id in made.movie_ids)
        file.flush()
        yield Path(file.name)


def _copies(made: Fleet, url: str) -> dict[str, dict[str, Any]]:
    """Return what a server says of each copy, by the copy's name."""
    names = {node.address: node.name for node in made.cluster.databases}
    with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
        lines = json.load(answer)["dependencies"]
    return {names[line["name"]]: line for line in lines if line["name"] in names}


def _used(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how often each copy was read in between, how often it failed a read, and how often another was asked as well."""
    return {name: {what: after[name][what] - before[name][what] for what in _USES} for name in after}


def _all_healthy(made: Fleet, url: str) -> bool:
    return all(line["status"] == "healthy" for line in _copies(made, url).values())


def _percentiles(load: str, where: str, times_ms: list[float]) -> dict[str, Any]:
    return {
        "load": load,
        "where": where,
        "writes": len(times_ms),
        "p50_ms": statistics.median(times_ms),
        "p99_ms": sorted(times_ms)[int(len(times_ms) * 0.99)],
        "max_ms": max(times_ms),
    }


def _load_figures(load: Load, took_s: float) -> dict[str, Any]:
    count, failed = len(load.history), failed_reads(load)
    reasons = sorted({f"{item.status} {item.detail}" for item in failed})[:_REASONS]
    return {"reads": count, "per_s": count / took_s, "failed": len(failed), "reasons": reasons, "p99_ms": p99_s(load) * 1000}


def _verdicts(figures: dict[str, Any]) -> list[Verdict]:
    failed = figures["load"]["failed"]
    return [
        *_evenness("wrk", figures["copies_in_turns"]),
        *_evenness(_LOADED, figures["copies_under_load"]),
        *(_visible_verdict(figures["visible"], load, target_ms) for load, target_ms in _P99_TARGETS_MS.items()),
        Verdict(f"reads that failed, load {_LOADED}", f"{failed:,}", "none", failed == 0),
    ]


def _evenness(load: str, copies: dict[str, dict[str, int]]) -> list[Verdict]:
    reads = {name: used["reads"] for name, used in copies.items()}
    leader = reads.pop("leader")
    apart = (max(reads.values()) - min(reads.values())) / statistics.mean(reads.values())
    return [
        Verdict(
            f"reads of the two followers apart, load {load}", f"{apart:.1%}", f"at most {_UNEVENNESS:.0%}", apart <= _UNEVENNESS
        ),
        Verdict(f"reads of the leader, load {load}", f"{leader:,}", "none", leader == 0),
    ]


def _visible_verdict(rows: list[dict[str, Any]], load: str, target_ms: float) -> Verdict:
    worst_ms = max(row["p99_ms"] for row in rows if row["load"] == load)
    what = f"commit to visible, load {load}, the worst p99"
    return Verdict(what, f"{worst_ms:.1f} ms", f"at most {target_ms:.0f} ms", worst_ms <= target_ms)


def _as_text(figures: dict[str, Any], verdicts: list[Verdict]) -> str:
    load = figures["load"]
    return "\n".join(
        [
            _servers_table(figures),
            f"\nTwo followers / one: {figures['ratio']:.2f}. {_NOTE}\n",
            _copies_table({"wrk": figures["copies_in_turns"], _LOADED: figures["copies_under_load"]}),
            "",
            _visible_table(figures["visible"]),
            f"\nThe load: {load['reads']:,} reads, {load['per_s']:.0f}/s, p99 {load['p99_ms']:.1f} ms.\n",
            *(f"A read failed: {reason}" for reason in load["reasons"]),
            *(f"{what}: {figure}, target {target}: {'met' if met else 'MISSED'}" for what, figure, target, met in verdicts),
        ]
    )


def _servers_table(figures: dict[str, Any]) -> str:
    lines = [
        (
            row["contestant"],
            *(f"{row[name]:,.0f}" for name in ("per_s", "min_per_s", "max_per_s")),
            *(f"{row[name]:.2f}" for name in ("p50_ms", "p99_ms")),
        )
        for row in figures["servers"]
    ]
    return table(("a server with", "requests/s", "min", "max", "p50 ms", "p99 ms"), lines)


def _copies_table(copies: dict[str, dict[str, dict[str, int]]]) -> str:
    lines = [
        (f"{name}, load {load}", *(f"{used[what]:,}" for what in _USES))
        for load, by_name in copies.items()
        for name, used in by_name.items()
    ]
    return table(("copy", *_USES), lines)


def _visible_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            f"{row['where']}, load {row['load']}",
            str(row["writes"]),
            *(f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms")),
        )
        for row in rows
    ]
    return table(("commit to visible", "writes", "p50 ms", "p99 ms", "max ms"), lines)


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
