"""Real processes for the tests: started on a free port, waited for with a deadline, ended by their id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

T = TypeVar("T")
START_DEADLINE_S = 30.0
# Tests that were started in the background have interrupts ignored, and what they start would inherit that.
_INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
MATINEE = [sys.executable, "-c", f"{_INTERRUPTIBLE}; from matinee.cli.main import main; main()"]


def eventually(look: Callable[[], T], expected: Callable[[T], bool], deadline_s: float = 10.0) -> T:
    """Return what is looked at as soon as it is as expected; fail at the deadline, showing the last value seen."""
    ends_s = time.monotonic() + deadline_s
    pause = 0.01
    while True:
        seen = look()
        if expected(seen):
            return seen
        assert time.monotonic() < ends_s, f"after {deadline_s} s it is still {seen!r}"
        threading.Event().wait(pause)
        pause = min(pause * 1.5, 0.2)


def freeze(pid: int) -> None:
    """Stop a process and return when all its threads stand still: the system may take its time, and an answer still come."""
    os.kill(pid, signal.SIGSTOP)
    eventually(
        lambda: {_thread_state(path) for path in Path(f"/proc/{pid}/task").iterdir()}, lambda states: states <= {"T", ""}
    )


def _thread_state(thread: Path) -> str:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""  # it has ended meanwhile


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that works on a data folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MATINEE_") and name != "SECRET_KEY"}
    ours = {"MATINEE_HOME": str(home), "LOG_FORMAT": "json", "LOG_LEVEL": "info", "MATINEE_DRAIN_S": "0"}
    # A second port might be one that another test is to get; so the service's own port answers operators too.
    return kept | ours | {"MATINEE_OPS_ADDRESS": "off", "MATINEE_OPS_PUBLIC": "true"} | more


def matinee(home: Path, *words: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        [*MATINEE, *words], env=environment(home, **more), input=stdin, capture_output=True, timeout=120, check=False
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Server:
    """A running server."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path
    admin_name: str = "admin"
    admin_password: str = "a password of the tests"

    def get(self, path: str, **options: object) -> httpx.Response:
        """Send a GET."""
        headers = {"accept-encoding": "identity"} | options.pop("headers", {})  # type: ignore[operator]
        return httpx.get(self.url + path, timeout=10, headers=headers, **options)  # type: ignore[arg-type]


def answers(url: str) -> bool:
    """Return whether the server is ready."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def start_server(
    home: Path, *words: str, command: str = "serve", program: Sequence[str] = MATINEE, port: int = 0, **more: str
) -> Iterator[Server]:
    """Start a server over a data folder, on a free port unless one is given, and end it afterwards."""
    port = port or free_port()
    log = home / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program, command, "--port", str(port), *words], env=environment(home, **more), stdout=output, stderr=output
        )
    server = Server(f"http://127.0.0.1:{port}", home, process, log)
    try:
        eventually(lambda: answers(server.url) or process.poll() is not None, bool, START_DEADLINE_S)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process by its id: ask, then insist."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
