"""How the text of a setting becomes its value, and what is told when it cannot. Called by config.py alone."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

AUTO = -1
_PATH_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_OWN_PATHS = frozenset(("v1", "docs", "admin", "static", "livez", "readyz", "metrics", "openapi.json"))
_DEFAULT_PORTS = {"http": 80, "https": 443}


def cleaned(text: str) -> str:
    """Return a variable's value without blanks, line ends and one pair of quotes around it.

    A secret that is read from a file ends in a line end, and `docker --env-file` keeps quotes as part of the value.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text


def as_text(text: str) -> str:
    """Return the text itself. Raises: ValueError when the variable holds bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds bytes that are not UTF-8; set it again as UTF-8 text") from None
    return text


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


def data_folder() -> Path:
    """Return the user's own folder for our data; a relative path when this user has no home folder.

    Containers run with any user id: without HOME and without a line in /etc/passwd there is none.
    """
    try:
        return Path(platformdirs.user_data_dir("matinee"))
    except RuntimeError:
        return Path()


def folder(text: str) -> Path:
    """Read a folder's path. Raises: ValueError."""
    try:
        return whole_path(text).resolve()
    except ValueError as error:
        raise ValueError(f"cannot be used as a folder {error}") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ValueError(f"cannot be used as a folder ({_reason(error)}); name another with its whole path") from None


def whole_path(text: str | Path) -> Path:
    """Return an absolute path, with ~ replaced by a home folder. Raises: ValueError, with the reason and the remedy alone."""
    try:
        path = Path(text).expanduser().absolute()
        path.is_dir()  # a name that is too long is an error here, not in each command
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of a user who has no home folder, or does not exist
        raise ValueError(f"({_reason(error)}); name another with its whole path") from None
    return path


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


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


def whole_or_auto(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number within bounds, or `auto`."""
    number_of = whole(low, high)
    return lambda text: AUTO if text.lower() == "auto" else number_of(text)


def health_address(text: str) -> str:
    """Read HOST:PORT with an IP address as the host, `auto` or `off`. Raises: ValueError."""
    if text.lower() in ("auto", "off"):
        return text.lower()
    host, _, port = text.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        whole(1, 65_535)(port)
    except ValueError:
        raise ValueError("must be ADDRESS:PORT such as 127.0.0.1:9000 or [::1]:9000, or auto, or off") from None
    return text


def bytes_or_auto(text: str) -> int:
    """Read a number of bytes, or `auto`. Raises: ValueError."""
    return AUTO if text.lower() == "auto" else whole(0, 2**40)(text)


def rotation_bytes(text: str) -> int:
    """Read the size at which a log file is rotated; a small one would rotate with every few lines. Raises: ValueError."""
    size_bytes = whole(0, 2**40)(text)
    if 0 < size_bytes < 65_536:
        raise ValueError("must be 0, or a whole number of bytes from 65536")
    return size_bytes


def rate_or_auto(text: str) -> float:
    """Read a number of requests a second, `off`, or `auto`. Raises: ValueError."""
    words = {"auto": float(AUTO), "off": 0.0}
    try:
        return words[text.lower()] if text.lower() in words else number(0, 1_000_000)(text)
    except ValueError:
        raise ValueError("must be a number of requests a second, off, or auto") from None


def host_names(text: str) -> tuple[str, ...]:
    """Read names of hosts as Django compares them, separated by commas: without scheme, port and path. Raises: ValueError."""
    return tuple(map(_host_name, names(text)))


def _host_name(text: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(text.strip('[]'))}]"  # as a Host header has it
    except ValueError:
        pass
    if text == "*" or re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*\.?", text):
        return text
    raise ValueError(f"{text[:80]!r} never matches a Host header; write {_host_in(text) or 'films.example.org'}")


def _host_in(text: str) -> str:
    """Return the host that a URL, an address with a port, or a pattern probably means; empty when there is none."""
    try:
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
    host = host.removeprefix("*") if host.startswith("*.") else host
    if ":" in host:
        return f"[{host}]"
    return host if re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*", host) else ""


def web_origins(text: str) -> tuple[str, ...]:
    """Read web origins, separated by commas, in the form in which browsers send them. Raises: ValueError."""
    return tuple(dict.fromkeys(part if part == "*" else _web_origin(part) for part in names(text)))


def _web_origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host and "*" in host:
        raise ValueError(f"{text[:80]!r} never matches: browsers send no *; list each origin, or write * alone for any")
    if not host or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{text[:80]!r} is no web origin; write scheme, host and port only, such as https://films.example.org")
    name = f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host
    return f"{parts.scheme}://{name}" + ("" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}")


def base_url(text: str) -> str:
    """Read the address of a web site. Raises: ValueError."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or re.search(r"[\s*?#@]", text):
        raise ValueError(
            f"{text[:80]!r} is no address of a site; write scheme, host and path only, as https://films.example.org"
        )
    _require_path(parts.path.rstrip("/"))
    return text.rstrip("/")


def _require_path(path: str) -> None:
    """Refuse a path that could not be told from the service's own. Raises: ValueError."""
    names = path.split("/")[1:]
    if not all(_PATH_NAME.fullmatch(name) and name.strip(".") for name in names):
        raise ValueError(
            f"its path {path[:80]!r} must be of letters, digits, ., _, ~ and - between single slashes, as in /films"
        )
    if names and names[0] in _OWN_PATHS:
        raise ValueError(f"its path cannot begin with /{names[0]}, which is an address of the service itself; choose another")
