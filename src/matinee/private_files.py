"""Make files and folders that only their owner may read, whatever the umask. Called wherever a catalogue's data is written.

A catalogue holds digests of passwords and keys, a log holds addresses of clients. Commands also set the umask, which covers
what SQLite and other programs make; a file that a user names for results, such as an export, follows the user's own umask.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Literal

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_OTHERS = 0o077
_users_umask = 0o077  # until a command has asked; what is not known is private


def keep_private() -> None:
    """Let this process and its children make files for their owner alone; remember the umask of before."""
    global _users_umask  # noqa: PLW0603  a process has one umask
    _users_umask = os.umask(_OTHERS)


def share_as_user_would(path: Path) -> None:
    """Give a file of results, at a path that the user named, the mode that the user's umask gives."""
    path.chmod(0o666 & ~_users_umask)


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=...)`; a new one is for its owner alone."""
    return os.open(path, flags, FILE_MODE)


def open_file(path: Path, mode: Literal["wb", "xb"] = "wb") -> BinaryIO:
    """Open a file to write, and make its folder; what is new is for its owner alone. Raises: OSError."""
    make_folder(path.parent)
    return open(path, mode, opener=opener)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, each for its owner alone. Raises: OSError."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            with suppress(FileExistsError):
                folder.mkdir(mode=FOLDER_MODE)
    path.mkdir(exist_ok=True)  # which refuses a file of that name


def make_file(path: Path) -> None:
    """Make an empty file for its owner alone, if there is none. Raises: OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))


def write(path: Path, text: str) -> None:
    """Write a file for its owner alone. Raises: OSError, also when the path is a symbolic link: it may be another user's."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, FILE_MODE), "w", encoding="utf-8") as file:
        file.write(text)


def replace(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """Write a file and rename it into place: a reader sees the old content or the new one, never a part. Raises: OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    # A draft of a command that was killed has another process id; this one's own is truncated.
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, FILE_MODE), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def is_open_to_others(path: Path) -> bool:
    """Return whether others than its owner may do anything with a file or folder; a link, or none, is not looked at."""
    try:
        return not path.is_symlink() and bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def close_to_others(path: Path, but: int = 0) -> bool:
    """Take from others what they may do with something of ours, except `but`; return whether that was done."""
    try:
        found = path.lstat()
        if found.st_uid != os.geteuid():
            return False
        path.chmod(found.st_mode & 0o7777 & ~(_OTHERS & ~but))
    except OSError:
        return False  # it is on a read-only disk, or gone: `doctor` says so
    return True
