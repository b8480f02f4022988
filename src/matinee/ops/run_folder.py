"""The folder of one run of a server: its drain file and its workers' counters. It needs no writable /tmp.

Called by server.py. Invariant: a folder is removed only when no process holds its lock, so a server that was killed leaves
nothing for good, and one that runs is never disturbed, whatever process ids are given out again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from matinee.errors import HomeError

_PREFIX = "matinee-run-"
_LOCK = "lock"
_held: dict[Path, int] = {}


def make(wished: Path) -> Path:
    """Return a new folder below the wished one, else below XDG_RUNTIME_DIR or the system's folder for temporary files.

    Folders that killed servers have left in the wished one are removed. Raises: HomeError when no place can be written to.
    """
    reasons = []
    for parent in _places(wished):
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_left(parent)
            draft = Path(tempfile.mkdtemp(prefix="matinee-new-", dir=parent))
            descriptor = _locked(draft)
            # Named only when it is locked: another server that starts now removes what is not locked.
            folder = draft.rename(parent / draft.name.replace("matinee-new-", _PREFIX))
            _held[folder] = descriptor
        except OSError as error:
            reasons.append(f"{parent}: {error.strerror}")
        else:
            return folder
    raise HomeError(f"There is no folder for the files of a running server ({'; '.join(reasons)}); make MATINEE_HOME writable.")


def remove(folder: Path) -> None:
    """Remove a folder that `make` returned."""
    descriptor = _held.pop(folder, None)
    shutil.rmtree(folder, ignore_errors=True)
    if descriptor is not None:
        os.close(descriptor)


def _places(wished: Path) -> list[Path]:
    places = [wished]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime) / "matinee")
    with suppress(OSError):  # tempfile finds no folder that it can write to
        places.append(Path(tempfile.gettempdir()))
    return places


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    with suppress(OSError):  # a disk without locks: the folder then stays if this process is killed
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _remove_left(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # held by a running server, or removed by another one that starts
            if folder.lstat().st_uid != os.geteuid():
                continue  # the folder for temporary files is shared: another user's lock may be a link to anything
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
