"""What a change costs: this checkout and another one, measured in one run: imports, hits, logged hits and misses.

Run from the root of the repository: `git worktree add ../before REVISION`, then `python -m bench.versions ../before`. Each
version imports the sample into a folder of its own. Then one worker of each runs on one core and wrk on another; the versions
take turns, and a ratio is the median of the ratios of the turns of one round. Both run with this checkout's libraries.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench import load
from bench.servers import Process, environment, free_port, pin, serving
from bench.tables import table

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
# A command, and then the processor time that it has taken.
_TIMED = """
import atexit, resource
from matinee.cli.main import main
atexit.register(lambda: print(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])))
main()
"""
_MOVIES, _CONNECTIONS = 5_000, 64
_CASES: dict[str, dict[str, str]] = {
    "hit": {"MATINEE_ACCESS_LOG": "false"},
    "hit, logged": {},
    "miss": {"MATINEE_ACCESS_LOG": "false", "MATINEE_LOCAL_CACHE_BYTES": "0"},
}


class Version(NamedTuple):
    """A checkout, and the folder of its catalogue."""

    root: Path
    home: Path

    def environ(self, **more: str) -> dict[str, str]:
        """Return the variables of a process of this version."""
        # servers.py states these for this version; an older one may not know them. Empty is left out.
        stated = {"MATINEE_OPS_PUBLIC": "", "MATINEE_OPS_ADDRESS": ""}
        return {"PYTHONPATH": str(self.root / "src"), "MATINEE_HOME": str(self.home), **stated, **more}


class Line(NamedTuple):
    """One case: what both came to (each in the middle of its turns), and their ratio in the middle of the rounds."""

    case: str
    before: float
    now: float
    ratio: float
    p99_before_ms: float
    p99_now_ms: float


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("other", type=Path, help="root of the other checkout")
    parser.add_argument("--rounds", type=int, default=7, help="how often each version takes its turn")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn")
    parser.add_argument("--imports", type=int, default=3, help="how often each version imports the sample")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk runs on")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def measure(given: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """Yield the lines."""
    here = Path(__file__).resolve().parent.parent
    before, now = Version(given.other.resolve(), folder / "before"), Version(here, folder / "now")
    pairs = [(_import_s(before, n, given.server_core), _import_s(now, n, given.server_core)) for n in range(given.imports)]
    yield line_of("import of the sample, s of processor time", pairs, [(0.0, 0.0)])
    for case, settings in _CASES.items():
        with ExitStack() as stack:
            servers = [stack.enter_context(_serving(version, case, settings, given)) for version in (before, now)]
            paths = asked_paths(servers, folder)
            rounds = [[turn(server, paths, given, seed) for server in servers] for seed in range(given.rounds + 1)][1:]
        yield line_of(
            f"{case}, requests/s",
            [(one.per_s, other.per_s) for one, other in rounds],
            [(one.p99_ms, other.p99_ms) for one, other in rounds],
        )


def _import_s(version: Version, number: int, core: int) -> float:
    """Import the sample into a new catalogue; the first one is served later. Return the processor time."""
    home = version.home if number == 0 else version.home.with_name(f"{version.home.name}-{number}")
    environ = environment(version.environ(MATINEE_HOME=str(home)))
    subprocess.run([*_MATINEE, "migrate"], env=environ, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", _TIMED, "sample"], env=environ, check=True, capture_output=True, text=True, preexec_fn=pin(core)
    )
    return float(done.stdout.split()[-1])


@contextmanager
def _serving(version: Version, case: str, settings: Mapping[str, str], given: argparse.Namespace) -> Iterator[Process]:
    port = free_port()
    log = version.home.with_name(f"{version.home.name}-{case.partition(',')[0]}.log")
    environ = version.environ(MATINEE_LOG_FILE=str(log), PORT=str(port), **settings)
    command = [*_MATINEE, "serve"]
    with serving(command, environ, port=port, ready_path="/v1/movies/1", core=given.server_core) as process:
        yield process


def asked_paths(servers: Sequence[Process], folder: Path) -> Path:
    """Ask all servers for the movies that are asked for, twice, so that they are in memory; return the file of their paths."""
    paths = [f"/v1/movies/{number}" for number in range(1, _MOVIES + 1)]
    for server in servers:
        address = urlsplit(server.url)
        with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)) as connection:
            for path in paths * 2:
                connection.request("GET", path)
                if connection.getresponse().read()[:1] != b"{":
                    raise load.LoadFailed(f"{server.url}{path} is no movie")
    file = folder / "paths"
    file.write_text("".join(f"{path}\n" for path in paths))
    return file


def turn(server: Process, paths: Path, given: argparse.Namespace, seed: int) -> load.Measured:
    server.wait_until_idle()
    return load.run(server.url, paths, core=given.load_core, seconds=given.seconds, connections=_CONNECTIONS, seed=seed)


def line_of(case: str, pairs: Sequence[tuple[float, float]], p99_ms: Sequence[tuple[float, float]]) -> Line:
    before, now = (statistics.median(values) for values in zip(*pairs, strict=True))
    ratio = statistics.median(now / before for before, now in pairs)
    return Line(case, before, now, ratio, *(statistics.median(values) for values in zip(*p99_ms, strict=True)))


def main() -> None:
    """Measure and print."""
    given = options()
    with tempfile.TemporaryDirectory(prefix="matinee-bench-") as folder:
        lines = list(measure(given, Path(folder)))
    if given.json:
        print(json.dumps([line._asdict() for line in lines], indent=2))
        return
    heads = ["case", "before", "now", "ratio", "p99 before, ms", "p99 now, ms"]
    print(table(heads, [[line.case, *(f"{value:,.2f}" for value in line[1:])] for line in lines]))


if __name__ == "__main__":
    main()
