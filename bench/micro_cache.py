"""How many answers a second a balancer gives out of its micro-cache, against nginx that reads the same bytes from disk.

Called by scale_out.py. One worker each on one core, wrk on another; they take turns, and a ratio is the median of the ratios of
turns of one round. The servers are asked again for each movie as often as its answer says, which is part of the figure.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench import load
from bench.balanced import Shape, balanced, on_core
from bench.fleet import Fleet
from bench.servers import Process
from matinee.ops.engines import EngineNode, program
from matinee.ops.processes import free_port
from matinee.ops.topology import BALANCERS, Place

STATIC = "nginx, from disk"
_STATIC_CONF = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
    }}
}}
"""


class Turn(NamedTuple):
    """One turn: answers a second, how long they took, and the processor time of one."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def measure(made: Fleet, options: argparse.Namespace) -> dict[str, list[Turn]]:
    """Let both micro-caches and the static files take turns; return the turns of each."""
    paths = [f"/v1/movies/{movie_id}" for movie_id in made.movie_ids[: options.hot_movies]]
    with ExitStack() as stack:
        running: dict[str, Process] = {}
        for engine in BALANCERS:
            shape = Shape(3, 2, balancer=engine, micro_cache=True)
            front = stack.enter_context(balanced(made, shape, balancer_core=options.server_core))
            running[f"{engine}, micro-cache"] = front.tiers["balancer"][0]
        bodies = {path: _body(running[f"{BALANCERS[0]}, micro-cache"], path) for path in paths}
        running[STATIC] = stack.enter_context(_static(bodies, options.server_core))
        for name, process in running.items():
            assert all(_body(process, path) == body for path, body in bodies.items()), f"{name} answers other bytes"
        lines = stack.enter_context(lines_file(paths))
        return _in_turns(running, lines, options)


def _in_turns(running: dict[str, Process], lines: Path, options: argparse.Namespace) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {name: [] for name in running}
    for number in range(options.turns + 1):
        for name, process in running.items():
            before_s = process.cpu_s()
            seconds = options.turn_seconds if number else 1  # the first round only warms up
            found = load.run(process.url, lines, core=options.load_core, seconds=seconds, seed=number)
            turn = Turn(found.per_s, found.p50_ms, found.p99_ms, (process.cpu_s() - before_s) / found.requests * 1e6)
            print(f"turn {number}: {name} {turn}", file=sys.stderr)
            if number:
                turns[name].append(turn)
    return turns


def ratio(turns: dict[str, list[Turn]], name: str) -> float:
    """Return a micro-cache's rate as a share of that of the static files: the median of the rounds."""
    return statistics.median(one.per_s / other.per_s for one, other in zip(turns[name], turns[STATIC], strict=True))


@contextmanager
def lines_file(lines: list[str]) -> Iterator[Path]:
    """Give a file of these lines until the block ends."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        yield Path(file.name)


def _body(process: Process, path: str) -> bytes:
    address = urlsplit(process.url)
    with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)) as connection:
        connection.request("GET", path, headers={"Accept-Encoding": "identity"})
        return connection.getresponse().read()


@contextmanager
def _static(bodies: dict[str, bytes], core: int) -> Iterator[Process]:
    """Run an nginx that serves these bytes from files, until the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="matinee-bench-static-"))
    folder.chmod(0o711)
    for path, body in bodies.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    place = Place("static", "balancer", "local", "127.0.0.1", {"port": free_port()})
    (folder / "nginx.conf").write_text(_STATIC_CONF.format(folder=folder, port=place.port))
    command = [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder), "-g", "daemon off;"]
    node = EngineNode(place, command, folder / "log")
    try:
        with on_core(core):
            node.start()
        assert node.process is not None
        yield Process(node.address, node.process.pid)
    finally:
        node.end()
        shutil.rmtree(folder)
