"""What TLS between a server, PostgreSQL and Redis costs: hits, misses from Redis, misses from PostgreSQL, and writes seen.

Run from the root of the repository: `python -m bench.cluster_tls`. A leader, a follower and a Redis take both kinds of
connections; two servers differ in their URLs alone and take turns. wrk runs on one core, the servers on the other.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import visibility
from bench.redis_server import redis_server
from bench.servers import Process, environment, free_port, serving
from bench.tables import table
from bench.versions import Line, asked_paths, line_of, turn
from matinee.ops import certificates
from matinee.ops.certificates import Wanted
from matinee.ops.postgres import SETTINGS, PostgresNode, make_passable, own
from matinee.ops.server_urls import postgres_url

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_NODE = "node"
_MOST_VISIBLE_MS = 250.0
_CASES: dict[str, dict[str, str]] = {
    "hit": {},
    "miss, from Redis": {"MATINEE_LOCAL_CACHE_BYTES": "0"},
    "miss, from PostgreSQL": {"MATINEE_LOCAL_CACHE_BYTES": "0", "REDIS_URL": ""},
}


class Engines:
    """What both servers use. `urls` gives the variables of one of them."""

    def __init__(self, leader: PostgresNode, follower: PostgresNode, redis_urls: tuple[str, str], authorities: Path) -> None:
        self.leader, self.follower, self.redis_urls, self.authorities = leader, follower, redis_urls, authorities

    def urls(self, *, tls: bool) -> dict[str, str]:
        """Return where a server writes, reads and caches."""
        authorities = self.authorities if tls else None
        at = [f"127.0.0.1:{node.port}" for node in (self.leader, self.follower)]
        writes, reads = (postgres_url("postgres", self.leader.password, one, "matinee", authorities) for one in at)
        plain = "" if tls else "?sslmode=disable"
        return {
            "DATABASE_URL": writes + plain,
            "DATABASE_FOLLOWER_URLS": reads + plain,
            "REDIS_URL": self.redis_urls[tls],
        }


@contextmanager
def engines(folder: Path, core: int) -> Iterator[Engines]:
    """Run a leader with the sample, its follower and a Redis until the block ends."""
    trusted = folder / "certificates"
    certificates.ensure(trusted, "bench", [Wanted(_NODE, ("127.0.0.1", "localhost"), is_client=False)])
    with ExitStack() as stack:
        nodes = []
        for name in ("leader", "follower"):
            settings = {**SETTINGS, "ssl": ("on", "half of the sessions"), **_certificate(folder / name, trusted)}
            nodes.append(PostgresNode(name, folder / name, free_port(), "secret", settings))
        leader, follower = nodes
        leader.create()
        stack.callback(leader.end)
        leader.start()
        leader.ask("CREATE DATABASE matinee", within_s=30.0)
        for words in (["migrate"], ["sample"]):
            told = environment({"DATABASE_URL": leader.url("matinee"), "MATINEE_HOME": str(folder / "home")})
            subprocess.run([*_MATINEE, *words], env=told, check=True, capture_output=True)
        follower.follow(leader)
        stack.callback(follower.end)
        follower.start()
        port = free_port()
        files = [word for key in ("cert", "key") for word in (f"--tls-{key}-file", str(trusted / f"{_NODE}.{_SUFFIX[key]}"))]
        more = ["--tls-port", str(port), *files, "--tls-ca-cert-file", str(trusted / "ca.crt"), "--tls-auth-clients", "no"]
        plain = stack.enter_context(redis_server(core=core, more=more))
        with_tls = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted / 'ca.crt'}"
        yield Engines(leader, follower, (plain, with_tls), trusted / "ca.crt")


_SUFFIX = {"cert": "crt", "key": "key"}


def _certificate(folder: Path, trusted: Path) -> dict[str, tuple[str, str]]:
    """Copy the certificate to where PostgreSQL's user reads it; return the settings that name it."""
    make_passable(folder)
    settings = {}
    for key, suffix in _SUFFIX.items():
        path = folder / f"{_NODE}.{suffix}"
        shutil.copyfile(trusted / path.name, path)
        path.chmod(0o600)
        own(path)
        settings[f"ssl_{key}_file"] = f"'{path}'", "of this run"
    return settings


def measure(given: argparse.Namespace, folder: Path, made: Engines) -> Iterator[Line]:
    """Yield what each case comes to without TLS and with it."""
    for case, more in _CASES.items():
        with ExitStack() as stack:
            servers = [
                stack.enter_context(_serving(folder / str(tls), {**made.urls(tls=tls), **more}, given)) for tls in (False, True)
            ]
            paths = asked_paths(servers, folder)
            rounds = [[turn(server, paths, given, seed) for server in servers] for seed in range(given.rounds + 1)][1:]
        figures = [tuple(one.per_s for one in each) for each in rounds]
        yield line_of(f"{case}, requests/s", figures, [tuple(one.p99_ms for one in each) for each in rounds])  # type: ignore[arg-type]


def visible_ms(given: argparse.Namespace, folder: Path, made: Engines) -> float:
    """Return the time within which 99 of 100 writes can be read through a server with TLS."""
    told = environment({**made.urls(tls=True), "MATINEE_HOME": str(folder / "True")})
    done = subprocess.run(
        [*_MATINEE, "key", "create", "--name", "b", "--scope", "write"], env=told, check=True, capture_output=True, text=True
    )
    with _serving(folder / "True", made.urls(tls=True), given) as server:
        seen = visibility.measure(server.url, done.stdout.strip(), {}, given.writes)
    return statistics.quantiles(seen[visibility.THROUGH_SERVER], n=100)[98]


@contextmanager
def _serving(home: Path, settings: Mapping[str, str], given: argparse.Namespace) -> Iterator[Process]:
    port = free_port()
    environ = {"MATINEE_HOME": str(home), "PORT": str(port), "MATINEE_ACCESS_LOG": "false", **settings}
    with serving([*_MATINEE, "serve"], environ, port=port, ready_path="/v1/movies/1", core=given.server_core) as process:
        yield process


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each server takes its turn")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn")
    parser.add_argument("--writes", type=int, default=200, help="writes that are waited for")
    parser.add_argument("--server-core", type=int, default=0, help="core that the servers run on")
    parser.add_argument("--load-core", type=int, default=1, help="core that wrk runs on")
    given = parser.parse_args()
    # PostgreSQL's user must get to its data.
    folder = Path(tempfile.mkdtemp(prefix="matinee-bench-"))
    folder.chmod(0o711)
    try:
        with engines(folder, given.load_core) as made:
            lines = list(measure(given, folder, made))
            p99_ms = visible_ms(given, folder, made)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    heads = ["case", "plain", "TLS", "ratio", "p99 plain, ms", "p99 TLS, ms"]
    print(table(heads, [[line.case, *(f"{value:,.2f}" for value in line[1:])] for line in lines]))
    print(f"commit to visible through a server, p99: {p99_ms:.0f} ms (at most {_MOST_VISIBLE_MS:.0f})")


if __name__ == "__main__":
    main()
