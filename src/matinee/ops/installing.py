"""Say what a host must have before its rendered files can be installed: programs, users, and which of Debian's units give way.

Called by rendering.py for templates/install.j2 and templates/host.md.j2. Says; installs, looks at and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matinee.ops.topology import Place, Topology
from matinee.ops.units import user_of

# Without quotes: they are inside a quoted text of the script.
_PATRONI = "Patroni 4, by scripts/install-patroni of the Matinee repository"
_MATINEE = "Matinee (docs/operations.md, Three hosts step by step)"
# The units that Debian's packages start by themselves: they take the ports and the memory of the rendered ones.
_DEBIAN_UNITS = {
    "front": ("haproxy",),
    "etcd": ("etcd",),
    "redis": ("redis-server",),
    "sentinel": ("redis-server", "redis-sentinel"),
}


class Program(NamedTuple):
    """A program that a host needs, and what to type or do when it is missing."""

    path: str
    package: str  # Debian's, empty when Debian has none
    remedy: str = ""


def facts(topology: Topology, nodes: Sequence[Place], patroni: str, postgres_bin: str) -> dict[str, Any]:
    """Return what the templates of a host need to know beside its files."""
    roles = {node.role for node in nodes}
    return {
        "programs": list(dict.fromkeys(_programs(topology, nodes, patroni, postgres_bin))),
        "users": sorted({user_of(topology, role) for role in roles} - {"matinee"}),
        "has_servers": "server" in roles,
        "debian_units": sorted({unit for role in roles for unit in _debian_units(topology, role)}),
        "is_first_database": topology.of("database")[0] in nodes,
        "patronictl": str(Path(patroni).with_name("patronictl")),
        "address": nodes[0].address if nodes else "",
    }


def _programs(topology: Topology, nodes: Sequence[Place], patroni: str, postgres_bin: str) -> Iterator[Program]:
    roles = {node.role for node in nodes}
    if "front" in roles or ("balancer" in roles and topology.balancer == "haproxy"):
        yield Program("/usr/sbin/haproxy", "haproxy")
        yield Program("/usr/bin/socat", "socat")
    if "balancer" in roles and topology.balancer == "nginx":
        yield Program("/usr/sbin/nginx", "nginx")
    if "balancer" in roles and topology.https != "off":
        yield Program("/usr/bin/openssl", "openssl")
    if "etcd" in roles:
        yield Program("/usr/bin/etcd", "etcd-server")
    if roles & {"redis", "sentinel"}:
        yield Program("/usr/bin/redis-server", "redis-server")
    if "database" in roles:
        yield Program(f"{postgres_bin}/initdb", "postgresql")
        if topology.high_availability:
            yield Program(patroni, "", _PATRONI)
    if "server" in roles or topology.of("database")[0] in nodes:
        yield Program(topology.program, "", _MATINEE)
    if nodes:
        yield Program("/usr/bin/curl", "curl")


def _debian_units(topology: Topology, role: str) -> Sequence[str]:
    if role == "balancer":
        return (topology.balancer,)
    if role == "database" and topology.high_availability:
        return ("postgresql",)
    return _DEBIAN_UNITS.get(role, ())
