"""Find out which client a request comes from: the peer of its connection, or what a trusted proxy says.

Called by the front, for the access log and for limits per client. Must never believe `X-Forwarded-For` from a peer that is not
in MATINEE_TRUSTED_PROXIES: anybody can send that header.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_IPV6_CLIENT_BITS = 64  # a provider gives a household or a server this many bits; to count single addresses would count nothing
_IPV6_SITE_BITS = 48  # the largest network that one customer gets without asking: 65,536 networks of 64 bits
_MAX_ADDRESS_CHARS = 64  # an IPv6 address with a zone; longer text is not parsed
_MAX_HOPS = 32  # entries of X-Forwarded-For that are read, from the right: no chain of proxies is longer
_MAX_FORWARDED_CHARS = _MAX_HOPS * _MAX_ADDRESS_CHARS
_KNOWN = "matinee.client"  # where a request's scope holds the address once it has been found
_WITH_PORT = re.compile(r"(?:\[([^]]*)]|([0-9.]+))(?::\d{1,5})?")


def client_address(scope: Any, trusted: tuple[Network, ...]) -> str:
    """Return the client's IP address; empty when the peer is unknown, such as over a UNIX socket.

    `X-Forwarded-For` is read from right to left: each trusted proxy appends the address of its own peer, so the first entry
    that is not a trusted proxy is the client. An entry that is no address ends the search: the hop that sent it is returned.
    """
    known: str | None = scope.get(_KNOWN)
    if known is None:  # the limits, the admin and the access log need it: the header is parsed for the first of them
        known = scope[_KNOWN] = _found(scope, trusted)
    return known


def _found(scope: Any, trusted: tuple[Network, ...]) -> str:
    peer = scope.get("client")
    address = plain_address(peer[0]) if peer else ""
    if not trusted or not address or not is_trusted(address, trusted):
        return address
    for hop in _forwarded(scope):
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


def client_group(address: str) -> str:
    """Return what limits count an address as: an IPv4 address as itself, an IPv6 address as its /64 network."""
    return _network(address, _IPV6_CLIENT_BITS)


def client_site(address: str) -> str:
    """Return the IPv4 address itself, or the /48 network of an IPv6 address: one customer may own all 65,536 /64 in it."""
    return _network(address, _IPV6_SITE_BITS)


@lru_cache(maxsize=8192)
def _network(address: str, bits: int) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, bits), strict=False))


def _forwarded(scope: Any) -> list[str]:
    """Return the last entries of X-Forwarded-For, the last one first."""
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if not values:
        return []
    text = b",".join(values)
    if len(text) > _MAX_FORWARDED_CHARS:
        text = text[-_MAX_FORWARDED_CHARS:].partition(b",")[2]  # the first entry that is left may be half of one
    return [hop.strip() for hop in reversed(text.decode("latin-1").rsplit(",", _MAX_HOPS)[-_MAX_HOPS:])]


def plain_address(text: str) -> str:
    """Return an address in its usual form, without a port, an IPv4 address inside IPv6 as IPv4; empty when it is none."""
    return _parsed(text) if len(text) <= _MAX_ADDRESS_CHARS else ""  # before the cache, which would keep any text


@lru_cache(maxsize=4096)
def _parsed(text: str) -> str:
    if found := _WITH_PORT.fullmatch(text):
        text = found[1] or found[2] or ""
    try:
        parsed: Address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
