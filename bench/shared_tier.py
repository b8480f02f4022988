"""What Redis saves the followers: three servers with small local tiers, with it and without. And what a cold start costs.

Run from the root of the repository: `python -m bench.shared_tier`, with PostgreSQL and Redis installed. It makes a leader and
two streaming followers by itself, loads the sample, and ends everything it started. Readers ask on a clock for movies of the
sample, as often as a Zipf distribution of 0.9 says. The three servers without Redis and the three with it take turns, after
each side has been asked for every movie once, so that Redis holds them all. Then three servers are started anew, and when
they say that they are ready the same readers come back.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from bench import zipf
from bench.contestants import HOT
from bench.fleet import Fleet, fleet
from bench.redis_server import redis_server
from bench.steady import Read, Steady
from bench.tables import table

_SERVERS, _FOLLOWERS = 3, 2
_WITHOUT, _WITH = "without Redis", "with Redis"
_DRAWN = 300_000
_MOST_QUERIES, _MOST_P99 = 0.5, 1.0  # with Redis, of those without
_COLD_READS_PER_S = 500
_COLD_FROM_S, _COLD_UNTIL_S = 3, 8  # after the start, in seconds: this stretch is compared with the steady state
_MOST_COLD = 1.2
_STATEMENTS = re.compile(r"^matinee_statement_seconds_count\{.*\} (\S+)$", re.MULTILINE)
_COUNTS_ARE_TAKEN_S = 12.0  # accesses are handed over every ten seconds


class Turn(NamedTuple):
    """What came of one turn: reads a second, statements that were sent for them, and how long reads took."""

    reads_per_s: float
    statements_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended, too
    with fleet(_FOLLOWERS) as made, redis_server(core=options.load_core) as redis_url:
        more = {_WITHOUT: {}, _WITH: {"REDIS_URL": redis_url}}
        paths = zipf.paths(made.movie_ids, _DRAWN)
        turns = _in_turns(made, paths, more, options)
        cold = {name: _cold_start(made, paths, environ, options) for name, environ in more.items()}
    figures = {"turns": {name: [turn._asdict() for turn in several] for name, several in turns.items()}, "cold": cold}
    verdicts = _verdicts(turns, cold)
    print(json.dumps(figures) if options.json else _as_text(turns, cold, verdicts))
    return 0 if all(is_met for _, is_met in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.shared_tier", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each side takes its turn")
    parser.add_argument("--seconds", type=int, default=10, help="length of a turn")
    parser.add_argument("--per-s", type=int, default=600, help="reads a second, over all three servers")
    parser.add_argument("--local-kib", type=int, default=4096, help="bound of each server's local tier")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on; PostgreSQL runs on any")
    parser.add_argument("--load-core", type=int, default=1, help="core that Redis runs on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


@contextmanager
def _servers(made: Fleet, environ: dict[str, str], options: argparse.Namespace) -> Iterator[list[str]]:
    """Run three servers until the block ends; give their addresses when all are ready."""
    environ = {**made.environ(_FOLLOWERS), "MATINEE_LOCAL_CACHE_BYTES": str(options.local_kib * 1024), **environ}
    with ExitStack() as stack:
        yield [
            stack.enter_context(HOT.serving(made.home, ready_path="/readyz", core=options.server_core, **environ)).url
            for _ in range(_SERVERS)
        ]


def _in_turns(
    made: Fleet, paths: list[str], more: dict[str, dict[str, str]], options: argparse.Namespace
) -> dict[str, list[Turn]]:
    with ExitStack() as stack:
        running = {name: stack.enter_context(_servers(made, environ, options)) for name, environ in more.items()}
        turns: dict[str, list[Turn]] = {name: [] for name in running}
        for name, urls in running.items():
            everything = sorted(set(paths))
            _tell(f"filling: {name} {_turn(urls, everything, options.per_s, len(everything) / options.per_s)}")
        for number in range(options.rounds):
            for name, urls in running.items():
                turn = _turn(urls, paths[number * len(paths) // options.rounds :], options.per_s, options.seconds)
                _tell(f"round {number + 1}: {name} {turn}")
                turns[name].append(turn)
    return turns


def _turn(urls: list[str], paths: list[str], per_s: float, seconds: float) -> Turn:
    before, began_s = _statements(urls), time.monotonic()
    with Steady(urls, paths, per_s) as load:
        time.sleep(seconds)
    took_s = time.monotonic() - began_s
    return _summed(load.reads, (_statements(urls) - before) / took_s, took_s)


def _summed(reads: list[Read], statements_per_s: float, took_s: float) -> Turn:
    times_ms = sorted(read.took_s * 1000 for read in reads)
    failed = sum(read.status != 200 for read in reads)
    return Turn(len(reads) / took_s, statements_per_s, statistics.median(times_ms), times_ms[len(times_ms) * 99 // 100], failed)


def _statements(urls: list[str]) -> float:
    """Return how many statements the servers have sent to PostgreSQL."""
    total = 0.0
    for url in urls:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            total += sum(map(float, _STATEMENTS.findall(answer.read().decode())))
    return total


def _cold_start(made: Fleet, paths: list[str], environ: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Let three servers reach their steady state, end them, start three anew; return both rates of statements."""
    with _servers(made, environ, options) as urls:
        has_trending = _has_trending(urls[0])
        _turn(urls, paths, _COLD_READS_PER_S, 2 * _COUNTS_ARE_TAKEN_S)
        steady = _turn(urls, paths[len(paths) // 2 :], _COLD_READS_PER_S, options.seconds)
    with _servers(made, environ, options) as urls:
        began = _statements(urls)
        seconds = _each_second(urls, paths[len(paths) // 3 :])
    late = statistics.mean(seconds[_COLD_FROM_S:_COLD_UNTIL_S])
    _tell(
        f"cold start: steady {steady.statements_per_s:.0f}/s, to warm up {began:.0f}, then {[round(each) for each in seconds]}"
    )
    return {
        "has_trending": has_trending,
        "steady_per_s": steady.statements_per_s,
        "to_warm_up": began,
        "seconds": seconds,
        "late_per_s": late,
    }


def _each_second(urls: list[str], paths: list[str]) -> list[float]:
    """Return how many statements were sent in each of the first seconds of the load."""
    counted = [_statements(urls)]
    with Steady(urls, paths, _COLD_READS_PER_S):
        due_s = time.monotonic()
        for _ in range(_COLD_UNTIL_S):
            due_s += 1.0
            time.sleep(max(0.0, due_s - time.monotonic()))
            counted.append(_statements(urls))
    return [after - before for before, after in pairwise(counted)]


def _has_trending(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/trending", timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


def _verdicts(turns: dict[str, list[Turn]], cold: dict[str, dict[str, Any]]) -> list[tuple[str, bool]]:
    queries, p99 = _ratio(turns, "statements_per_s"), _ratio(turns, "p99_ms")
    failed = sum(turn.failed for several in turns.values() for turn in several)
    verdicts = [
        (f"Statements a second, with Redis / without: {queries:.2f}, target at most {_MOST_QUERIES}", queries <= _MOST_QUERIES),
        (f"p99, with Redis / without: {p99:.2f}, target at most {_MOST_P99}", p99 <= _MOST_P99),
        (f"Reads that failed: {failed}, target none", not failed),
    ]
    start = cold[_WITHOUT]
    if start["has_trending"] and start["steady_per_s"]:
        share = start["late_per_s"] / start["steady_per_s"]
        text = f"Cold start without Redis: {share:.2f} of the steady state's statements from the third second on"
        verdicts.append((f"{text}, target at most {_MOST_COLD}", share <= _MOST_COLD))
    return verdicts


def _ratio(turns: dict[str, list[Turn]], figure: str) -> float:
    """Return the figure with Redis as a share of that without, the median of the rounds."""
    pairs = zip(turns[_WITH], turns[_WITHOUT], strict=True)
    return statistics.median(getattr(one, figure) / getattr(other, figure) for one, other in pairs)


def _as_text(turns: dict[str, list[Turn]], cold: dict[str, dict[str, Any]], verdicts: list[tuple[str, bool]]) -> str:
    heads = ("three servers", "reads/s", "statements/s", "p50 ms", "p99 ms")
    lines = [
        (name, *(f"{statistics.median(getattr(turn, figure) for turn in several):,.1f}" for figure in Turn._fields[:4]))
        for name, several in turns.items()
    ]
    starts = [
        (
            name,
            f"{start['steady_per_s']:.1f}",
            f"{start['to_warm_up']:.0f}",
            " ".join(f"{each:.0f}" for each in start["seconds"]),
        )
        for name, start in cold.items()
    ]
    cold_heads = ("a cold start", "steady statements/s", "to warm up", "in each second after")
    told = [f"{text}: {'met' if is_met else 'MISSED'}" for text, is_met in verdicts]
    return "\n".join([table(heads, lines), "", table(cold_heads, starts), "", *told])


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
