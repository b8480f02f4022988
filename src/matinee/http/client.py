"""Find out which client a request comes from: the peer of its connection, or what a trusted proxy says.

Called by the front, for the access log and for limits per client. Must never believe `X-Forwarded-For` from a peer that is not
in MATINEE_TRUSTED_PROXIES: anybody can send that header.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV6_CLIENT_BITS = 64  # a provider gives a household or a server this many bits; to count single addresses would count nothing
_MAX_ADDRESS_CHARS = 64  # an IPv6 address with a zone; longer text is not parsed


def client_address(scope: Any, trusted: tuple[Network, ...]) -> str:
    """Return the client's IP address; empty when the peer is unknown, such as over a UNIX socket.

    `X-Forwarded-For` is read from right to left: each trusted proxy appends the address of its own peer, so the first entry
    that is not a trusted proxy is the client. An entry that is no address ends the search: the hop that sent it is returned.
    """
    peer = scope.get("client")
    address = plain_address(peer[0]) if peer else ""
    if not trusted or not address or not is_trusted(address, trusted):
        return address
    for hop in reversed(_forwarded(scope)):
        if not (plain := plain_address(hop)):
            break
        address = plain
        if not is_trusted(address, trusted):
            break
    return address


@lru_cache(maxsize=4096)
def is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    """Return whether an IP address belongs to one of the trusted networks."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)


@lru_cache(maxsize=4096)
def client_group(address: str) -> str:
    """Return what limits count an address as: an IPv4 address as itself, an IPv6 address as its /64 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, _IPV6_CLIENT_BITS), strict=False))


def _forwarded(scope: Any) -> list[str]:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return [hop.strip() for hop in ",".join(values).split(",")] if values else []


def plain_address(text: str) -> str:
    """Return an address in its usual form, an IPv4 address inside IPv6 as IPv4; empty when it is none."""
    return _parsed(text) if len(text) <= _MAX_ADDRESS_CHARS else ""  # before the cache, which would keep any text


@lru_cache(maxsize=4096)
def _parsed(text: str) -> str:
    try:
        parsed: Address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
