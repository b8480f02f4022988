"""Open what an import reads: a file, standard input, plain or compressed, as a stream of lines.

Called by importing.py and the formats. Invariant: memory does not grow with the file.
"""

from __future__ import annotations

import gzip
import io
import lzma
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from matinee.errors import OperatorError

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


class Source:
    """An open input and how far it has been read, for a progress bar."""

    def __init__(self, raw: BinaryIO, size_bytes: int | None) -> None:
        self._raw = raw
        self.size_bytes = size_bytes
        buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[type-var]
        start = buffered.peek(8)
        self.stream: IO[bytes]
        if start.startswith(_GZIP):
            self.stream = gzip.open(buffered)  # type: ignore[assignment]  # noqa: SIM115  closed with the file
        elif start.startswith(_XZ):
            self.stream = lzma.open(buffered)  # noqa: SIM115  closed with the file
        else:
            self.stream = buffered
        self._buffered = buffered

    def read_bytes(self) -> int:
        """Return how much of the input has been consumed, compressed as it is."""
        return self._buffered.tell() if self.size_bytes is not None else 0


@contextmanager
def open_source(path: str) -> Iterator[Source]:
    """Open a path, or `-` for standard input; compression is told by the content, not by the name.

    Raises: OperatorError when it cannot be opened, or breaks off in the middle of compressed data.
    """
    try:
        if path == "-":
            yield Source(sys.stdin.buffer, None)
        else:
            with Path(path).open("rb") as file:
                yield Source(file, Path(path).stat().st_size)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise OperatorError(f"{path} is damaged or cut off ({error}); what was read before that is imported.") from error
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be read: {error.strerror or error}. Give a file, or - for standard input."
        ) from error
