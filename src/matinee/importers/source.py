"""Open what an import reads: a file, a pipe or standard input, plain or compressed, as one stream of bytes.

Called by cli and the formats. Invariants: memory does not grow with the input, however well it is compressed; the input is read
to its end or SourceError is raised: all members of a .gz, all streams of an .xz or .bz2, and nothing else after them.
Nothing is asked of the input but to be read: pipes cannot seek, tell or say their size.
"""

from __future__ import annotations

import bz2
import errno
import io
import lzma
import os
import re
import select
import shlex
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, BinaryIO

from matinee.errors import OperatorError
from matinee.importers import formats

HEAD_BYTES = 65_536  # how much of the beginning is looked at to tell the format
_CHUNK_BYTES = 131_072
_MAX_XZ_BYTES = 256 * 2**20  # `xz -9` needs 65 MiB to decompress; a file may ask for 4 GiB
_RETURN_BETWEEN_OBJECTS = re.compile(rb"\}[ \t]*\r[ \t\r]*\{")
_STANDARD_INPUT = "standard input"
_CLOSED = "Standard input is closed; pipe the movies into the command, or give a file."


class SourceError(OperatorError):
    """The input cannot be read to its end."""


class _Raw(io.RawIOBase):
    """The bytes as they come, counted. An error names the input: it is not one of the disk that is written to."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while (chunk := self._file.read(len(buffer))) is None:  # a pipe that does not block has nothing yet
                select.select([self._file], [], [])
        except OSError as error:
            # A closed descriptor 0 has been opened again, for writing only (cli/streams.py).
            if error.errno == errno.EBADF and self._name == _STANDARD_INPUT:
                raise SourceError(_CLOSED) from error
            raise SourceError(f"{self._name} cannot be read further: {error.strerror or error}.") from error
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


class _Rewound(io.RawIOBase):
    """A stream whose beginning has been looked at, from its beginning again."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count], self._head = self._head[:count], self._head[count:]
            return count
        return self._rest.readinto1(buffer)  # type: ignore[attr-defined, no-any-return]


