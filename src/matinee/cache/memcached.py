"""memcached as the shared tier's server: the few words of its text protocol that a tier needs. Made by shared.py.

They are spoken here and not by a library: of those that are kept, the common one spins for ever, with the whole event loop,
when the server dies before it answers a set, and takes the late answer to a cancelled get for the next one's.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from matinee.cache.link import Driver, Entry, Found, Lease, LinkFailed, one_line
from matinee.errors import ConfigError

PREFIX = b"matinee:"
DEFAULT_PORT = 11_211
_MOST_KEY_BYTES = 250
_MOST_VALUE_BYTES = 1_000_000  # the server's own limit of 1 MiB is one for the value with its key and header
_MOST_TTL_S = 30 * 24 * 3600  # a larger number is a date to memcached
_OUTCOMES = frozenset({b"STORED", b"NOT_STORED", b"DELETED", b"NOT_FOUND"})
_NO_KEY = re.compile(rb"[\x00-\x20\x7f]")


class MemcachedLink:
    """One connection to memcached."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def read(self, keys: Sequence[str], leases: Sequence[Lease]) -> Found:
        """Return the values of keys and who gets which lease. Raises: LinkFailed."""
        names = [_key(key) for key in keys]
        question = [b"get %b\r\n" % b" ".join(names)] if names else []
        question += [b"add %b 0 %d 1\r\n1\r\n" % (_key(lease.key), math.ceil(lease.ttl_ms / 1000)) for lease in leases]
        async with self._asking(question) as reader:
            found = await _values(reader) if names else {}
            # A full server refuses leases. Whoever asks is to load the value then.
            given = [await _outcome(reader) != b"NOT_STORED" for _ in leases]
        return Found([found.get(name) for name in names], given)

    async def write(self, writes: Mapping[str, Entry | None]) -> str | None:
        """Keep and forget values; return why some were refused. Raises: LinkFailed."""
        question: list[bytes] = []
        for key, entry in writes.items():
            if entry is None:
                question.append(b"delete %b\r\n" % _key(key))
            else:
                ttl_s = min(entry.ttl_s, _MOST_TTL_S)
                question += (b"set %b 0 %d %d\r\n" % (_key(key), ttl_s, len(entry.value)), entry.value, b"\r\n")
        async with self._asking(question) as reader:
            answers = [await _outcome(reader) for _ in writes]
        return next((_words(answer) for answer in answers if answer.startswith(b"SERVER_ERROR")), None)

    async def facts(self) -> dict[str, str]:
        """Return what the server says of itself. Raises: LinkFailed."""
        stated = {}
        async with self._asking([b"stats\r\n"]) as reader:
            while (line := await _line(reader)) != b"END":
                _, name, value = line.decode(errors="replace").split(" ", 2)
                stated[name] = value
        return stated

    async def close(self) -> None:
        """Drop the connection."""
        self._drop()

    @contextlib.asynccontextmanager
    async def _asking(self, question: Iterable[bytes]) -> AsyncIterator[asyncio.StreamReader]:
        """Send a question and read its answer; whatever ends this early drops the connection with what is unread."""
        try:
            reader, writer = await self._connected()
            writer.writelines(question)
            await writer.drain()
            yield reader
        except (OSError, EOFError, ValueError) as error:
            self._drop()
            raise LinkFailed("it has closed the connection" if isinstance(error, EOFError) else one_line(error)) from error
        except BaseException:
            self._drop()
            raise

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self._drop()
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return self._reader, self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def memcached_driver(url: str) -> Driver:
    """Return the driver of a server. Raises: ConfigError."""
    host, port = _place(url)
    return Driver("memcached", "MEMCACHED_URL", url, lambda: MemcachedLink(host, port), _fits, _MOST_VALUE_BYTES)


async def facts(url: str) -> dict[str, str]:
    """Return what a server says of itself. Raises: LinkFailed."""
    link = MemcachedLink(*_place(url))
    try:
        return await link.facts()
    finally:
        await link.close()


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise ConfigError(f"MEMCACHED_URL={url} cannot be used ({one_line(error)}).") from error
    return parts.hostname or "localhost", port


def _key(key: str) -> bytes:
    return PREFIX + key.encode(errors="surrogatepass")


def _fits(key: str) -> bool:
    name = _key(key)
    return len(name) <= _MOST_KEY_BYTES and _NO_KEY.search(name) is None


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readuntil(b"\r\n")
    return line[:-2]


async def _outcome(reader: asyncio.StreamReader) -> bytes:
    """Return what came of an add, a set or a delete. Raises: LinkFailed when the server speaks of anything else."""
    line = await _line(reader)
    if line not in _OUTCOMES and not line.startswith(b"SERVER_ERROR"):
        raise LinkFailed(_words(line))
    return line


async def _values(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    """Return what was found of several keys."""
    found = {}
    while (line := await _line(reader)) != b"END":
        if not line.startswith(b"VALUE "):
            raise LinkFailed(_words(line))
        _, name, _, size = line.split(b" ")
        found[name] = (await reader.readexactly(int(size) + 2))[:-2]
    return found


def _words(line: bytes) -> str:
    return line.decode(errors="replace")[:200]
