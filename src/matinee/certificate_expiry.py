"""Tell when certificate files end: those that the settings name, and those in the folder MATINEE_CERTIFICATES.

Called by `doctor` and by the metric. It must never import the library for certificates, which takes 15 MiB and 0.1 s in each
server process (measured): it reads the end straight from the DER encoding (RFC 5280, 4.1), and verifies nothing.
"""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from matinee.config import Config

_MOST_BYTES = 4 * 2**20  # a system's bundle of all CAs has a quarter of a MiB
_MOST_FILES = 100  # of a folder
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
# The parameters of a URL that name CA files, then those that name a certificate that this process presents.
_TRUSTED, _PRESENTED = ("sslrootcert", "ssl_ca_certs"), ("sslcert", "ssl_certfile")
_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18


class Watched(NamedTuple):
    """A file to watch; `is_trusted`: its certificates are CAs, and one of them is enough."""

    name: str
    path: Path
    is_trusted: bool


def watched(config: Config, more: Iterable[Path] = ()) -> list[Watched]:
    """Return the certificate files of this process, and those in the folders `more`, each once and with a name of its own."""
    folders = [*([config.certificates] if config.certificates else []), *more]
    found = [*(path for folder in folders for path in _in_folder(folder)), *_in_urls(config)]
    unique: dict[Path, bool] = {}
    for path, is_trusted in found:
        unique.setdefault(path.absolute(), is_trusted)
    names: dict[str, Watched] = {}
    for path, is_trusted in unique.items():
        name = path.stem if path.stem not in names else str(path)
        names[name] = Watched(name, path, is_trusted)
    return list(names.values())


def end_of(file: Watched) -> datetime:
    """Return when a file's certificate ends: of CAs the last one, of a chain the first. Raises: OSError, ValueError."""
    encoded = _PEM.findall(_content(file.path))
    if not encoded:
        raise ValueError("holds no certificate in PEM format")
    try:
        ends = [_end_of_one(b64decode(one)) for one in encoded]
    except (IndexError, ValueError):
        raise ValueError("holds a damaged certificate") from None
    return max(ends) if file.is_trusted else min(ends)


def _in_folder(folder: Path) -> Iterator[tuple[Path, bool]]:
    try:
        found = sorted(folder.glob("*.crt"))[:_MOST_FILES]
    except OSError:  # it may not be read
        return
    for path in found:
        yield path, path.stem == "ca"


def _in_urls(config: Config) -> Iterator[tuple[Path, bool]]:
    for url in (config.database_url, *config.follower_urls, config.redis_url):
        for name, value in parse_qsl(url.partition("?")[2]):
            if name in (*_TRUSTED, *_PRESENTED) and value != "system":  # sslrootcert=system is no file
                yield Path(value), name in _TRUSTED


def _content(path: Path) -> bytes:
    # Without O_NONBLOCK a FIFO of that name would stop the event loop.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is no file")
        return file.read(_MOST_BYTES)


def _end_of_one(der: bytes) -> datetime:
    at = _inside(der, _inside(der, 0))
    if der[at] == _VERSION:
        at = _after(der, at)
    for _ in ("serial number", "algorithm", "issuer"):
        at = _after(der, at)
    begin = _inside(der, at)
    return _time(der, _after(der, begin))


def _bounds(der: bytes, at: int) -> tuple[int, int]:
    """Return where the content of an element begins and ends (X.690, 8.1)."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size]), start + size
    if start + length > len(der):
        raise IndexError
    return start, start + length


def _inside(der: bytes, at: int) -> int:
    if der[at] != _SEQUENCE:
        raise ValueError
    return _bounds(der, at)[0]


def _after(der: bytes, at: int) -> int:
    return _bounds(der, at)[1]


def _time(der: bytes, at: int) -> datetime:
    start, end = _bounds(der, at)
    text = der[start:end].decode("ascii", "replace")
    if der[at] == _UTC_TIME:
        text = ("20" if text[:2] < "50" else "19") + text  # RFC 5280, 4.1.2.5.1
    elif der[at] != _GENERALIZED_TIME:
        raise ValueError
    if len(text) != len("YYYYMMDDHHMMSSZ") or not text.endswith("Z"):
        raise ValueError
    # strptime would stop the event loop for 10 ms at its first use.
    month, day, hour, minute, second = (int(text[index : index + 2]) for index in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC)