class _Gzip:
    """One member of a .gz, with the interface of bz2's and lzma's decompressors. It checks length and checksum."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._tail = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._inner.decompress(self._tail + data, max_length)
        self._tail = self._inner.unconsumed_tail
        return found


# How a compressed input begins, its name, and what decompresses one member of it.
_COMPRESSIONS: tuple[tuple[bytes, str, Any], ...] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_BYTES)),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
)


class _Unpacked(io.RawIOBase):
    """The bytes in a compressed input, member after member. Zeros may pad the members; anything else after them is an error."""

    def __init__(self, packed: IO[bytes], name: str, kind: str, beginning: bytes, make: Any) -> None:
        self._packed, self._name, self._kind = packed, name, kind
        self._beginning, self._make = beginning, make
        self._member: Any = make()
        self._rest = b""  # compressed bytes that no member has been given yet

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._member.eof and not self._next_member():
                return 0
            chunk = self._decompressed(len(buffer))
            if chunk:
                buffer[: len(chunk)] = chunk
                return len(chunk)

    def _decompressed(self, most: int) -> bytes:
        data = b""
        if self._member.needs_input:
            data, self._rest = self._rest or self._packed.read(_CHUNK_BYTES), b""
            if not data:
                raise SourceError(f"{self._name} is damaged or cut off: its {self._kind} data has no end. Get the file again.")
        try:
            return bytes(self._member.decompress(data, most))
        except (lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as error:
            if isinstance(error, lzma.LZMAError) and "limit" in str(error):
                raise SourceError(
                    f"{self._name} needs more than {_MAX_XZ_BYTES // 2**20} MiB of memory to be decompressed. "
                    "Decompress it by itself: xz -dc FILE | matinee import ndjson -"
                ) from error
            raise SourceError(
                f"{self._name} is damaged or cut off: its {self._kind} data cannot be decompressed ({error})."
            ) from error

    def _next_member(self) -> bool:
        """Begin the next member; return False at the end of the input."""
        rest = (self._member.unused_data + self._rest).lstrip(b"\x00")
        self._rest = b""
        while len(rest) < len(self._beginning):
            more = self._packed.read(_CHUNK_BYTES)
            if not more:
                break
            rest = (rest + more).lstrip(b"\x00")
        if not rest:
            return False
        if not rest.startswith(self._beginning):
            raise SourceError(
                f"{self._name} has other data after its {self._kind} data ({rest[:8]!r}...): it is damaged, or of two formats."
            )
        self._member, self._rest = self._make(), rest
        return True


class _LineFeeds(io.RawIOBase):
    """A text with line feeds for its carriage returns: JSON never holds a bare carriage return in a string."""

    def __init__(self, text: IO[bytes]) -> None:
        self._text, self._ends_in_return = text, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while chunk := self._text.read(len(buffer)):
            # The line feed of a pair may come with the next chunk.
            found = chunk.removeprefix(b"\n") if self._ends_in_return else chunk
            self._ends_in_return = chunk.endswith(b"\r")
            if found:
                found = found.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                buffer[: len(found)] = found
                return len(found)
        return 0


class Source:
    """An open input and how far it has been read, for a progress bar."""

    def __init__(self, file: BinaryIO, name: str, size_bytes: int | None) -> None:
        self.size_bytes, self._raw = size_bytes, _Raw(file, name)
        head, stream = peeked(io.BufferedReader(self._raw, _CHUNK_BYTES))
        for beginning, kind, make in _COMPRESSIONS:
            if head.startswith(beginning):
                head, stream = peeked(io.BufferedReader(_Unpacked(stream, name, kind, beginning, make), _CHUNK_BYTES))
                break
        if fault := formats.binary(head):
            raise SourceError(f"{name} {fault}")
        if (b"\r" in head and b"\n" not in head) or _RETURN_BETWEEN_OBJECTS.search(head):
            stream = io.BufferedReader(_LineFeeds(stream), _CHUNK_BYTES)
        self.stream = stream

    def read_bytes(self) -> int:
        """Return how much of the input has been consumed, compressed as it is."""
        return self._raw.count


def peeked(stream: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """Return the beginning of a stream, and a stream that still has it. Nothing needs to be able to seek."""
    head = stream.read(HEAD_BYTES)
    return head, io.BufferedReader(_Rewound(head, stream), _CHUNK_BYTES)


@contextmanager
def open_source(path: str, kind: str = "ndjson") -> Iterator[Source]:
    """Open a path, or `-` for standard input; compression is told by the content, not by the name.

    `kind` is the format that it is read as, for messages.
    Raises: OperatorError when it cannot be opened; SourceError, here or from the stream, when it is of a format that cannot be
    imported, damaged, cut off, or cannot be read to its end.
    """
    try:
        opened = _standard_input() if path == "-" else Path(path).open("rb", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise OperatorError(
            f"{path} cannot be read: {error.strerror or error}. Give a file, or - for standard input."
        ) from error
    name = _STANDARD_INPUT if path == "-" else path
    with nullcontext(opened) if path == "-" else opened as file, _completed(path, kind):
        try:
            source = Source(file, name, _size_bytes(file))
        except SourceError as error:
            raise SourceError(f"{error.detail}\nNothing was imported.") from error
        yield source


@contextmanager
def _completed(path: str, kind: str) -> Iterator[None]:
    """Complete the commands in an error: the formats name what to type next, and here file and format are known."""
    try:
        yield
    except OperatorError as error:
        detail = error.detail.replace(" FILE", f" {'-' if path == '-' else shlex.quote(path)}")
        error.detail = detail.replace("import ndjson -", f"import {kind} -")
        raise


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise OperatorError(_CLOSED)
    return getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)


def _size_bytes(file: Any) -> int | None:
    """Return the size of a file, None of a pipe or a device."""
    try:
        found = os.fstat(file.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
