"""How many GET /v1/movies/{id} a second one core answers: Matinee, a Django REST framework application, a bare Starlette route.

With --what page it is the first page of GET /v1/movies, the twenty newest movies, which the bare Starlette route has not.
Run from the root of the repository: `python -m bench.read_path`. Everything runs on this machine: the servers on one core, wrk
on another, all on the same catalogue: SQLite's file, or the PostgreSQL that DATABASE_URL names and with the same random ids.
Contestants take turns, so that a busy minute hits all of them. Nothing is measured before every contestant has been seen to
answer the right bodies.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import catalogues, load, memory
from bench.contestants import BASELINE, OURS, STARLETTE, Contestant, contestants
from bench.servers import Process
from bench.tables import table
from matinee.config import Config

_CHECKED_IDS = 200
_PAGE = "/v1/movies?limit=20&sort=added\n"
# Ours is at least so many times that: on SQLite, and on PostgreSQL for a movie and for a page.
_TARGETS = {
    ("sqlite", "movie"): {BASELINE.name: 8.0, STARLETTE.name: 0.6},
    ("sqlite", "page"): {BASELINE.name: 8.0},
    ("postgresql", "movie"): {BASELINE.name: 5.0, STARLETTE.name: 0.7},
    ("postgresql", "page"): {BASELINE.name: 8.0},
}


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended, too
    with catalogues.sample_home(options.home, options.sample) as settings, _paths(settings, options.what) as paths:
        if options.memory:
            figures: Any = memory.measure(settings, paths, options.server_core, options.load_core)
            print(json.dumps(figures) if options.json else memory.as_table(figures))
            return 0
        rows = measure(settings, paths, options)
    targets = _TARGETS["postgresql" if settings.on_postgres else "sqlite", options.what]
    print(json.dumps(rows) if options.json else _as_table(rows, targets))
    return 0 if all(met for _, _, met in _verdicts(rows, targets)) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.read_path", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--what", choices=("movie", "page"), default="movie", help="what is asked for")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant takes its turn")
    parser.add_argument("--seconds", type=int, default=5, help="length of a turn")
    parser.add_argument("--connections", type=int, default=32, help="open connections of wrk")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk runs on")
    parser.add_argument("--memory", action="store_true", help="measure the memory of Matinee's server instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


@contextmanager
def _paths(settings: Config, what: str) -> Iterator[Path]:
    ids = catalogues.movie_ids(settings)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines([_PAGE] if what == "page" else [f"/v1/movies/{movie_id}\n" for movie_id in ids])
        file.flush()
        yield Path(file.name)


def measure(settings: Config, paths: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Start all contestants, check their answers, let them take turns; return a row for each."""
    ready_path = paths.read_text().split("\n", 1)[0]
    everybody = contestants(on_postgres=settings.on_postgres)
    taking_part = [item for item in everybody if options.what == "movie" or item.name != STARLETTE.name]
    with ExitStack() as stack:
        running = [
            (item, stack.enter_context(item.serving(settings.home, ready_path=ready_path, core=options.server_core)))
            for item in taking_part
        ]
        check(running, paths)
        turns = take_turns(running, paths, options)
    return [row(name, several, turns[OURS.name]) for name, several in turns.items()]


def take_turns(
    running: list[tuple[Contestant, Process]], paths: Path, options: argparse.Namespace
) -> dict[str, list[load.Measured]]:
    """Put load on one contestant after another, round after round; return the turns of each by its name."""
    turns: dict[str, list[load.Measured]] = {item.name: [] for item, _ in running}
    for number in range(options.rounds + 1):
        seconds = options.seconds if number else 1  # the first round only warms up
        for item, process in running:
            turn = load.run(
                process.url, paths, core=options.load_core, seconds=seconds, connections=options.connections, seed=number
            )
            print(f"round {number}: {item.name} {turn.per_s:,.0f}/s", file=sys.stderr)
            process.wait_until_idle()
            if number:
                turns[item.name].append(turn)
    return turns


def check(running: list[tuple[Contestant, Process]], paths: Path) -> None:
    """See that every contestant gives the same movies. Raises: AssertionError with the contestant and the path."""
    known = paths.read_text().split()
    for path in random.Random(1).sample(known, min(_CHECKED_IDS, len(known))):
        status, body, etag = _get(running[0][1].url + path)
        assert status == 200, f"{running[0][0].name} answers {status} to {path}"
        for item, process in running[1:]:
            other_status, other_body, other_etag = _get(process.url + path)
            assert other_status == 200, f"{item.name} answers {other_status} to {path}"
            if item is BASELINE:
                assert _movies(other_body) == _movies(body), f"{item.name} answers another movie to {path}"
            else:
                assert (other_body, other_etag) == (body, etag), f"{item.name} answers other bytes to {path}"


def _movies(body: bytes) -> Any:
    """Return the movie, or those of a page, which each contestant wraps in its own way."""
    plain = json.loads(body)
    return plain.get("items", plain.get("results", plain))


def _get(url: str) -> tuple[int, bytes, str | None]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["content-type"].split(";")[0] == "application/json", url
        return answer.status, answer.read(), answer.headers["etag"]


def row(name: str, turns: list[load.Measured], ours: list[load.Measured]) -> dict[str, Any]:
    """Return a contestant's figures, and how many times its rate ours is."""
    rates = [turn.per_s for turn in turns]
    return {
        "contestant": name,
        # Of turns that stand beside each other, so that what else the machine does hits both.
        "ours_is": statistics.median(our.per_s / turn.per_s for our, turn in zip(ours, turns, strict=True)),
        "per_s": statistics.median(rates),
        "min_per_s": min(rates),
        "max_per_s": max(rates),
        "p50_ms": statistics.median(turn.p50_ms for turn in turns),
        "p99_ms": statistics.median(turn.p99_ms for turn in turns),
    }


def ratio(rows: list[dict[str, Any]], name: str) -> float:
    """Return how many times a contestant's rate ours is: the median of the rounds."""
    return next(float(row["ours_is"]) for row in rows if row["contestant"] == name)


def _as_table(rows: list[dict[str, Any]], targets: Mapping[str, float]) -> str:
    heads = ("contestant", "requests/s", "min", "max", "p50 ms", "p99 ms", "Matinee is")
    lines = [
        (
            row["contestant"],
            *(f"{row[name]:,.0f}" for name in ("per_s", "min_per_s", "max_per_s")),
            *(f"{row[name]:.2f}" for name in ("p50_ms", "p99_ms")),
            f"{ratio(rows, row['contestant']):.2f} x",
        )
        for row in rows
    ]
    verdicts = [
        f"Matinee / {name}: {ratio(rows, name):.2f}, target {target}: {'met' if met else 'MISSED'}"
        for name, target, met in _verdicts(rows, targets)
    ]
    return "\n".join([table(heads, lines), "", *verdicts])


def _verdicts(rows: list[dict[str, Any]], targets: Mapping[str, float]) -> list[tuple[str, float, bool]]:
    measured = {row["contestant"] for row in rows}
    return [(name, target, ratio(rows, name) >= target) for name, target in targets.items() if name in measured]


if __name__ == "__main__":
    sys.exit(main())
