"""Networks that lose or divert packets between processes of this machine, by nftables. Only root may, where nft is installed.

Used by test_rows_databases.py. Nothing but the connections that are named is touched, and no rule is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TABLE = "matinee_rows"
_ESTABLISHED = "01"
# nft looks for groups of processes below /sys/fs/cgroup, whatever is mounted there.
_SEES_GROUPS = (
    "mountpoint -q /sys/fs/cgroup && grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup"
)


def is_possible() -> bool:
    """Return whether this process may lose packets, and find groups of processes to lose them between."""
    if os.getuid() != 0 or shutil.which("nft") is None or _groups() is None:
        return False
    with contextlib.suppress(subprocess.CalledProcessError), _rules(["tcp dport 1 drop"]):
        return True
    return False


@contextmanager
def one_way(port: int) -> Iterator[None]:
    """Lose what processes of this user send to a port; what they are sent from there arrives."""
    with _rules([f"tcp dport {port} meta skuid {os.getuid()} drop"]):
        yield


@contextmanager
def diverted(port: int, other_port: int, mark: int) -> Iterator[None]:
    """Lead this user's new connections to a port to another one, but for those that carry a mark."""
    chosen = f"tcp dport {port} meta skuid {os.getuid()} meta mark != {mark}"
    with _rules([f"{chosen} redirect to :{other_port}"], "type nat hook output priority -100;"):
        yield


@contextmanager
def apart(near: Collection[int], near_ports: Iterable[int], far: Collection[int], far_ports: Iterable[int]) -> Iterator[None]:
    """Lose what the processes of one side send to ports of the other side, both ways; all others reach both sides."""
    near_ports, far_ports = set(near_ports), set(far_ports)
    # Who is in a group is known of sockets that are made from now on; of the others by their two ports.
    with _group("matinee_near", near) as near_group, _group("matinee_far", far) as far_group:
        flows = _flows(near, far_ports) | _flows(far, near_ports)
        flows |= {(there, here) for here, there in flows}
        rules = [
            f'socket cgroupv2 level 1 "{near_group}" tcp dport {{ {_listed(far_ports)} }} drop',
            f'socket cgroupv2 level 1 "{far_group}" tcp dport {{ {_listed(near_ports)} }} drop',
            *(f"tcp sport {here} tcp dport {there} drop" for here, there in flows),
        ]
        with _rules(rules):
            yield


def _listed(ports: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


@contextmanager
def _rules(rules: Iterable[str], hook: str = "type filter hook output priority 0;") -> Iterator[None]:
    chain = "\n".join([hook, *rules])
    _nft(f"table inet {_TABLE} {{\nchain out {{\n{chain}\n}}\n}}\n")
    try:
        yield
    finally:
        _nft(f"delete table inet {_TABLE}")


def _nft(text: str) -> None:
    words = ["unshare", "--mount", "sh", "-c", f"{_SEES_GROUPS}; exec nft -f -"]
    subprocess.run(words, input=text.encode(), capture_output=True, check=True)


def _groups() -> Path | None:
    """Return where groups of processes (cgroup v2) are made; None where they cannot be."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)


@contextmanager
def _group(name: str, pids: Iterable[int]) -> Iterator[str]:
    """Put processes into a group of their own; afterwards they and their children are where this process is."""
    groups = _groups()
    assert groups is not None
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    folder, before = groups / name, groups / own.removeprefix("0::/")
    folder.mkdir()
    try:
        _move(pids, folder)
        yield name
    finally:
        while left := (folder / "cgroup.procs").read_text().split():
            _move(map(int, left), before)
        folder.rmdir()


def _move(pids: Iterable[int], folder: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (folder / "cgroup.procs").write_text(str(pid))


def _flows(pids: Iterable[int], ports: Collection[int]) -> set[tuple[int, int]]:
    """Return the connections of processes to ports: the port here and the port there."""
    inodes = {inode for pid in pids for inode in _sockets(pid)}
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        here, there = (int(words[place].partition(":")[2], 16) for place in (1, 2))
        if words[3] == _ESTABLISHED and words[9] in inodes and there in ports:
            found.add((here, there))
    return found


def _sockets(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = str(descriptor.readlink())
                if name.startswith("socket:["):
                    yield name[len("socket:[") : -1]
