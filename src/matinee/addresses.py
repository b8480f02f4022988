"""Addresses to listen on and to connect to: names resolved, IPv6 in brackets, and every failure as one sentence.

Called by cli and ops wherever a host becomes an address or a URL, and by settings. It opens no connection; `listening_address`
binds a port for a moment to find out whether that is possible. It must never import a setting.
"""

from __future__ import annotations

import errno
import ipaddress
import socket

from matinee.errors import OperatorError, PortTaken

_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where to ask a server that listens on all addresses
_CHOOSE = "Choose another address with --host, or another port with --port."


def bare(host: str) -> str:
    """Return a host without the brackets that IPv6 has in URLs."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def is_ip(host: str) -> bool:
    """Return whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(bare(host))
    except ValueError:
        return False
    return True


def in_url(host: str) -> str:
    """Return a host in the form that a URL or a port needs: IPv6 in brackets."""
    host = bare(host)
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """Return HOST:PORT, with brackets around IPv6."""
    return f"{in_url(host)}:{port}"


def url(host: str, port: int) -> str:
    """Return the URL of a server that listens there; a zone id is written as RFC 6874 asks for."""
    return f"http://{host_port(host, port)}".replace("%", "%25")


def reachable(host: str) -> str:
    """Return the address under which this machine reaches a server: one that listens on all addresses is on loopback."""
    return _ALL.get(bare(host), bare(host))


def resolved(host: str) -> list[str]:
    """Return all addresses of a host, IPv4 first because more clients have it. Raises: OperatorError."""
    host = bare(host)
    if is_ip(host):
        return [host]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise OperatorError(f"{host!r} does not resolve to an address ({reason}); check the name.") from error
    addresses = dict.fromkeys(str(item[4][0]) for item in found if item[0] in (socket.AF_INET, socket.AF_INET6))
    return sorted(addresses, key=lambda address: ":" in address)


def listening_address(host: str, port: int) -> str:
    """Return the first address of a host on which the server can listen. Raises: PortTaken."""
    shown = host_port(host, port)
    if "/" in host or not bare(host):
        raise PortTaken(f"--host {host!r} is neither an address nor a host name. {_CHOOSE}")
    if "%" in host:
        raise PortTaken(f"{shown} has a zone id, which the server cannot listen on; use --host :: and limit access elsewhere.")
    try:
        addresses = resolved(host)
    except OperatorError as error:
        raise PortTaken(f"{shown} cannot be listened on: {error.detail} {_CHOOSE}") from error
    failures = [(address, _failure(address, port)) for address in addresses]
    for address, failure in failures:
        if failure is None:
            return address
    _, first = failures[0]
    assert first is not None
    raise PortTaken(f"{shown} cannot be listened on ({first.strerror}). {_remedy(first, port)}") from first


def is_only_loopback(host: str, address: str) -> bool:
    """Return whether a host name, other than localhost, leads to loopback: Debian's /etc/hosts does that with 127.0.1.1."""
    is_local_name = bare(host).rstrip(".").lower() in {"localhost", "ip6-localhost", "ip6-loopback"}
    return not is_ip(host) and not is_local_name and ipaddress.ip_address(address).is_loopback


def _failure(address: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return error
    return None


def _remedy(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"End the program that uses it, or choose another with --port {port % 65_535 + 1}."
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"Ports below 1024 need rights of their own: choose --port {8000 if port < 1024 else port % 65_535 + 1}."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"It is not an address of this machine. {_CHOOSE}"
    return _CHOOSE
