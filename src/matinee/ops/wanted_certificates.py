"""Which certificates a topology needs, and for which hosts.

Called by `cluster certificates`, `cluster render` and `cluster up`. Nothing here reads a file or makes a certificate: that is
certificates.py. This module must not import it when it is loaded, because its library takes 15 MiB and 0.1 s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matinee.ops.topology import Place, Topology

if TYPE_CHECKING:
    from matinee.ops.certificates import Wanted

_ROLES = ("etcd", "database", "front", "balancer", "redis", "sentinel", "server")
# These connect to another node that asks for a certificate: etcd to its peers, Patroni to etcd, the front to Patroni.
_CLIENTS = frozenset({"etcd", "database", "front"})
# Clients reach these through a front, which forwards plain TCP, so the name that a client checks is the front's.
_BEHIND_FRONT = frozenset({"database", "redis"})
_LOOPBACK = ("localhost", "127.0.0.1")


def wanted_certificates(topology: Topology) -> list[Wanted]:
    """Return the certificate of each node that needs one, in the order of the topology."""
    from matinee.ops.certificates import Wanted

    fronts = [front.address for front in topology.of("front")]
    return [Wanted(place.name, _hosts(place, fronts), place.role in _CLIENTS) for place in topology.of(*_ROLES)]


def _hosts(place: Place, fronts: list[str]) -> tuple[str, ...]:
    through = fronts if place.role in _BEHIND_FRONT else []
    return tuple(dict.fromkeys([place.address, place.name, *_LOOPBACK, *through]))
