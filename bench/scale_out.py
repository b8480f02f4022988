"""What one more server, or one more follower, costs each request: requests/s and processor time a request at every tier.

Run from the root of the repository: `python -m bench.scale_out`, with PostgreSQL, HAProxy, nginx, Redis and wrk installed. It
makes a leader and two streaming followers by itself, loads the sample, puts 1, 2 and 3 servers in front of 1 and 2 followers
from the files that `matinee cluster render` makes, and ends everything it started. Movies are asked for as often as a Zipf
distribution of 0.9 says: on a clock for the cost, by wrk for the rate.

All tiers share the machine's cores, so the rates do not rise with the servers. The cost says whether they would on machines of
their own: what does not cost more at three servers than at one is done by three machines three times as often.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

from bench import load, micro_cache, zipf
from bench.balanced import Balanced, Shape, balanced
from bench.fleet import Fleet, fleet
from bench.micro_cache import lines_file
from bench.steady import Steady
from bench.tables import table

_SERVERS, _FOLLOWERS = (1, 2, 3), (1, 2)
_TIERS = ("balancer", "servers", "leader", "followers", "Redis")
_DRAWN, _SETTLE_S, _FILL = 60_000, 1.0, 2  # caches are filled for so many times the length of a turn
_MOST_COST, _LEAST_MICRO, _LEAST_LIFT = 1.1, 0.5, 0.08
_COUNTED = re.compile(r'^matinee_cache_(hits|misses)_total\{.*tier="local".*\} (\S+)$', re.MULTILINE)
_HELD = re.compile(r'^matinee_cache_(bytes|entries)\{.*tier="local".*\} (\S+)$', re.MULTILINE)
_UNCACHED, _LEAST, _BOUNDED = "least connections, no caches", "least connections", "bounded-load hashing"
_MICRO, _REDIS = "micro-cache", "least connections, Redis"
_METHODS: dict[str, dict[str, Any]] = {
    _UNCACHED: {},
    _LEAST: {},
    _BOUNDED: {"balance": "bounded-load"},
    _MICRO: {"micro_cache": True},
    _REDIS: {"redis": True},
}


class Clocked(NamedTuple):
    """Reads on a clock: each tier's time for one, the shares of local hits and of those that came to the servers, failures."""

    cpu_us: dict[str, float]
    hit_ratio: float
    reached: float
    failed: int


class Turn(NamedTuple):
    """One shape's turn: wrk's rate; what was clocked; and the time of a read at all tiers when each server gets its share."""

    per_s: float
    cpu_us: dict[str, float]
    shared_us: float
    hit_ratio: float
    reached: float
    failed: int

    @property
    def total_us(self) -> float:
        """Return the processor time of a request at all tiers."""
        return sum(self.cpu_us.values())


