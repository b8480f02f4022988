"""How much memory this process may use: the machine's, or the smallest limit of the control groups that it is in. Linux.

Called by config.py for the bound of the local cache, and by `doctor`. A container's limit may stand in any group on the way
from the process's own to the root, in version 1, version 2 or both. It only reads; what cannot be read sets no limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/")
# memory.high throttles what is above it instead of killing it; a cache that lives there makes the process crawl.
_LIMIT_FILES = ("memory.max", "memory.high", "memory.limit_in_bytes")


@dataclass(frozen=True)
class MemoryLimit:
    """The bytes that this process may use, and what says so: a file, or "this machine"."""

    limit_bytes: int
    source: str


def memory_bytes(root: Path = _ROOT) -> int:
    """Return the memory that this machine, or the container that this runs in, may use."""
    return memory_limit(root).limit_bytes


def memory_limit(root: Path = _ROOT) -> MemoryLimit:
    """Return the smallest limit; `root` is where /proc and /sys are looked for."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [MemoryLimit(machine_bytes, "this machine"), *_limits(root)]
    return min(limits, key=lambda limit: limit.limit_bytes)


def _limits(root: Path) -> Iterator[MemoryLimit]:
    for folder in _folders(root):
        for name in _LIMIT_FILES:
            text = _read(folder / name).strip()
            if text.isdigit() and int(text):
                yield MemoryLimit(int(text), "/" + str((folder / name).relative_to(root)))
        for line in _read(folder / "memory.stat").splitlines():
            # Version 1 states the smallest limit above a group, also where the groups above are not mounted.
            name, _, value = line.partition(" ")
            if name == "hierarchical_memory_limit" and value.isdigit():
                yield MemoryLimit(int(value), "/" + str((folder / "memory.stat").relative_to(root)))


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, from its own up to each mount's root.

    In a container the path in /proc/self/cgroup is often the host's, while the mount begins at the container's own group. So
    parts that are not there are passed over, and the mount's root is always looked at.
    """
    mounts = _mounts(root)
    groups = [line.split(":", 2) for line in _read(root / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    is_found = False
    for _, controllers, path in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        for mount, mounted in mounts["memory" if controllers else ""]:
            is_found = True
            inside = path[len(mounted) :] if mounted != "/" and (path + "/").startswith(mounted + "/") else path
            parts = [part for part in inside.split("/") if part not in ("", ".", "..")]
            for length in range(len(parts), -1, -1):
                yield mount.joinpath(*parts[:length])
    if not is_found:
        yield from (mount for found in mounts.values() for mount, _ in found)


def _mounts(root: Path) -> dict[str, list[tuple[Path, str]]]:
    """Return where version 2 ("") and version 1's memory controller are mounted, each with the group that the mount shows."""
    found: dict[str, list[tuple[Path, str]]] = {"": [], "memory": []}
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind:
            continue
        mount = root / fields[4].lstrip("/")
        if kind[0] == "cgroup2":
            found[""].append((mount, fields[3]))
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            found["memory"].append((mount, fields[3]))
    usual = root / "sys/fs/cgroup"
    found[""] = found[""] or [(usual, "/"), (usual / "unified", "/")]
    found["memory"] = found["memory"] or [(usual / "memory", "/")]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
