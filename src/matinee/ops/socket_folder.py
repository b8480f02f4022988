"""The folder of the balancers' sockets: below the home folder, or in the shared folder for temporary files when that is long.

Called by cluster.py. Invariant: a folder with a name that other users can predict is used only when it is ours and closed to
them. Otherwise they could make it first, and lead the files that we write there to any file of ours.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from matinee.errors import OperatorError

_LONGEST_BYTES = 80  # a socket's path has at most 107 bytes, and its name is below the folder
_OTHERS = 0o077


def path_of(home: Path) -> Path:
    """Return where the folder of a home is, whether or not it exists: a short path, however long the home's is."""
    folder = home / "run"
    if len(os.fsencode(folder)) <= _LONGEST_BYTES:
        return folder
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"matinee-{digest}"


def make(home: Path) -> Path:
    """Return the folder of a home, for its owner alone. Raises: OperatorError when another user may have made it."""
    folder = path_of(home)
    if folder.parent == home:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _require_own(folder)
    return folder


def _require_own(folder: Path) -> None:
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not is_own or found.st_mode & _OTHERS:
        raise OperatorError(
            f"{folder} is not a folder of this user alone, so another user may control its files. Remove it, or set "
            "MATINEE_HOME to a shorter path, which holds the sockets itself."
        )
