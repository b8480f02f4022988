"""The processes below another one, as /proc lists them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> set[int]:
    """Return the ids of the processes that this one and those below it have started."""
    try:
        found = {
            int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
        }
    except OSError:
        return set()
    return found.union(*(children(child) for child in found))


def alive(pids: set[int]) -> set[int]:
    """Return which of these processes run; one that has ended and was not waited for does not."""
    return {pid for pid in pids if _state(pid) not in {"", "Z", "X"}}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