Key = tuple[str, int, int]  # method, servers, followers
Turns = dict[Key, list[Turn]]


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
    with fleet(max(_FOLLOWERS)) as made:
        cache_bytes = _catalogue_bytes(made) // 100
        _tell(f"each local cache gets {cache_bytes:,} bytes, 1 % of the catalogue's")
        micro = micro_cache.measure(made, options) if options.turns else {}
        turns = _in_turns(made, cache_bytes, options)
    verdicts = [*_verdicts(turns, options.per_s), *([_micro_verdict(micro)] if micro else [])]
    print(json.dumps(_as_json(turns, micro, verdicts)) if options.json else _as_text(turns, micro, verdicts))
    return 0 if all(verdict.met for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_out", description=__doc__.split("\n\n")[0])
    parser.add_argument("--method", action="append", choices=list(_METHODS), help="only this one; may be repeated")
    parser.add_argument("--servers", type=int, action="append", choices=_SERVERS, help="only so many; may be repeated")
    parser.add_argument("--followers", type=int, action="append", choices=_FOLLOWERS, help="only so many; may be repeated")
    parser.add_argument("--rounds", type=int, default=3, help="how often each shape takes its turn")
    parser.add_argument("--seconds", type=int, default=8, help="length of the reads on a clock")
    parser.add_argument("--per-s", type=int, default=600, help="reads a second on a clock, whatever the shape")
    parser.add_argument("--wrk-seconds", type=int, default=3, help="length of each run of wrk; one before it fills the caches")
    parser.add_argument(
        "--turns", type=int, default=5, help="how often each micro-cache and the static files take turns; 0 is not at all"
    )
    parser.add_argument("--turn-seconds", type=int, default=3, help="length of such a turn")
    parser.add_argument("--hot-movies", type=int, default=100, help="how many movies are asked for in such a turn")
    parser.add_argument("--server-core", type=int, default=0, help="core of the balancers in such a turn")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk runs on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed; on Debian: apt install wrk")
    return options


def _catalogue_bytes(made: Fleet) -> int:
    """Return what the ready answers of all movies take in a local cache: as many as one keeps are weighed."""
    everything = [f"/v1/movies/{movie_id}" for movie_id in made.movie_ids]
    with balanced(made, Shape(1, 1)) as front:
        with lines_file(everything) as lines:
            load.run(front.url, lines, core=0, seconds=8)
        held = {name: float(value) for name, value in _HELD.findall(_metrics(front.server_urls[0]))}
    return int(held["bytes"] / held["entries"] * len(everything))


def _in_turns(made: Fleet, cache_bytes: int, options: argparse.Namespace) -> Turns:
    turns: Turns = {key: [] for key in _keys(options)}
    for number in range(options.rounds):
        for key in turns:
            with balanced(made, _shape(key, cache_bytes)) as front:
                turn = _turn(front, key[0], made.movie_ids, number, options)
            _tell(f"round {number + 1}: {key} {turn.total_us:.0f} us, {turn}")
            turns[key].append(turn)
    return turns


def _keys(options: argparse.Namespace) -> list[Key]:
    """Return what is measured, the smallest shapes first; Redis stands before the largest one only."""
    every = [
        (method, servers, followers)
        for followers, servers, method in product(_FOLLOWERS, _SERVERS, _METHODS)
        if method != _REDIS or (servers, followers) == (max(_SERVERS), max(_FOLLOWERS))
    ]
    chosen = (options.method or _METHODS, options.servers or _SERVERS, options.followers or _FOLLOWERS)
    return [key for key in every if all(part in wanted for part, wanted in zip(key, chosen, strict=True))]


def _shape(key: Key, cache_bytes: int) -> Shape:
    method, servers, followers = key
    settings = {"MATINEE_LOCAL_CACHE_BYTES": "0" if method == _UNCACHED else str(cache_bytes)}
    return Shape(servers, followers, settings=settings, **_METHODS[method])


def _turn(front: Balanced, method: str, movie_ids: list[int], number: int, options: argparse.Namespace) -> Turn:
    fill, asked, share = (zipf.paths(movie_ids, _DRAWN, seed=3 * number + part) for part in range(3))
    if method != _UNCACHED:
        with Steady([front.url], fill, options.per_s):
            time.sleep(options.seconds * _FILL)
    clocked = _clocked(front, asked, options.per_s, options.seconds)
    per_share_s = options.per_s * len(front.server_urls) / max(_SERVERS)
    shared = _clocked(front, share, per_share_s, options.seconds) if method == _UNCACHED else clocked
    with lines_file(fill) as lines:
        for seconds in (1, options.wrk_seconds):
            rate = load.run(front.url, lines, core=options.load_core, seconds=seconds)
    return Turn(rate.per_s, clocked.cpu_us, sum(shared.cpu_us.values()), clocked.hit_ratio, clocked.reached, clocked.failed)


def _clocked(front: Balanced, paths: list[str], per_s: float, seconds: int) -> Clocked:
    with Steady([front.url], paths, per_s) as reads:
        time.sleep(_SETTLE_S)
        counted, cpu_s, sent = _counted(front), front.cpu_s(), len(reads.reads)
        time.sleep(seconds)
        used = {name: after_s - cpu_s[name] for name, after_s in front.cpu_s().items()}
        answered = len(reads.reads) - sent
        hits, misses = (now - was for now, was in zip(_counted(front), counted, strict=True))
    looked = hits + misses
    return Clocked(
        {name: used_s / answered * 1e6 for name, used_s in used.items()},
        hits / looked if looked else 0.0,
        looked / answered if looked else 1.0,
        sum(read.status != 200 for read in reads.reads),
    )


def _counted(front: Balanced) -> tuple[float, float]:
    """Return the hits and the misses of all local caches."""
    found = [pair for url in front.server_urls for pair in _COUNTED.findall(_metrics(url))]
    return sum(float(value) for name, value in found if name == "hits"), sum(
        float(value) for name, value in found if name == "misses"
    )


def _metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def _verdicts(turns: Turns, per_s: int) -> Iterator[Verdict]:
    """Yield what can be said of the shapes that were measured."""
    if (_UNCACHED, 1, 1) in turns:
        yield _cost_verdict(turns, f"{per_s // max(_SERVERS)} reads/s for each server", lambda turn: turn.shared_us)
        yield _cost_verdict(turns, f"{per_s} reads/s for all servers", lambda turn: turn.total_us)
    hashed, least = ((method, max(_SERVERS), max(_FOLLOWERS)) for method in (_BOUNDED, _LEAST))
    if hashed in turns and least in turns:
        lift = statistics.median(
            mine.hit_ratio - other.hit_ratio for mine, other in zip(turns[hashed], turns[least], strict=True)
        )
        what = f"local hit ratio of {max(_SERVERS)} servers, hashing less least connections"
        yield Verdict(what, f"{lift * 100:+.1f} points", f"at least {_LEAST_LIFT * 100:.0f}", lift >= _LEAST_LIFT)
    failed = sum(turn.failed for several in turns.values() for turn in several)
    yield Verdict("reads that failed", f"{failed:,}", "none", failed == 0)


def _cost_verdict(turns: Turns, load_of: str, cost_us: Callable[[Turn], float]) -> Verdict:
    shapes = [key for key in turns if key[0] == _UNCACHED]
    rises = {key: _median_ratio(turns[key], turns[_UNCACHED, 1, 1], cost_us) for key in shapes}
    worst = max(rises, key=lambda key: rises[key])
    what = f"cost of a read that reaches the servers, {load_of}: {_named(worst)} (the dearest) / 1 server, 1 follower"
    return Verdict(what, f"{rises[worst]:.2f}", f"at most {_MOST_COST}", rises[worst] <= _MOST_COST)


def _median_ratio(one: list[Turn], other: list[Turn], figure: Callable[[Turn], float]) -> float:
    return statistics.median(figure(mine) / figure(theirs) for mine, theirs in zip(one, other, strict=True))


def _micro_verdict(micro: dict[str, list[micro_cache.Turn]]) -> Verdict:
    shares = {name: micro_cache.ratio(micro, name) for name in micro if name != micro_cache.STATIC}
    best = max(shares, key=lambda name: shares[name])
    told = ", ".join(f"{name}: {share:.2f}" for name, share in shares.items())
    return Verdict(
        f"answers/s of a micro-cache / {micro_cache.STATIC}",
        told,
        f"at least {_LEAST_MICRO} for one",
        shares[best] >= _LEAST_MICRO,
    )


def _as_json(turns: Turns, micro: dict[str, list[micro_cache.Turn]], verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "turns": [{"shape": key, **turn._asdict()} for key, several in turns.items() for turn in several],
        "micro_cache": {name: [turn._asdict() for turn in several] for name, several in micro.items()},
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }


def _as_text(turns: Turns, micro: dict[str, list[micro_cache.Turn]], verdicts: list[Verdict]) -> str:
    keys = sorted(turns, key=lambda key: (list(_METHODS).index(key[0]), key[2], key[1]))
    tiers = [f"{tier} us" for tier in _TIERS]
    heads = ("shape", "requests/s", *tiers, "sum us", "with its share", "local hits", "reach servers")
    told = (f"{what}: {figure}, target {target}: {'met' if met else 'MISSED'}" for what, figure, target, met in verdicts)
    tables = [table(heads, [_line(key, turns[key]) for key in keys]), *([_micro_table(micro)] if micro else [])]
    return "\n\n".join([*tables, "\n".join(told)])


def _line(key: Key, several: list[Turn]) -> tuple[str, ...]:
    def median(figure: Callable[[Turn], float]) -> float:
        return statistics.median(figure(turn) for turn in several)

    return (
        f"{key[0]}: {_named(key)}",
        f"{median(lambda turn: turn.per_s):,.0f}",
        *(f"{statistics.median(turn.cpu_us[tier] for turn in several):.0f}" for tier in _TIERS),
        f"{median(lambda turn: turn.total_us):.0f}",
        f"{median(lambda turn: turn.shared_us):.0f}" if key[0] == _UNCACHED else "",
        f"{median(lambda turn: turn.hit_ratio):.1%}",
        f"{median(lambda turn: turn.reached):.0%}",
    )


def _named(key: Key) -> str:
    return " ".join(
        f"{count} {what}{'s' * (count > 1)}{end}" for count, what, end in ((key[1], "server", ","), (key[2], "follower", ""))
    )


def _micro_table(micro: dict[str, list[micro_cache.Turn]]) -> str:
    heads = ("a hundred hot movies, one core", "answers/s", "p50 ms", "p99 ms", "us")
    lines = []
    for name, several in micro.items():
        medians = [statistics.median(values) for values in zip(*several, strict=True)]
        lines.append((name, f"{medians[0]:,.0f}", *(f"{value:.2f}" for value in medians[1:3]), f"{medians[3]:.1f}"))
    return table(heads, lines)


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
