"""What a server does with three and five times more reads than it can answer: how many it answers, how late, and how it ends.

Run from the root of the repository: `python -m bench.overload`. One server process on one core, nothing of it kept in memory,
so that each read is work. wrk finds its peak. Then reads come on a clock, that many times faster than the peak, whatever
becomes of those before them: the worst of clients, who heed no `Retry-After`. A tenth of the peak goes on before, during and
after it, and says how soon it is over. Health is asked for all along. On a machine with neighbours the server gets less time
in one phase than in another: what it answers in a second of its own processor time is told, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench import catalogues, load
from bench.contestants import HOT_UNCACHED
from bench.servers import Process
from bench.steady import Read, Steady
from bench.tables import table
from matinee.config import Config

_LEAST_GOODPUT, _MOST_P99_MS = 0.9, 1000.0
_TARGET = f"target {_LEAST_GOODPUT} of the peak, p99 below {_MOST_P99_MS:g} ms"
_SETTLES_S = 1.0  # of an overload are not measured
_CALM_SHARE, _CALM_MS = 0.1, 100.0  # a read of the calm ones that takes longer, or fails, says that it is not over yet
_AFTER_S = 5.0
_HEALTH_PER_S = 10.0
_WHAT = ("suggestions", "searches")


class Outcome(NamedTuple):
    """What came of one overload; rates a second, times in milliseconds, shares of what was offered."""

    times: float
    offered_per_s: float
    good_per_s: float
    goodput: float
    goodput_by_cpu: float
    p50_ms: float
    p99_ms: float
    shed: float
    failed: float
    health_p99_ms: float
    recovered_s: float


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended, too
    with (
        catalogues.sample_home(options.home, options.sample) as settings,
        tempfile.TemporaryDirectory(prefix="matinee-bench-") as folder,
    ):
        paths = _paths(settings, options.what)
        requests = Path(folder) / "requests"
        requests.write_text("".join(f"{path}\n" for path in paths))
        os.sched_setaffinity(0, {options.load_core})  # the clock's readers are this process
        with HOT_UNCACHED.serving(settings.home, ready_path=paths[0], core=options.server_core) as process:
            peak, by_cpu = _peak(process, requests, options)
            outcomes = [_overload(process, paths, peak, by_cpu, times, options.seconds) for times in options.times]
    found = {"what": options.what, "peak": peak._asdict(), "overloads": [outcome._asdict() for outcome in outcomes]}
    print(json.dumps(found) if options.json else _as_text(peak, outcomes))
    return 0 if all(map(_is_met, outcomes)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--what", choices=_WHAT, default=_WHAT[0], help="what is read: a dear read or a cheap one")
    parser.add_argument("--times", type=float, nargs="+", default=[3.0, 5.0], help="how many times the peak is offered")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of an overload")
    parser.add_argument("--connections", type=int, default=32, help="open connections of wrk, for the peak")
    parser.add_argument("--server-core", type=int, default=0, help="core that the server runs on")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk and the readers run on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def _paths(settings: Config, what: str) -> list[str]:
    """Return what is asked for: searches for the first word of a title, or suggestions for its first letters."""
    chance = random.Random(1)
    ids = chance.sample(catalogues.movie_ids(settings), 3_000)
    with closing(sqlite3.connect(f"{settings.database_path.as_uri()}?mode=ro", uri=True)) as connection:
        marks = ",".join("?" * len(ids))
        titles = [title for (title,) in connection.execute(f"SELECT title FROM movie WHERE id IN ({marks})", ids)]
    if what == "searches":
        return [f"/v1/search?q={quote(title.split()[0])}" for title in titles]
    return [f"/v1/suggest?q={quote(title[:3].strip())}" for title in titles]


def _peak(process: Process, requests: Path, options: argparse.Namespace) -> tuple[load.Measured, float]:
    """Return the middle one of three runs of wrk, by their rates, and the reads of a second of processor time in all three."""
    core, connections = options.load_core, options.connections
    load.run(process.url, requests, core=core, seconds=1, connections=connections)
    process.wait_until_idle()
    before_s = process.cpu_s()
    runs = [load.run(process.url, requests, core=core, seconds=4, connections=connections, seed=seed) for seed in (1, 2, 3)]
    process.wait_until_idle()
    by_cpu = sum(run.requests for run in runs) / (process.cpu_s() - before_s)
    return sorted(runs, key=lambda run: run.per_s)[1], by_cpu


def _overload(
    process: Process, paths: Sequence[str], peak: load.Measured, by_cpu: float, times: float, seconds: float
) -> Outcome:
    process.wait_until_idle()
    urls = [process.url]
    with Steady(urls, paths, peak.per_s * _CALM_SHARE) as calm, Steady(urls, ["/readyz"], _HEALTH_PER_S) as health:
        time.sleep(_SETTLES_S)
        began_s = time.monotonic()
        with Steady(urls, paths[::-1], peak.per_s * (times - _CALM_SHARE)) as over:
            time.sleep(_SETTLES_S)
            cpu_before_s = process.cpu_s()
            time.sleep(seconds - _SETTLES_S)
            ended_s, cpu_s = time.monotonic(), process.cpu_s() - cpu_before_s
            over.stop()
            time.sleep(_AFTER_S)
    span = (began_s + _SETTLES_S, ended_s)
    reads = list(_within([*over.reads, *calm.reads], *span))
    offered_per_s, good = len(reads) / (span[1] - span[0]), [read for read in reads if read.status == 200]
    good_per_s = len(good) / (span[1] - span[0])
    p50_ms, p99_ms = _percentiles_ms(good)
    late = [read.due_s for read in calm.reads if read.status != 200 or read.took_s * 1000 > _CALM_MS]
    return Outcome(
        times,
        offered_per_s,
        good_per_s,
        good_per_s / peak.per_s,
        len(good) / cpu_s / by_cpu,
        p50_ms,
        p99_ms,
        sum(read.status == 503 for read in reads) / len(reads),
        sum(read.status not in (200, 503) for read in reads) / len(reads),
        _percentiles_ms(list(_within(health.reads, *span)))[1],
        max(0.0, max(late, default=ended_s) - ended_s),
    )


def _within(reads: Sequence[Read], from_s: float, until_s: float) -> Iterator[Read]:
    return (read for read in reads if from_s <= read.due_s < until_s)


def _percentiles_ms(reads: Sequence[Read]) -> tuple[float, float]:
    cuts = statistics.quantiles([read.took_s * 1000 for read in reads], n=100)
    return cuts[49], cuts[98]


def _is_met(seen: Outcome) -> bool:
    return seen.goodput >= _LEAST_GOODPUT and seen.p99_ms < _MOST_P99_MS


def _as_text(peak: load.Measured, outcomes: Sequence[Outcome]) -> str:
    heads = (
        "offered",
        "reads/s",
        "answered/s",
        "of the peak",
        "by processor time",
        "p50 ms",
        "p99 ms",
        "503",
        "failed",
        "/readyz p99 ms",
        "over after s",
    )
    lines = [
        (
            "the peak",
            f"{peak.per_s:,.0f}",
            f"{peak.per_s:,.0f}",
            "1.00",
            "1.00",
            f"{peak.p50_ms:.1f}",
            f"{peak.p99_ms:.1f}",
            *["0 %"] * 2,
            "",
            "",
        )
    ]
    for seen in outcomes:
        rates = (f"{seen.offered_per_s:,.0f}", f"{seen.good_per_s:,.0f}", f"{seen.goodput:.2f}", f"{seen.goodput_by_cpu:.2f}")
        spent = (f"{seen.p50_ms:.1f}", f"{seen.p99_ms:.1f}", f"{seen.shed:.0%}", f"{seen.failed:.1%}")
        lines.append((f"{seen.times:g} times", *rates, *spent, f"{seen.health_p99_ms:.1f}", f"{seen.recovered_s:.1f}"))
    verdicts = [f"{seen.times:g} times, {_TARGET}: {'met' if _is_met(seen) else 'MISSED'}" for seen in outcomes]
    return "\n".join([table(heads, lines), "", *verdicts])


if __name__ == "__main__":
    sys.exit(main())
