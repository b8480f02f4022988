"""Start, look at, signal and end processes by their id: the one controller of everything that a local cluster runs.

Called by postgres.py and cluster.py. Invariant: a signal reaches only what was started here. A process is known by its id
and the moment it was started, because the system gives an id out again when its process is gone.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.errors import OperatorError

_LOOK_INTERVAL_S = 0.02
_TAIL_BYTES = 2_000


@dataclass(frozen=True)
class Started:
    """A process that was started: its id, and the clock tick at which the system started it."""

    pid: int
    tick: int

    def state(self) -> str:
        """Return "running", "stopped" (by SIGSTOP) or "dead"."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # a child of ours that has ended is a zombie until it is asked for
        found = _stat(self.pid)
        if found is None or int(found[19]) != self.tick or found[0] in "ZX":
            return "dead"
        return "stopped" if found[0] in "Tt" else "running"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and everything below it; the parent first, so that it replaces no child."""
        if self.state() == "dead":
            return
        family = family_of(self.pid)
        for pid in reversed(family) if number == signal.SIGCONT else family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self, ask: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> None:
        """Ask the process to end, and insist when it does not."""
        if self.state() == "stopped":
            self.send(signal.SIGCONT)
        if self.state() != "dead":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, ask)
        if not happens(lambda: self.state() == "dead", within_s):
            self.send(signal.SIGKILL)
            happens(lambda: self.state() == "dead", 5.0)


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, user: str | None = None) -> Started:
    """Start a process in a session of its own, so that it outlives this command; it writes into its log."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True,
            cwd="/", **as_user(user),
        )  # fmt: skip
    found = _stat(process.pid)
    process.returncode = 0  # it is not waited for here; the interpreter would warn of it
    if found is None:
        raise OperatorError(f"{command[0]} ended at once:\n{tail(log)}")
    return Started(process.pid, int(found[19]))


def run(command: Sequence[str], user: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed. Raises: OperatorError with its own words."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd="/", check=False, **as_user(user)
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-_TAIL_BYTES:]
        raise OperatorError(f"`{Path(command[0]).name} {' '.join(command[1:3])} ...` failed:\n{said}")
    return done.stdout


def as_user(user: str | None) -> dict[str, Any]:
    """Return what makes a child run as another user; nothing when it is to be this one."""
    if user is None or os.getuid() != 0:
        return {}
    found = pwd.getpwnam(user)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def happens(condition: Callable[[], bool], within_s: float) -> bool:
    """Wait until something is so, at most so long; return whether it came."""
    ends_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > ends_s:
            return False
        time.sleep(_LOOK_INTERVAL_S)
    return True


def family_of(pid: int) -> list[int]:
    """Return a process and everything below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))) is not None:
            children.setdefault(int(found[1]), []).append(int(entry.name))
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path) -> str:
    """Return the end of a log."""
    try:
        return log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
    except OSError:
        return "(no log)"


def _stat(pid: int) -> list[str] | None:
    """Return what the system says of a process, from its state on; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
