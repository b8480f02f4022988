"""How the text of a setting becomes its value, and what is told when it cannot. Called by config.py alone."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

POSTGRES = re.compile(r"postgres(?:ql)?://[^\s]*/?[^\s]*$")
_REDIS = re.compile(r"(?:rediss?://\S*|unix://\S+)$")
_MEMCACHED = re.compile(r"memcached://(?:[^\s/:@]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?/?$")
AUTO = -1


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return read


def flag(text: str) -> bool:
    """Read yes or no. Raises: ValueError."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("must be true or false")
    return words[text.lower()]


def choice(*allowed: str) -> Callable[[str], str]:
    """Return what reads one of these words."""

    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text.lower()

    return read


def names(text: str) -> tuple[str, ...]:
    """Read names that are parted by commas. Raises: ValueError."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def networks(text: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """Read IP addresses and networks, separated by commas. Raises: ValueError."""
    try:
        return tuple(ipaddress.ip_network(part) for part in names(text))
    except ValueError as error:
        raise ValueError(f"must be IP addresses or networks such as 10.0.0.0/8, separated by commas: {error}") from None


def folder(text: str) -> Path:
    """Read a folder's path. Raises: ValueError."""
    return Path(text).expanduser().resolve()


def number(low: float, high: float) -> Callable[[str], float]:
    """Return what reads a number within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return value

    return read


def bytes_or_auto(text: str) -> int:
    """Read a number of bytes, or `auto`. Raises: ValueError."""
    return AUTO if text.lower() == "auto" else whole(0, 2**40)(text)


def rate_or_auto(text: str) -> float:
    """Read a number of requests a second, `off`, or `auto`. Raises: ValueError."""
    words = {"auto": float(AUTO), "off": 0.0}
    try:
        return words[text.lower()] if text.lower() in words else number(0, 1_000_000)(text)
    except ValueError:
        raise ValueError("must be a number of requests a second, off, or auto") from None


def as_database_url(text: str) -> str:
    """Read where the catalogue is written. Raises: ValueError."""
    if not POSTGRES.match(text) and not (text.startswith("sqlite:///") and len(text) > len("sqlite:///")):
        raise ValueError("must be postgresql://USER@HOST/DATABASE or sqlite:///PATH")
    return text


def postgres_urls(text: str) -> tuple[str, ...]:
    """Read URLs of PostgreSQL. Raises: ValueError."""
    # A URL of several hosts has commas of its own, so a list is parted where the next URL begins.
    urls = tuple(re.split(r"[\s,]+(?=postgres(?:ql)?://)", text.strip().strip(",")))
    if not all(POSTGRES.match(url) for url in urls):
        raise ValueError("must be postgresql:// URLs, parted by commas")
    return urls


def as_redis_url(text: str) -> str:
    """Read the URL of Redis. Raises: ValueError."""
    if not _REDIS.match(text):
        raise ValueError("must be redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], rediss://... or unix://PATH")
    return text


def as_memcached_url(text: str) -> str:
    """Read the URL of memcached. Raises: ValueError."""
    if not _MEMCACHED.match(text):
        raise ValueError("must be memcached://HOST[:PORT]")
    return text


def base_url(text: str) -> str:
    """Read the address of a web site. Raises: ValueError."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text.rstrip("/")


def memory_bytes() -> int:
    """Return the memory that this machine, or the container that this runs in, may use."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return machine_bytes
    return min(machine_bytes, int(limit)) if limit.isdigit() else machine_bytes
