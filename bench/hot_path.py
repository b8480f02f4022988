"""How many hits of the local tier one core answers: against a bare ASGI callable, Django with Redis before it, and no cache.

Run from the root of the repository: `python -m bench.hot_path`. One worker on one core, wrk on another, 10,000 movies that
everybody has in memory before anything is measured. Contestants take turns, so that a busy minute hits all of them, and a
ratio is the median of the ratios of turns of one round. Bodies are compared first: the bare callable sends the same bytes and
headers, Django the same JSON. Redis has the core of wrk, which is in Django's favour.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench import catalogues, load
from bench.bare_granian import write_answers
from bench.contestants import BARE_GRANIAN, CACHED_BASELINE, HOT, HOT_LOGGED, HOT_UNCACHED, Contestant
from bench.redis_server import redis_server
from bench.servers import Process
from bench.tables import table
from matinee.config import Config

_KNOWN, _GZIP, _BROTLI = "the same, 304", "the same, gzip", "the same, br"
_TARGETS = (  # the one is at least so many times the other
    (HOT.name, BARE_GRANIAN.name, 0.8),
    (HOT_LOGGED.name, BARE_GRANIAN.name, None),
    (HOT.name, CACHED_BASELINE.name, 10.0),
    (HOT.name, HOT_UNCACHED.name, 5.0),
    (_KNOWN, HOT.name, 1.0),
    (_GZIP, HOT.name, None),
    (_BROTLI, HOT.name, None),
)
_OF_GRANIAN = {"server", "date"}  # it adds them to every answer
_VARYING = {"x-request-id", "matinee-staleness", "age"}
_SAMPLE_OF_CHECKS = 7  # each seventh movie is compared


class Answered(NamedTuple):
    """What one request got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Entrant(NamedTuple):
    """One that takes turns: a server, and what it is asked."""

    name: str
    process: Process
    requests: Path


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended, too
    with (
        catalogues.sample_home(options.home, options.sample) as settings,
        tempfile.TemporaryDirectory(prefix="matinee-bench-") as folder,
    ):
        paths = [f"/v1/movies/{movie_id}" for movie_id in catalogues.movie_ids(settings)[: options.movies]]
        turns = measure(settings, Path(folder), paths, options)
    print(json.dumps(_as_json(turns)) if options.json else _as_text(turns))
    return 0 if all(ratio(turns, one, other) >= least for one, other, least in _TARGETS if least) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.hot_path", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--movies", type=int, default=10_000, help="how many movies are asked for")
    parser.add_argument("--rounds", type=int, default=9, help="how often each contestant takes its turn")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn")
    parser.add_argument("--connections", type=int, default=64, help="open connections of wrk")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk and Redis run on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def measure(settings: Config, folder: Path, paths: list[str], options: argparse.Namespace) -> dict[str, list[load.Measured]]:
    """Start all contestants, check their answers, let them take turns; return the turns of each."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server(core=options.load_core))

        def start(item: Contestant, **more: str) -> Process:
            return stack.enter_context(item.serving(settings.home, ready_path=paths[0], core=options.server_core, **more))

        hot = start(HOT)
        hits = _warm(hot, paths)
        write_answers(folder / "answers", ((path, _sent(hit), hit.body) for path, hit in hits.items()))
        plain = _written(folder / "plain", paths)
        entrants = [
            Entrant(HOT.name, hot, plain),
            Entrant(BARE_GRANIAN.name, start(BARE_GRANIAN, BENCH_ANSWERS=str(folder / "answers")), plain),
            Entrant(HOT_LOGGED.name, start(HOT_LOGGED, MATINEE_LOG_FILE=str(folder / "access.log")), plain),
            Entrant(CACHED_BASELINE.name, start(CACHED_BASELINE, BENCH_REDIS_URL=redis_url), plain),
            Entrant(HOT_UNCACHED.name, start(HOT_UNCACHED), plain),
            *_other_forms(hot, folder, hits),
        ]
        for entrant in entrants[1:5]:
            check(entrant, hits, _warm(entrant.process, paths))
        return _in_turns(entrants, options)


def _warm(process: Process, paths: Iterable[str], headers: Any = lambda _: {}) -> dict[str, Answered]:
    """Ask for each path until it is in memory; return the last answers."""
    answers: dict[str, Answered] = {}
    address = urlsplit(process.url)
    with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)) as connection:
        for _ in range(2):
            for path in paths:
                connection.request("GET", path, headers={"Accept-Encoding": "identity", **headers(path)})
                answer = connection.getresponse()
                answers[path] = Answered(answer.status, _lower(answer.getheaders()), answer.read())
    return answers


def _lower(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def _sent(answer: Answered) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name not in _OF_GRANIAN]


def _written(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _other_forms(hot: Process, folder: Path, hits: dict[str, Answered]) -> Iterator[Entrant]:
    """Give the hits of another kind: not modified, and compressed ones, which are made at the first hit."""
    etags = {path: dict(hit.headers)["etag"] for path, hit in hits.items()}
    for name, header, value_of, status in (
        (_KNOWN, "If-None-Match", etags.__getitem__, 304),
        (_GZIP, "Accept-Encoding", lambda _: "gzip", 200),
        (_BROTLI, "Accept-Encoding", lambda _: "br", 200),
    ):
        answers = _warm(hot, hits, lambda path, header=header, value_of=value_of: {header: value_of(path)})
        assert {answer.status for answer in answers.values()} == {status}, name
        is_packed = {"content-encoding" in dict(answer.headers) for answer in answers.values()}
        assert is_packed == {header == "Accept-Encoding"}, name
        lines = (f"{path}\t{header}\t{value_of(path)}" for path in hits)
        yield Entrant(name, hot, _written(folder / name.rpartition(" ")[2], lines))


def check(entrant: Entrant, hits: dict[str, Answered], answers: dict[str, Answered]) -> None:
    """See that a contestant answers as the hits of Matinee do. Raises: AssertionError with its name."""
    for path in list(hits)[::_SAMPLE_OF_CHECKS]:
        hit, other = hits[path], answers[path]
        assert (hit.status, other.status) == (200, 200), f"{entrant.name} answers {other.status} to {path}"
        if entrant.name == CACHED_BASELINE.name:
            assert json.loads(other.body) == json.loads(hit.body), f"{entrant.name} answers another movie to {path}"
            continue
        assert other.body == hit.body, f"{entrant.name} answers other bytes to {path}"
        if entrant.name != HOT_UNCACHED.name:
            assert _fixed(other) == _fixed(hit), f"{entrant.name} answers {path} with other headers"
            assert dict(hit.headers)["cache-status"] == "matinee-local; hit", f"{path} was no hit"


def _fixed(answer: Answered) -> list[tuple[str, str]]:
    return [(name, "" if name in _VARYING else value) for name, value in _sent(answer)]


def _in_turns(entrants: list[Entrant], options: argparse.Namespace) -> dict[str, list[load.Measured]]:
    turns: dict[str, list[load.Measured]] = {entrant.name: [] for entrant in entrants}
    for number in range(options.rounds + 1):
        for name, process, requests in entrants:
            before_s = process.cpu_s()
            turn = load.run(
                process.url,
                requests,
                core=options.load_core,
                seconds=options.seconds if number else 1,  # the first round only warms up
                connections=options.connections,
                seed=number,
            )
            process.wait_until_idle()
            cpu_us = (process.cpu_s() - before_s) / turn.requests * 1e6
            print(f"round {number}: {name} {turn.per_s:,.0f}/s, {cpu_us:.1f} us", file=sys.stderr)
            if number:
                turns[name].append(turn)
    return turns


def ratio(turns: dict[str, list[load.Measured]], one: str, other: str) -> float:
    """Return how many times the rate of another the rate of one is: the median of the rounds."""
    return statistics.median(mine.per_s / theirs.per_s for mine, theirs in zip(turns[one], turns[other], strict=True))


def _as_json(turns: dict[str, list[load.Measured]]) -> dict[str, Any]:
    return {
        "turns": {name: [turn._asdict() for turn in several] for name, several in turns.items()},
        "ratios": [
            {"of": one, "to": other, "ratio": ratio(turns, one, other), "target": least} for one, other, least in _TARGETS
        ],
    }


def _as_text(turns: dict[str, list[load.Measured]]) -> str:
    heads = ("contestant", "requests/s", "min", "max", "p50 ms", "p99 ms")
    lines = []
    for name, several in turns.items():
        rates = [turn.per_s for turn in several]
        shown = [f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates))]
        times = [f"{statistics.median(getattr(turn, name) for turn in several):.2f}" for name in ("p50_ms", "p99_ms")]
        lines.append((name, *shown, *times))
    return "\n".join([table(heads, lines), "", *(_verdict(turns, *target) for target in _TARGETS)])


def _verdict(turns: dict[str, list[load.Measured]], one: str, other: str, least: float | None) -> str:
    found = ratio(turns, one, other)
    verdict = "" if least is None else f", target {least}: {'met' if found >= least else 'MISSED'}"
    return f"{one} / {other}: {found:.2f}{verdict}"


if __name__ == "__main__":
    sys.exit(main())
