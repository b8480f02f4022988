"""Server processes: start one on a free loopback port, pinned to a core, wait until it answers, end it and its workers.

Called by read_path.py, followers.py and fleet.py. Each process is ended by its own id, whatever happened before; none is
looked for by name.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).resolve().parent.parent
_START_S = 30.0  # a cold import of Django and Litestar takes 2; the rest is for a busy machine
_END_S = 10.0
_IDLE_STEP_S = 0.2


@dataclass(frozen=True)
class Process:
    """A running server: where it answers, and the process that was started."""

    url: str
    pid: int

    def pids(self) -> list[int]:
        """Return the ids of the process and of all that it started, itself first."""
        return _family(self.pid)

    def wait_until_idle(self) -> None:
        """Return when its processes do nothing any more: what wrk no longer waits for would be done at the next one's cost."""
        deadline_s = time.monotonic() + _END_S
        used_s = self.cpu_s()
        while time.monotonic() < deadline_s:
            time.sleep(_IDLE_STEP_S)
            before_s, used_s = used_s, self.cpu_s()
            if used_s - before_s <= _IDLE_STEP_S * 0.1:
                return

    def cpu_s(self) -> float:
        """Return the processor time that its processes have used, in user and kernel mode."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # user and system time
        return ticks / os.sysconf("SC_CLK_TCK")

    def exact_cpu_s(self) -> float:
        """Return the same of the threads that run now, to the nanosecond: for a few seconds of little load a tick is coarse."""
        tasks = (task for pid in self.pids() for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def rss_bytes(self) -> dict[int, int]:
        """Return the resident memory of each of its processes."""
        return {pid: rss_bytes(pid) for pid in self.pids()}


def pin(core: int) -> Callable[[], None]:
    """Return what a child calls before it begins, so that it and its children stay on one core."""
    return lambda: os.sched_setaffinity(0, {core})


def free_port() -> int:
    """Return a loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], environ: Mapping[str, str], *, port: int, ready_path: str, core: int) -> Iterator[Process]:
    """Run a server until the block ends. Raises: RuntimeError with the end of its output when it does not answer in time."""
    with tempfile.TemporaryFile() as output:
        started = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=environment(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=pin(core),  # noqa: PLW1509  this process has no threads
        )
        process = Process(f"http://127.0.0.1:{port}", started.pid)
        try:
            _wait_until_ready(started, process.url + ready_path, output)
            yield process
        finally:
            _end(started)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return what a process is run with: this one's environment without its settings of ours, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MATINEE_", "DJANGO_", "GRANIAN_"))}
    # This checkout is what is measured, whatever else the interpreter would find under our name.
    # /metrics of the one port that a bench knows is read for its figures.
    ours = {"MATINEE_OPS_ADDRESS": "off", "MATINEE_OPS_PUBLIC": "true"}
    stated = {**kept, "PYTHONPATH": f"{_ROOT / 'src'}{os.pathsep}{_ROOT}", **ours, **more}
    return {name: value for name, value in stated.items() if value or name not in more}  # empty: left out


def _wait_until_ready(started: subprocess.Popen[bytes], url: str, output: IO[bytes]) -> None:
    deadline_s = time.monotonic() + _START_S
    last: object = None
    while time.monotonic() < deadline_s and started.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError) as error:
            last = error
        time.sleep(0.1)
    output.seek(0)
    raise RuntimeError(f"{url} does not answer ({last}); the server said:\n{output.read()[-2000:].decode(errors='replace')}")


def _end(started: subprocess.Popen[bytes]) -> None:
    family = _family(started.pid)
    started.terminate()
    try:
        started.wait(_END_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    for pid in family[1:]:
        # A worker that outlived its parent; its id was read while the parent ran.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def rss_bytes(pid: int | str = "self") -> int:
    """Return the resident memory of a process, this one's by default."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
