"""Targets of a log for the tests: one that keeps what is written, one that fails until it is mended."""

from __future__ import annotations

import errno

from matinee.logs.targets import WriteFailed


class Kept:
    """Keep what is written; fail as long as it `is_full`."""

    def __init__(self, *, is_full: bool = False) -> None:
        self.written = b""
        self.is_full = is_full

    def write(self, data: bytes) -> None:
        """Keep lines. Raises: WriteFailed."""
        if self.is_full:
            raise WriteFailed(OSError(errno.ENOSPC, "No space left on device"), data.count(b"\n"))
        self.written += data

    def lines(self) -> list[str]:
        """Return the lines so far."""
        return self.written.decode().splitlines()

    def reopen(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
