"""Whether a real server keeps to MATINEE_LOCAL_CACHE_BYTES for URLs and headers that were made to get around it.

Run from the root of the repository: `python -m bench.local_memory_mixes`. One worker over the sample; for each mix a server of
its own. Its resident memory after all requests, less what it was before the cache filled, is compared with the bound.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from bench import catalogues
from bench.servers import Process, free_port, serving
from bench.tables import table

_BOUND_BYTES = 16 * 2**20
_FIRST_REQUESTS = 500  # until then a process has not imported and filled what it needs without any tier
_AT_ONCE = 20  # requests that are sent before their answers are read
_WITHIN = 1.15
_PROGRAM = [sys.executable, "-c", "from matinee.cli.main import main; main()", "serve", "--port"]
_WORDS = "&".join(f"genre={letter * 290}" for letter in "abcdefghijklmnopqrst")
Request = tuple[str, str]  # a target, and header lines

MIXES: dict[str, Callable[[int], Request]] = {
    "movies": lambda number: (f"/v1/movies/{number % 17_000 + 1}", ""),
    "movies in three forms": lambda number: (
        f"/v1/movies/{number // 3 % 17_000 + 1}",
        f"Accept-Encoding: {('identity', 'br', 'gzip')[number % 3]}\r\n",
    ),
    "keys of 6 kB": lambda number: (f"/v1/movies?{_WORDS}&votes_min={number}", ""),
    "pages with cursors": lambda number: (f"/v1/movies?limit=2&sort=title&year_from={number % 999 + 1}&votes_min={number}", ""),
    "ids that do not exist": lambda number: (f"/v1/movies/{1_000_000 + number}", ""),
    "long ids that do not exist": lambda number: (f"/v1/movies/fynd:{number:06d}{'x' * 190}", ""),
    "ids of 60,000 digits": lambda number: (f"/v1/movies/{'9' * 60_000}{number}", ""),
    "queries of 60 kB": lambda number: (f"/v1/search?q={'x' * 60_000}{number}", ""),
    "headers of 8 kB": lambda number: (
        f"/v1/movies/{number % 500 + 1}",
        "".join(f"{name}: {number}{'x' * 8_000}\r\n" for name in ("Accept-Encoding", "If-None-Match", "Cookie", "Origin")),
    ),
}  # fmt: skip


def main() -> int:
    """Measure, print, and return 1 when a mix takes more than the bound and 15 %."""
    parser = argparse.ArgumentParser(prog="python -m bench.local_memory_mixes", description=__doc__.split("\n\n")[0])
    parser.add_argument("--home", type=Path, help="folder of a catalogue; empty or new: the sample is imported into it")
    parser.add_argument("--sample", type=Path, default=catalogues.SAMPLE, help="NDJSON file of the sample")
    parser.add_argument("--requests", type=int, default=20_000, help="requests of each mix")
    options = parser.parse_args()
    with catalogues.sample_home(options.home, options.sample) as settings:
        rows = [(name, *_measure(settings.home, mix, options.requests)) for name, mix in MIXES.items()]
    shown = [
        (name, f"{entries:,}", f"{used / 2**20:.1f}", f"{grown / 2**20:.1f}", f"{grown / _BOUND_BYTES:.2f}")
        for name, entries, used, grown in rows
    ]
    print(table(("mix", "entries", "counted MiB", "grown MiB", "of the bound"), shown))
    return 0 if all(grown <= _WITHIN * _BOUND_BYTES for *_, grown in rows) else 1


def _measure(home: Path, mix: Callable[[int], Request], count: int) -> tuple[int, int, int]:
    """Return the entries of the cache, the bytes that it counts, and by how much the server has grown."""
    port = free_port()
    environ = {"MATINEE_HOME": str(home), "MATINEE_LOCAL_CACHE_BYTES": str(_BOUND_BYTES), "MATINEE_ACCESS_LOG": "false"}
    environ |= {"MATINEE_WARM_MOVIES": "0", "LOG_LEVEL": "error", "MATINEE_DRAIN_S": "0"}
    with serving([*_PROGRAM, str(port)], environ, port=port, ready_path="/readyz", core=0) as process:
        _send(process, mix, range(_FIRST_REQUESTS))
        empty_bytes = _resident(process) - _figure(process, "matinee_cache_bytes")
        _send(process, mix, range(_FIRST_REQUESTS, count))
        figures = _figure(process, "matinee_cache_entries"), _figure(process, "matinee_cache_bytes")
        return *figures, _resident(process) - empty_bytes


def _resident(process: Process) -> int:
    return max(process.rss_bytes().values())


def _figure(process: Process, name: str) -> int:
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf'^{name}{{[^}}]*tier="local"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _send(process: Process, mix: Callable[[int], Request], numbers: range) -> None:
    """Send requests over one connection, some at a time."""
    parts = urlsplit(process.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as wire, wire.makefile("rb") as answers:
        for begin in range(numbers.start, numbers.stop, _AT_ONCE):
            some = [mix(number) for number in range(begin, min(begin + _AT_ONCE, numbers.stop))]
            wire.sendall(b"".join(_encoded(target, headers) for target, headers in some))
            for _ in some:
                length = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)


def _encoded(target: str, headers: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


if __name__ == "__main__":
    sys.exit(main())
