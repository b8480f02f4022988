"""Start, look at, signal and end processes by their id: the one controller of everything that a local cluster runs.

Called by postgres.py and cluster.py. Invariant: a signal reaches only what was started here. A process is known by its id
and the moment it was started, because the system gives an id out again when its process is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee import private_files
from matinee.errors import OperatorError, PortTaken

_LOOK_INTERVAL_S = 0.02
_STOPS_WITHIN_S = 1.0
_TAIL_BYTES = 2_000
_LOWEST_PORT = 20_000
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        """Send a signal to the process and everything below it."""
        if self.state() == "dead":
            return
        if number == signal.SIGKILL:
            # Frozen first: a child that is born while its family is killed would outlive it, and nothing would lead to it.
            _freeze(self.pid)
        if number == signal.SIGSTOP:
            _freeze(self.pid)
            # The system may take its time, and what is still at work would answer somebody who was told that nobody does.
            happens(lambda: self.state() != "running", _STOPS_WITHIN_S)
        else:
            _signal_all(family_of(self.pid), number)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process alone: one that hands on by itself what the others are to do."""
        if self.state() != "dead":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, ask: signal.Signals = signal.SIGTERM, within_s: float = 10.0) -> None:
        """Ask the process to end, and insist when it does not."""
        # Whether or not it looks stopped: it may have been told to stop and not have come to it yet. This takes that back, too.
        self.send(signal.SIGCONT)
        self.tell(ask)
        if not happens(lambda: self.state() == "dead", within_s):
            self.send(signal.SIGKILL)
            happens(lambda: self.state() == "dead", 5.0)


def started_at(pid: int) -> Started | None:
    """Return the process that has an id now; None when there is none."""
    found = _stat(pid)
    return None if found is None else Started(pid, int(found[19]))


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, user: str | None = None) -> Started:
    """Start a process in a session of its own, so that it outlives this command; it writes into its log."""
    with open(log, "ab", opener=private_files.opener) as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True,
            cwd="/", **as_user(user),
        )  # fmt: skip
    found = _stat(process.pid)
    process.returncode = 0  # it is not waited for here; the interpreter would warn of it
    if found is None:
        raise OperatorError(f"{command[0]} ended at once:\n{tail(log)}")
    return Started(process.pid, int(found[19]))


def run(
    command: Sequence[str],
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    typed: str = "",
    within_s: float | None = None,
) -> str:
    """Run a command to its end and return what it printed; `typed` is its input.

    Raises: OperatorError with the command's own words, or when it takes longer than `within_s`.
    """
    named = f"`{Path(command[0]).name} {' '.join(command[1:3])} ...`"
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, input=typed, capture_output=True, encoding="utf-8", errors="replace", env=environment, cwd="/",
            check=False, timeout=within_s,
            **as_user(user),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OperatorError(f"{named} was given up: no answer within {within_s:g} s.") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-_TAIL_BYTES:]
        raise OperatorError(f"{named} failed:\n{said}")
    return done.stdout


def as_user(user: str | None) -> dict[str, Any]:
    """Return what makes a child run as another user; nothing when it is to be this one."""
    if user is None or os.getuid() != 0:
        return {}
    found = pwd.getpwnam(user)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def takes_lock(descriptor: int) -> bool:
    """Take the lock of an open file, without waiting; return whether nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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


def users_of(path: Path) -> list[int]:
    """Return the other processes that have a file open, as far as this user may see that."""
    try:
        wanted = path.stat()
    except OSError:
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in pids if pid != os.getpid() and _has_open(pid, wanted))


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found = descriptor.stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    return False


def _freeze(pid: int) -> None:
    """Stop a process and everything below it; what was born in between is met in the next round, until nothing is new."""
    frozen: set[int] = set()
    while new := [member for member in family_of(pid) if member not in frozen]:
        _signal_all(new, signal.SIGSTOP)
        frozen.update(new)


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    # A parent goes on only when its children do: it would take a silent one for broken.
    for pid in reversed(pids) if number == signal.SIGCONT else pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def free_port(taken: Collection[int] = ()) -> int:
    """Return a port on loopback that nobody listens on and that is not among those taken.

    A node keeps its port while it is dead. So it lies below those that the system gives to clients: one of these may be
    somebody's when the node is started again.
    """
    highest = int(_EPHEMERAL_PORTS.read_text(encoding="utf-8").split()[0]) - 1 if _EPHEMERAL_PORTS.exists() else 32_767
    candidates = range(min(_LOWEST_PORT, highest - 1_000), highest)
    for port in random.sample(candidates, len(candidates)):
        if port not in taken and is_free(port):
            return port
    raise OperatorError(f"No port from {candidates[0]} to {highest} is free on this machine; end some programs.")


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free(name: str, port: int) -> None:
    """Refuse a port that another program listens on: it would answer for the node. Raises: PortTaken."""
    if not is_free(port):
        raise PortTaken(f"{name} cannot listen on 127.0.0.1:{port}: another program does. End it, then try again.")


def boot_id() -> str:
    """Return what tells this run of the system from the one before: ids and ticks begin anew with each."""
    return _BOOT_ID.read_text(encoding="utf-8").strip() if _BOOT_ID.exists() else ""


def tail(log: Path) -> str:
    """Return the end of a log, in whole lines."""
    try:
        written = log.read_bytes()
    except OSError:
        return "(there is no log)"
    end = written if len(written) <= _TAIL_BYTES else written[-_TAIL_BYTES:].partition(b"\n")[2]
    return end.decode(errors="replace").strip() or "(it is empty)"


def _stat(pid: int) -> list[str] | None:
    """Return what the system says of a process, from its state on; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
