"""A small disk of its own under a folder, to be filled. It lies in memory, and only root may mount it.

Mounted by test_faults.py under a follower's data, and by whole.py under a node of the whole cluster.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SIZE = "256m"  # a follower of test_faults.py takes 50 MB, and keeps up to as much again of the log
_AT_ONCE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A folder that is a disk of its own."""

    folder: Path

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(_AT_ONCE_BYTES))

    def free(self) -> None:
        """Give back what was filled."""
        (self.folder / "ballast").unlink()


@contextmanager
def small_disk(folder: Path, user: str | None, size: str = _SIZE) -> Iterator[SmallDisk | None]:
    """Make a folder of a user's that is a disk of its own; None where this process may not mount one. No mount is left."""
    folder.mkdir()
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False)
    is_mounted = mounting.returncode == 0
    try:
        folder.chmod(0o700)
        if user is not None:
            shutil.chown(folder, user, user)
        yield SmallDisk(folder) if is_mounted else None
    finally:
        if is_mounted:
            # Lazily: also when somebody who does not end is still at work in it.
            subprocess.run(["umount", "--lazy", folder], capture_output=True, check=True)
