"""Where the lines of a log go: a stream that is open already, or a file that rotates. Called by the sink's thread alone.

Invariants: nothing waits for ever for a reader; several processes write the same file, and every line arrives whole. A file
is renamed by one process under a lock. The others see before each write that the path has another inode, and reopen it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PIECE_BYTES = 4096  # PIPE_BUF: a pipe takes so many bytes whole, and does not block once poll says that it is writable
_READER_TIMEOUT_S = 1.0
_LOCK_TRIES, _LOCK_PAUSE_S = 20, 0.01
_FULL = 2  # times its bound: a file that cannot be rotated takes no more lines then
_NUMBER, _MOST_KEPT = re.compile(r"[1-9][0-9]{0,3}"), 1_000  # which MATINEE_LOG_KEEP may be at most
_DEVICES = ("/dev/", "/proc/")


class WriteFailed(OSError):
    """A write failed; so many of its lines are lost."""

    def __init__(self, error: OSError, lines: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.lines, self.reason = lines, error.strerror or str(error)


class _Interrupted(Exception):
    """A write ended early, after so many bytes."""

    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(str(error))
        self.error, self.written = error, written


class _Lines:
    """Write whole lines. The rest of a line that arrived in part is kept, and completes it when a write works again."""

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        self._write, self._rest = write, b""

    def write(self, descriptor: int, lines: bytes) -> None:
        """Write lines. Raises: WriteFailed."""
        rest, self._rest = self._rest, b""
        data = rest + lines
        try:
            self._write(descriptor, data)
        except _Interrupted as cut:
            end = cut.written
            if not end or data[end - 1 : end] != b"\n":
                end = data.find(b"\n", end) + 1 if end else len(rest)
                self._rest = data[cut.written : end]
            raise WriteFailed(cut.error, data.count(b"\n", end)) from cut


class Target(Protocol):
    """What the sink writes to."""

    def write(self, data: bytes) -> None:
        """Write whole lines. Raises: WriteFailed."""

    def reopen(self) -> None:
        """Open the target again."""

    def close(self) -> None:
        """Give the target back."""


class Nowhere:
    """No target: the standard error stream was closed when the process began, and its number may be any file's now."""

    def write(self, data: bytes) -> None:
        """Fail. Raises: WriteFailed."""
        raise WriteFailed(OSError(errno.EBADF, os.strerror(errno.EBADF)), data.count(b"\n"))

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Stream:
    """A descriptor that is open already, such as the standard error stream. It is shared, so its flags stay as they are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._lines = descriptor, _Lines(_write_pieces)

    def write(self, data: bytes) -> None:
        """Write whole lines. Raises: WriteFailed, also when nothing reads them for a second."""
        self._lines.write(self._descriptor, data)

    def reopen(self) -> None:
        """Do nothing: it has no path."""

    def close(self) -> None:
        """Do nothing: it belongs to the process."""


@dataclass(frozen=True)
class Rotation:
    """When a file is rotated, and how many older ones are kept; 0 bytes or seconds never rotates for that reason."""

    max_bytes: int = 0
    max_age_s: int = 0
    keep: int = 7


class File:
    """A file that is appended to: PATH, with PATH.1 for the newest of the older ones."""

    def __init__(self, path: str, rotation: Rotation) -> None:
        # A symbolic link is followed once: renaming the link would leave its file behind. What is in /dev is no file of ours.
        self._path = path if path.startswith(_DEVICES) else os.path.realpath(path)
        self._rotation = rotation
        self._descriptor, self._is_stale, self._is_regular = -1, False, False
        self._file = (-1, -1)  # device and inode
        self._lines = _Lines(_write_whole)

    def open(self) -> None:
        """Open the file, or make it, readable by its owner alone. Raises: OSError."""
        # O_NONBLOCK: a named pipe without a reader fails at once. It means nothing for a regular file.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o600)
        self.close()
        self._descriptor, self._is_stale = descriptor, False
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != self._file:
            self._file = (found.st_dev, found.st_ino)
            self._is_regular = stat.S_ISREG(found.st_mode)
            self._lines = _Lines(_write_whole if self._is_regular else _write_pieces)

    def write(self, data: bytes) -> None:
        """Write whole lines, after a rotation if one is due. Raises: WriteFailed."""
        try:
            self._prepare(len(data))
        except OSError as error:
            raise WriteFailed(error, data.count(b"\n")) from error
        self._lines.write(self._descriptor, data)

    def reopen(self) -> None:
        """Open the path again, so that a renamed file is released; at the next write when that fails now."""
        self._is_stale = True
        with contextlib.suppress(OSError):
            self.open()

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1

    def _prepare(self, more_bytes: int) -> None:
        """Make the descriptor that of the path, and rotate when that is due. Raises: OSError."""
        if self._descriptor < 0 or self._is_stale:
            self.open()
        if not self._is_regular:
            return
        try:
            now = os.lstat(self._path)
        except FileNotFoundError:
            now = None
        if now is None or not self._is_ours(now):
            self.open()
            now = os.fstat(self._descriptor)
        if self._is_due(now, more_bytes) and not self._rotate() and self._is_full(now, more_bytes):
            raise OSError(errno.EFBIG, "it has twice its size and cannot be rotated")

    def _is_ours(self, found: os.stat_result) -> bool:
        return (found.st_dev, found.st_ino) == self._file

    def _is_due(self, found: os.stat_result, more_bytes: int) -> bool:
        rule = self._rotation
        if not found.st_size:
            return False
        if rule.max_bytes and found.st_size + more_bytes > rule.max_bytes:
            return True
        # The last write is of an earlier day, for an age of a day: every process comes to the same answer, after a restart too.
        return bool(rule.max_age_s) and int(found.st_mtime) // rule.max_age_s < int(time.time()) // rule.max_age_s

    def _is_full(self, found: os.stat_result, more_bytes: int) -> bool:
        bound_bytes = self._rotation.max_bytes
        return bool(bound_bytes) and found.st_size + more_bytes > bound_bytes * _FULL

    def _rotate(self) -> bool:
        """Rename the file and begin a new one, unless another process has done so; return whether the path is ours now."""
        try:
            with _locked(f"{self._path}.lock"):
                found = os.lstat(self._path)
                if not stat.S_ISREG(found.st_mode):
                    return False
                if self._is_ours(found):
                    self._shift()
                self.open()
        except OSError:
            return False  # the folder may be read-only, or the lock held by a frozen process: the file grows a while longer
        return True

    def _shift(self) -> None:
        path, keep = Path(self._path), self._rotation.keep
        for number in sorted(_numbers_of(path), reverse=True):
            old = path.with_name(f"{path.name}.{number}")
            if number >= keep:
                old.unlink(missing_ok=True)
            else:
                old.replace(path.with_name(f"{path.name}.{number + 1}"))
        if keep:
            path.replace(path.with_name(f"{path.name}.1"))
        else:
            path.unlink()


def _numbers_of(path: Path) -> Iterator[int]:
    """Yield the numbers of the older files. Others have longer names, such as the matinee.log.20260101 of logrotate."""
    start = f"{path.name}."
    # Names are compared as they are: in a pattern, [ would have a meaning of its own.
    numbers = (found.name.removeprefix(start) for found in path.parent.iterdir() if found.name.startswith(start))
    yield from (int(number) for number in numbers if _NUMBER.fullmatch(number) and int(number) <= _MOST_KEPT)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold the lock of a rotation, which another process holds for milliseconds. Raises: OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for left in reversed(range(_LOCK_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def _write_whole(descriptor: int, data: bytes) -> None:
    """Write to a regular file, in one call if it takes that: appended to, the lines of several processes do not mix."""
    written = 0
    while written < len(data):
        try:
            written += os.write(descriptor, data[written:])
        except OSError as error:
            raise _Interrupted(error, written) from error


def _write_pieces(descriptor: int, data: bytes) -> None:
    """Write to a pipe or a terminal, whole lines at a time, each as soon as there is room for it."""
    written = 0
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while written < len(data):
        end = data.rfind(b"\n", written, written + _PIECE_BYTES) + 1 or written + _PIECE_BYTES
        try:
            if not poll.poll(_READER_TIMEOUT_S * 1000):
                raise BlockingIOError(errno.EAGAIN, "nothing reads it")
            written += os.write(descriptor, data[written:end])
        except OSError as error:
            raise _Interrupted(error, written) from error
