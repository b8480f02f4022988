"""The three standard streams of a command, made safe before anything else runs: closed ones, full disks, other encodings.

Called by main.py alone. A closed descriptor must never be given to a file that is opened later: what is meant for the screen
would end in the catalogue.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from matinee.errors import OperatorError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A closed stream becomes /dev/null opened the wrong way round: using it is an error (EBADF), as it is for other programs.
_MODES = {0: os.O_WRONLY, 1: os.O_RDONLY, 2: os.O_WRONLY}


class OutputFailed(OperatorError):
    """Standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
        super().__init__(f"Standard output cannot be written ({reason}); the result is incomplete. Send it elsewhere.")
        self.is_closed_pipe = error.errno == errno.EPIPE


class _Output(io.BufferedWriter):
    """Standard output, whose failures become OutputFailed, unlike those of any other file.

    The descriptor below it stays a plain io.FileIO: if Ctrl-C could raise between its write and the count of the written bytes,
    the same bytes would be written again at exit.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        with _as_output_failed():
            return super().write(data)

    def flush(self) -> None:
        with _as_output_failed():
            super().flush()


@contextmanager
def _as_output_failed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(error) from error


def prepare() -> None:
    """Open what is closed, report failures of the output as OutputFailed, and never fail because of an encoding."""
    for descriptor, mode in _MODES.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free descriptor is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  a descriptor has no path
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stdout = _output(sys.stdout)


def _output(before: TextIO | None) -> TextIO:
    encoding = before.encoding if before is not None else "utf-8"
    errors = before.errors if before is not None else None
    # A title that the terminal's encoding lacks is printed with escapes.
    errors = "backslashreplace" if errors in {None, "strict"} else errors
    is_terminal = before is not None and before.isatty()
    output = _Output(io.FileIO(1, "w", closefd=False))
    return io.TextIOWrapper(output, encoding=encoding, errors=errors, line_buffering=is_terminal)


def flush() -> None:
    """Write what is buffered. Raises: OutputFailed."""
    sys.stdout.flush()


def give_up_output() -> None:
    """Send the rest of the output nowhere, so that the interpreter's own flush at exit has nothing to complain about."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
