"""The server under attack: one started for this run, or one that runs already, and what is known of it from outside.

Called by __main__.py. What the attack needs (a write key, a staff session) is made with the server's own MATINEE_HOME.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench.attack.wire import Target
from bench.servers import Process, environment, free_port, serving

_MATINEE = [sys.executable, "-c", "from matinee.cli.main import main; main()"]
_ACCOUNT = "attack"  # the staff user that the attack makes and removes


@dataclass(frozen=True)
class Served:
    """A server, the credentials for it, and its processes."""

    target: Target
    home: Path
    process: Process
    key: str
    session: str

    def rss_bytes(self) -> int:
        """Return the resident memory of all its processes."""
        return sum(self.process.rss_bytes().values())

    def log_bytes(self) -> int:
        """Return the size of all its log files."""
        return sum(path.stat().st_size for path in (self.home / "logs").glob("*") if path.is_file())

    def export(self) -> dict[int, bytes]:
        """Return the catalogue as it is exported: each movie's line by its id."""
        done = _matinee(self.home, "export", "ndjson", "-")
        return {json.loads(line)["id"]: line for line in done.splitlines()}


def require_loopback(url: str) -> Target:
    """Return the address of a URL; exit when it is not of this machine."""
    parts = urlsplit(url)
    host = {"localhost": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback and "." in host
    except ValueError:
        is_loopback = False
    if parts.scheme != "http" or not is_loopback:
        sys.exit(f"attack: {url!r} is not a server of this machine; give http://127.0.0.1:PORT.")
    return Target(host, parts.port or 80)


@contextmanager
def own_server() -> Iterator[Served]:
    """Start a server over a new catalogue with the sample, on the first core; the attack runs on the others."""
    port = free_port()
    with TemporaryDirectory(prefix="matinee-attack-") as folder:
        home = Path(folder) / "home"
        settings = {"MATINEE_HOME": str(home), "PORT": str(port), "LOG_FORMAT": "json"}
        settings |= {"MATINEE_OPS_ADDRESS": "auto", "MATINEE_OPS_PUBLIC": "false"}  # as a service that strangers reach
        for words in (("migrate",), ("sample",)):
            _matinee(home, *words)
        command = [*_MATINEE, "up"]
        with serving(command, settings, port=port, ready_path="/readyz", core=0) as process, _credentials(home) as found:
            yield Served(Target("127.0.0.1", port), home, process, *found)


@contextmanager
def running_server(url: str, home: Path, pid: int) -> Iterator[Served]:
    """Return a server that runs already."""
    with _credentials(home) as found:
        yield Served(require_loopback(url), home, Process(url, pid), *found)


@contextmanager
def _credentials(home: Path) -> Iterator[tuple[str, str]]:
    """Make a write key and a staff session; both are taken back at the end."""
    key = json.loads(_matinee(home, "key", "create", "--name", _ACCOUNT, "--scope", "write", "--json"))
    session = account(home, "make")
    try:
        yield key["key"], session
    finally:
        account(home, "remove")
        _matinee(home, "key", "revoke", key["prefix"])


def account(home: Path, what: str) -> str:
    command = [sys.executable, "-m", "bench.attack.account", what, _ACCOUNT]
    return _run(command, home).decode().strip()


def _matinee(home: Path, *words: str) -> bytes:
    return _run([*_MATINEE, *words], home)


def _run(command: list[str], home: Path) -> bytes:
    given = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
    done = subprocess.run(
        command, env=environment({"MATINEE_HOME": str(home), **given}), capture_output=True, check=False, timeout=600
    )
    if done.returncode:
        sys.exit(f"attack: {' '.join(command)} failed:\n{done.stderr.decode()[-2000:]}")
    return done.stdout
